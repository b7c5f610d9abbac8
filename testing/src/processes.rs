//! The processes of a test, told from all others by a mark in their environment.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(30);

/// The processes that have `mark` somewhere in their environment, such as the path
/// of a folder that only one test has. A zombie has no environment any more.
pub fn processes_marked(mark: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| environment(*pid).contains(mark)).collect()
}

/// The environment of a process, a variable a line; empty when it has ended.
pub fn environment(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', "\n")
}

/// Whether there is such a process, be it a zombie.
pub fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until no process has the mark. The kernel tells only parents of an end, so
/// there is nothing to wait on but time.
///
/// # Panics
/// When some are still there after 30 s.
pub fn wait_until_none_marked(mark: &str) {
    let until = Instant::now() + LIMIT;
    loop {
        let left = processes_marked(mark);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "processes {left:?} are left");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a process.
///
/// # Panics
/// When there is no such process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("the process is there");
}
