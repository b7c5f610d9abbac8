//! The process groups that a fence knows, and how they are ended.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal, test_kill_process,
    },
};

/// How long to wait between two looks whether what was killed is gone: at first, and
/// at most.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const SLOWEST_LOOK: Duration = Duration::from_millis(50);

/// Each group by the id of its leader, which is the group's.
#[derive(Debug, Default)]
pub(super) struct Groups(HashMap<Pid, Leader>);

/// The first process of a group: what tells it from a later one with the same id.
/// `None` when it was gone before the fence came to look, or descriptors had run out.
#[derive(Debug)]
struct Leader(Option<OwnedFd>);

impl Groups {
    pub(super) fn enrol(&mut self, leader: Pid) {
        let pidfd = pidfd_open(leader, PidfdFlags::empty()).ok();
        self.0.insert(leader, Leader(pidfd));
    }

    pub(super) fn release(&mut self, leader: Pid) {
        self.0.remove(&leader);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends SIGKILL to every group, and forgets those that have no process any more,
    /// not even a zombie.
    pub(super) fn kill(&mut self) {
        self.0.retain(|id, leader| {
            leader.keeps(*id) && kill_process_group(*id, Signal::KILL) != Err(Errno::SRCH)
        });
    }

    /// Kills every group and waits until nothing of them runs.
    pub(super) fn end(mut self) {
        let mut pause = FIRST_LOOK;
        loop {
            self.kill();
            // Zombies keep a group in existence until somebody reaps them, which is not
            // this one's to do and may never happen.
            if let Some(running) = (!self.is_empty()).then(groups_that_run).flatten() {
                self.0.retain(|id, _| running.contains(&id.as_raw_pid()));
            }
            if self.is_empty() {
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(SLOWEST_LOOK);
        }
    }
}

impl Leader {
    /// Whether the id still stands for this leader's group. As a by-product the leader
    /// is killed.
    fn keeps(&self, id: Pid) -> bool {
        let Some(pidfd) = &self.0 else { return true };
        // Until it is reaped the leader keeps the id. After that its group does, as long
        // as it has members; a process has the id only once that has come to an end.
        pidfd_send_signal(pidfd, Signal::KILL) != Err(Errno::SRCH)
            || test_kill_process(id) == Err(Errno::SRCH)
    }
}

/// The ids of all groups that have a process which is not a zombie; `None` where the
/// system does not tell.
fn groups_that_run() -> Option<HashSet<i32>> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let stat = |process: fs::DirEntry| fs::read_to_string(process.path().join("stat")).ok();
    Some(processes.filter_map(stat).filter_map(|stat| group_that_runs(&stat)).collect())
}

/// The group of a process, by its line of `/proc/PID/stat`, unless it is a zombie.
fn group_that_runs(stat: &str) -> Option<i32> {
    // The name before may hold spaces and brackets of its own.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_ascii_whitespace().collect();
    let (state, group, threads) = (fields.first()?, fields.get(2)?, fields.get(17)?);
    // One whose first thread has ended before the others reads as a zombie, too.
    let dead = matches!(*state, "Z" | "X" | "x") && threads.parse().is_ok_and(|threads: u32| threads <= 1);
    group.parse().ok().filter(|_| !dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_process_is_read() {
        let stat = |state: &str, threads: u32| {
            format!("7 (a) b (c) {state} 1 42 3 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 {threads} 0 9 1\n")
        };
        assert_eq!(group_that_runs(&stat("S", 1)), Some(42));
        assert_eq!(group_that_runs(&stat("T", 9)), Some(42));
        assert_eq!(group_that_runs(&stat("Z", 1)), None);
        assert_eq!(group_that_runs(&stat("X", 0)), None);
        assert_eq!(group_that_runs(&stat("Z", 2)), Some(42), "its other threads go on");
        assert_eq!(group_that_runs(""), None);
        let own = rustix::process::getpgrp().as_raw_pid();
        assert!(groups_that_run().unwrap().contains(&own));
    }
}
