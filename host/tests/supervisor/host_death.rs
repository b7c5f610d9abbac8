//! A host that is killed leaves no agent behind.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;

use crate::setup::{exists, gone, kill, setup};

const BE_A_HOST: &str = "GUILDHALL_TEST_BE_A_HOST";

/// Not a test: the host that the test below kills.
#[test]
#[ignore = "is run by another test, in a process of its own"]
fn be_a_host() {
    if std::env::var_os(BE_A_HOST).is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let setup = setup().await;
        let good = setup.create("good", "{}").await.unwrap();
        let stubborn = setup.create("stubborn", r#"{"ignore_sigterm":true}"#).await.unwrap();
        let hung = setup.create("hung", r#"{"on_start":"hang_after_ready"}"#).await.unwrap();
        let pids = [good.pid, stubborn.pid, hung.pid].map(|pid| pid.unwrap().to_string());
        eprintln!("agents: {}", pids.join(" "));
        std::future::pending::<()>().await;
    });
}

/// Not a test: a host that inherits what its agents leave behind.
#[test]
#[ignore = "is run by another test, in a process of its own"]
fn be_a_subreaper() {
    if std::env::var_os(BE_A_HOST).is_none() {
        return;
    }
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let setup = setup().await;
        let agent = setup.create("a", r#"{"fork_children":3}"#).await.unwrap();
        let children = setup.ping(&agent).await.children;
        setup.supervisor.stop(&agent.key, None).await.unwrap();
        assert_eq!(children.len(), 3);
        for child in children {
            assert!(!exists(child), "{child} was not reaped");
        }
        setup.assert_nothing_left().await;
    });
}

/// This test program again, running one of the functions above.
fn in_a_process_of_its_own(function: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = format!("host_death::{function}");
    command.args(["--exact", &test, "--ignored", "--nocapture"]).env(BE_A_HOST, "1").stdout(Stdio::null());
    command
}

#[test]
fn a_host_that_is_the_first_process_reaps_what_agents_leave() {
    assert!(in_a_process_of_its_own("be_a_subreaper").status().unwrap().success());
}

#[tokio::test]
async fn a_killed_host_leaves_no_agent() {
    let mut host = in_a_process_of_its_own("be_a_host").stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(host.stderr.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with("agents: ")).unwrap();
    let pids: Vec<u32> = line.split(' ').skip(1).map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3);
    kill(host.id(), Signal::KILL);
    host.wait().unwrap();
    for pid in pids {
        gone(pid).await;
    }
}

/// The parent-death signal follows the thread that forked. The runtime's worker
/// threads come and go; agents do not go with them.
#[test]
fn agents_outlive_the_thread_that_asked_for_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_keep_alive(Duration::from_millis(1))
        .enable_all()
        .build()
        .unwrap();
    let setup = runtime.block_on(setup());
    let handle = runtime.handle().clone();
    let agent = std::thread::scope(|scope| {
        scope.spawn(|| handle.block_on(setup.create("a", "{}")).unwrap()).join().unwrap()
    });
    runtime.block_on(async {
        assert_eq!(setup.ping(&agent).await.epoch, agent.epoch.0);
        assert_eq!(setup.supervisor.get(&agent.key).unwrap().restarts, 0);
        setup.stop_all().await;
        setup.assert_nothing_left().await;
    });
}
