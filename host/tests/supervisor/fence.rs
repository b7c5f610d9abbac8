//! The fence ends agents when tenure is over or the host is gone, whatever else is
//! stopped, stuck or dead.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    time::Duration,
};

use guildhall::{agent::AgentState, host::LeaseId, ids::HostId};
use guildhall_host::{
    clock::BootInstant,
    fence::FenceBy,
    runner::Runner,
    state_dir::{self, StateDirError},
    supervisor::SupervisorConfig,
};
use guildhall_testing::{Program, processes_marked, wait_until_none_marked};
use rustix::process::Signal;

use crate::setup::{LIMIT, Setup, gone, key, kill, setup, setup_with};

/// Says to this program that it is [`helper`], and in which folder.
const HELPER: &str = "GUILDHALL_FENCE_HELPER";

const FOR_EVER: BootInstant = BootInstant::from_nanos(u64::MAX);

fn process() -> FenceBy {
    FenceBy::Process(env!("CARGO_BIN_EXE_agent-host").into())
}

/// A supervisor whose agents end for good when they end.
async fn fenced(by: FenceBy) -> Setup {
    setup_with(|config, _| {
        config.fence = by;
        config.restart.limit = 0;
    })
    .await
}

/// Waits for what can only be looked at.
async fn until(done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "it did not come to this");
}

/// A fence process ignores signals once it has its name.
async fn stands(fence: u32) {
    until(|| std::fs::read_to_string(format!("/proc/{fence}/comm")).is_ok_and(|name| name == "fence\n"))
        .await;
}

#[tokio::test]
async fn at_the_end_of_tenure_every_group_is_killed() {
    for by in [FenceBy::Thread, process()] {
        let s = fenced(by.clone()).await;
        let fence = s.supervisor.fence();
        for (agent, echo) in [
            ("parent", r#"{"fork_children":3}"#),
            ("deaf", r#"{"ignore_sigterm":true}"#),
            ("stopped", r#"{"fork_children":1}"#),
        ] {
            s.create(agent, echo).await.unwrap();
        }
        // One that has just been executed has no environment for a moment.
        while s.processes().len() != 7 {
            tokio::task::yield_now().await;
        }
        let group = s.supervisor.get(&key("g", "stopped")).unwrap().pid.unwrap();
        let group = rustix::process::Pid::from_raw(group.cast_signed()).unwrap();
        rustix::process::kill_process_group(group, Signal::STOP).unwrap();
        let running = s.processes();
        assert_eq!(running.len(), 7, "{by:?}");

        let end = BootInstant::now() + Duration::from_millis(200);
        assert!(fence.allow_until(end));
        for agent in ["parent", "deaf", "stopped"] {
            let failed = s.until_state(&key("g", agent), AgentState::Failed).await;
            assert_eq!(failed.last_exit.unwrap().signal, Some(9), "{by:?} {agent}");
            assert!(BootInstant::now() >= end, "{by:?}: not before");
        }
        for pid in running {
            gone(pid).await;
        }
        s.stop_all().await;
        s.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn nothing_starts_after_the_end_until_tenure_comes_back() {
    for by in [FenceBy::Thread, process()] {
        let s = fenced(by.clone()).await;
        let fence = s.supervisor.fence();
        assert!(fence.allow_until(BootInstant::now()));
        let refused = s.create("late", r#"{"ready_after_ms":60000}"#).await.unwrap_err().to_string();
        assert!(refused.contains("killed by signal 9"), "{by:?}: {refused}");
        assert!(fence.allow_until(BootInstant::now() + LIMIT));
        let agent = s.create("late", r#"{"ready_after_ms":50}"#).await.unwrap();
        // It may go on for longer, and then for less long.
        assert!(fence.allow_until(FOR_EVER));
        assert_eq!(s.ping(&agent).await.pid, agent.pid.unwrap());
        assert!(fence.allow_until(BootInstant::now()));
        s.until_state(&agent.key, AgentState::Failed).await;
        s.stop_all().await;
        s.assert_nothing_left().await;
    }
}

#[test]
fn a_runtime_that_is_stuck_does_not_keep_agents_alive() {
    for by in [FenceBy::Thread, process()] {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let s = runtime.block_on(fenced(by));
        runtime.block_on(s.create("a", r#"{"fork_children":2}"#)).unwrap();
        while s.processes().len() != 3 {
            std::thread::yield_now();
        }
        // This thread does not drive the runtime, and its only worker waits in vain.
        let (unblock, blocked) = mpsc::channel::<()>();
        let (entered, is_stuck) = mpsc::channel();
        runtime.spawn(async move {
            entered.send(()).unwrap();
            let _ = blocked.recv();
        });
        is_stuck.recv().unwrap();
        assert!(s.supervisor.fence().allow_until(BootInstant::now() + Duration::from_millis(100)));
        wait_until_none_marked(s.dir.path().to_str().unwrap());
        drop(unblock);
        runtime.block_on(async {
            s.until_state(&key("g", "a"), AgentState::Failed).await;
            s.stop_all().await;
            s.assert_nothing_left().await;
        });
    }
}

#[tokio::test]
async fn a_fence_that_was_killed_is_replaced_and_knows_all() {
    let s = fenced(process()).await;
    let fence = s.supervisor.fence();
    let parent = s.create("parent", r#"{"fork_children":2}"#).await.unwrap();
    let stopped = s.create("stopped", "{}").await.unwrap();
    s.supervisor.stop(&stopped.key, None).await.unwrap();
    let first = fence.pid().unwrap();
    {
        let ended = fence.ended();
        tokio::pin!(ended);
        assert!(futures::poll!(&mut ended).is_pending() && fence.is_there());
        kill(first, Signal::KILL);
        tokio::time::timeout(LIMIT, ended).await.unwrap();
    }
    // The supervisor puts another in its place.
    while !fence.is_there() {
        tokio::task::yield_now().await;
    }
    let second = fence.pid().unwrap();
    assert!(second != first);
    fence.revive().unwrap();
    assert_eq!(fence.pid(), Some(second), "it is there already");
    gone(first).await;
    // The new one was told of what was there, and takes more.
    s.create("later", "{}").await.unwrap();
    assert_eq!(s.ping(&parent).await.children.len(), 2);
    while s.processes().len() != 4 {
        tokio::task::yield_now().await;
    }
    assert!(fence.allow_until(BootInstant::now()));
    wait_until_none_marked(s.dir.path().to_str().unwrap());
    for agent in ["parent", "later"] {
        s.until_state(&key("g", agent), AgentState::Failed).await;
    }
    s.stop_all().await;
    drop(fence);
    s.assert_nothing_left().await;
    drop(s);
    gone(second).await;
}

#[tokio::test]
async fn a_new_fence_keeps_to_what_the_old_one_was_told() {
    let s = fenced(process()).await;
    let fence = s.supervisor.fence();
    let agent = s.create("a", "{}").await.unwrap();
    kill(fence.pid().unwrap(), Signal::KILL);
    tokio::time::timeout(LIMIT, fence.ended()).await.unwrap();
    fence.allow_until(BootInstant::now());
    assert_eq!(s.supervisor.get(&agent.key).unwrap().state, AgentState::Running);
    fence.revive().unwrap();
    s.until_state(&agent.key, AgentState::Failed).await;
    s.stop_all().await;
    s.assert_nothing_left().await;
}

#[tokio::test]
async fn a_fence_takes_no_notice_of_signals_that_are_for_all() {
    let s = fenced(process()).await;
    let fence = s.supervisor.fence();
    let agent = s.create("a", "{}").await.unwrap();
    let pid = fence.pid().unwrap();
    stands(pid).await;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        kill(pid, signal);
    }
    let session = rustix::process::Pid::from_raw(pid.cast_signed());
    assert_eq!(rustix::process::getsid(session).ok(), session);
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(environment.is_empty(), "it needs none of the host's secrets");
    s.create("b", "{}").await.unwrap();
    assert!(fence.is_there());
    assert_eq!(s.ping(&agent).await.pid, agent.pid.unwrap());
    s.stop_all().await;
    s.assert_nothing_left().await;
}

#[tokio::test]
async fn no_program_is_executed_before_the_fence_can_know_of_it() {
    let s = fenced(process()).await;
    let fence = s.supervisor.fence();
    let pid = fence.pid().unwrap();
    stands(pid).await;
    kill(pid, Signal::STOP);
    // It reads nothing any more. When it is full to the brim, nobody can enrol.
    until(|| !fence.allow_until(FOR_EVER)).await;
    let refused = s.create("a", "{}").await.unwrap_err().to_string();
    assert!(refused.contains("the fence was not told of it"), "{refused}");
    assert_eq!(s.processes(), Vec::<u32>::new());
    kill(pid, Signal::CONT);
    until(|| fence.allow_until(FOR_EVER)).await;
    s.create("a", "{}").await.unwrap();
    s.stop_all().await;
    s.assert_nothing_left().await;
}

#[tokio::test]
async fn without_a_fence_agents_run() {
    let s = fenced(FenceBy::Nothing).await;
    let fence = s.supervisor.fence();
    assert!(fence.allow_until(BootInstant::now()) && fence.is_there() && fence.pid().is_none());
    fence.revive().unwrap();
    let agent = s.create("a", "{}").await.unwrap();
    assert_eq!(s.ping(&agent).await.pid, agent.pid.unwrap());
    s.stop_all().await;
    s.assert_nothing_left().await;
}

/// A host in a process of its own: this program, as [`helper`].
struct Elsewhere {
    host: Program,
    dir: tempfile::TempDir,
}

impl Elsewhere {
    /// Starts it. It has three processes of agents.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("agents")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "fence::helper", "--ignored", "--nocapture"]);
        command.env(HELPER, dir.path()).env("TMPDIR", dir.path());
        let host = Program::start(&mut command);
        host.wait_for_output("agents are there");
        let elsewhere = Self { host, dir };
        // One that has just been executed has no environment for a moment.
        let until = std::time::Instant::now() + LIMIT;
        while elsewhere.agents().len() != 3 {
            assert!(std::time::Instant::now() < until, "its agents are {:?}", elsewhere.agents());
            std::thread::yield_now();
        }
        elsewhere
    }

    fn mark(&self) -> String {
        self.dir.path().join("agents").to_str().unwrap().to_owned()
    }

    fn agents(&self) -> Vec<u32> {
        processes_marked(&self.mark())
    }

    fn fence(&self) -> u32 {
        self.host.wait_for_output("fence ").trim_start_matches("fence ").parse().unwrap()
    }

    /// Where the helper looks for how long its tenure is to be.
    fn allow_for(&self, millis: u64) {
        let path = self.dir.path().join("allow");
        std::fs::write(path.with_extension("new"), millis.to_string()).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
        self.host.wait_for_output("told");
    }

    async fn lock(&self, within: Duration) -> Result<state_dir::Locked, StateDirError> {
        state_dir::lock(self.dir.path(), &HostId::new("h").unwrap(), within).await
    }
}

/// Not a test by itself, but what [`Elsewhere`] runs.
#[tokio::test]
#[ignore = "run by other tests"]
async fn helper() {
    let Some(dir) = std::env::var_os(HELPER).map(PathBuf::from) else { return };
    let locked = state_dir::lock(&dir, &HostId::new("h").unwrap(), Duration::ZERO).await.unwrap();
    locked.note(&LeaseId::new("the-lease").unwrap());
    let s = setup_with(|config: &mut SupervisorConfig, runner: &mut Runner| {
        config.fence = process();
        config.hold = Some(locked.hold().unwrap().into());
        *runner = crate::setup::echo(&dir.join("agents"));
    })
    .await;
    s.create("parent", r#"{"fork_children":2}"#).await.unwrap();
    let fence = s.supervisor.fence();
    stands(fence.pid().unwrap()).await;
    // On lines of their own: the test harness begins one with the name of this test.
    println!("\nfence {}\nagents are there", fence.pid().unwrap());
    loop {
        until_there(&dir.join("allow")).await;
        let millis = std::fs::read_to_string(dir.join("allow")).unwrap().parse().unwrap();
        std::fs::remove_file(dir.join("allow")).unwrap();
        assert!(fence.allow_until(BootInstant::now() + Duration::from_millis(millis)));
        println!("told");
    }
}

/// However long it takes: the helper lives until it is killed.
async fn until_there(path: &Path) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn agents_of_a_host_that_is_stopped_are_ended_in_time() {
    let elsewhere = Elsewhere::start();
    elsewhere.allow_for(1500);
    elsewhere.host.signal(Signal::STOP);
    for agent in elsewhere.agents() {
        kill(agent, Signal::STOP);
    }
    let end = BootInstant::now() + Duration::from_millis(1500);
    wait_until_none_marked(&elsewhere.mark());
    let late = BootInstant::now().saturating_duration_since(end);
    assert!(late < Duration::from_secs(5), "{late:?} late");
}

#[tokio::test]
async fn a_host_that_is_killed_leaves_nothing_and_then_its_lock() {
    let mut elsewhere = Elsewhere::start();
    let refused = elsewhere.lock(Duration::ZERO).await.unwrap_err();
    assert!(matches!(refused, StateDirError::Locked { .. }), "{refused}");

    // As long as the fence has not done its work the lock is not free.
    kill(elsewhere.fence(), Signal::STOP);
    elsewhere.host.signal(Signal::KILL);
    elsewhere.host.wait();
    until(|| elsewhere.agents().len() == 2).await;
    assert!(elsewhere.lock(Duration::from_millis(50)).await.is_err(), "what the agent forked is there");
    kill(elsewhere.fence(), Signal::CONT);
    let locked = elsewhere.lock(LIMIT).await.unwrap();
    assert_eq!(elsewhere.agents(), Vec::<u32>::new(), "with the lock nothing runs");
    assert_eq!(locked.predecessor().unwrap().as_str(), "the-lease");
}

#[tokio::test]
async fn dropping_a_supervisor_drops_its_fence() {
    let s = setup().await;
    s.create("a", r#"{"fork_children":1}"#).await.unwrap();
    let Setup { supervisor, dir, .. } = s;
    drop(supervisor);
    let mark = dir.path().to_str().unwrap().to_owned();
    tokio::task::spawn_blocking(move || wait_until_none_marked(&mark)).await.unwrap();
}
