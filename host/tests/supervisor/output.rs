//! Agents that write more than anybody wants to read.

use std::time::Duration;

use guildhall_host::{runner::Runner, supervisor::CreateError};
use rustix::process::Signal;

use crate::setup::{gone, key, kill, setup_with};

#[tokio::test]
async fn a_gigabyte_on_standard_error_stops_nobody() {
    let setup = setup_with(|config, _| config.ready_timeout = Duration::from_secs(300)).await;
    let quiet = setup.create("quiet", "{}").await.unwrap();
    let flood = setup.create("loud", r#"{"stderr_bytes":1000000000}"#);
    let others = async {
        // Meanwhile the runtime, which has one thread here, is there for others.
        let mut answers = 0;
        let loud = setup.until(&key("g", "loud"), |agent| agent.pid.is_some()).await;
        while setup.supervisor.get(&loud.key).is_some_and(|agent| agent.start_ms.is_none()) {
            setup.ping(&quiet).await;
            answers += 1;
        }
        answers
    };
    let (loud, answers) = tokio::join!(flood, others);
    assert!(answers > 20, "{answers}");
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
