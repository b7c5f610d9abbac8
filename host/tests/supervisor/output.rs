//! Agents that write more than anybody wants to read.

use std::time::{Duration, Instant};

use guildhall_host::{runner::Runner, supervisor::CreateError};
use rustix::process::Signal;

use crate::setup::{gone, key, kill, setup_with};

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64
}

#[tokio::test]
async fn a_gigabyte_on_standard_error_fills_nothing_and_stops_nobody() {
    let setup = setup_with(|config, _| config.ready_timeout = Duration::from_secs(300)).await;
    let quiet = setup.create("quiet", "{}").await.unwrap();
    let before = resident();
    let flood = setup.create("loud", r#"{"stderr_bytes":1000000000}"#);
    let others = async {
        // Meanwhile the runtime, which has one thread here, is there for others.
        let mut slowest = Duration::ZERO;
        let loud = setup.until(&key("g", "loud"), |agent| agent.pid.is_some()).await;
        while setup.supervisor.get(&loud.key).is_some_and(|agent| agent.start_ms.is_none()) {
            let begun = Instant::now();
            setup.ping(&quiet).await;
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    };
    let (loud, slowest) = tokio::join!(flood, others);
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let stopped = setup.supervisor.stop(&loud.unwrap().key, None).await.unwrap();
    let tail = stopped.last_exit.unwrap().stderr;
    let lines: Vec<_> = tail.lines().collect();
    assert_eq!(*lines.last().unwrap(), "flooded 15625000 lines");
    assert_eq!(lines[0].len(), 63, "the first line is whole");
    assert!(tail.len() <= 2048 && lines.len() > 25, "{}", tail.len());
    setup.supervisor.stop(&quiet.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_child_that_holds_the_pipe_does_not_hold_up_the_end() {
    // The child leaves the agent's group, as a daemon does, so that it lives on.
    let script = "setsid sleep 600 & echo last words >&2; exit 5";
    let mut runner = Runner::new("shell", "sh");
    runner.args = vec!["-c".to_owned(), script.to_owned()];
    let setup = setup_with(|_, echo| *echo = runner).await;
    match setup.create("a", "{}").await.unwrap_err() {
        CreateError::StartFailed { exit } => {
            assert_eq!((exit.code, exit.stderr.as_str()), (Some(5), "last words"))
        }
        other => panic!("{other:?}"),
    }
    for pid in setup.processes() {
        kill(pid, Signal::KILL);
        gone(pid).await;
    }
    setup.assert_nothing_left().await;
}
