//! Processes that are there before their agents: waiting ones, and forks of a zygote.

use std::{collections::BTreeMap, fs, time::Duration};

use guildhall::agent::AgentState;
use guildhall_host::{
    clock::BootInstant,
    runner::{RunnerTable, Start},
};
use rustix::process::Signal;

use crate::setup::{LIMIT, Setup, echo, gone, key, kill, setup_with};

/// What is looked at comes true in the end.
async fn until(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "it did not come to this: {what}");
}

async fn waiting(start: Start, warm: u32) -> Setup {
    setup_with(|_, runner| {
        runner.start = start;
        runner.warm = warm;
        runner.warm_max = warm;
    })
    .await
}

impl Setup {
    /// The processes that are no agent's, and no zygote.
    fn idle(&self) -> Vec<u32> {
        let agents: Vec<_> = self.supervisor.list(None).iter().filter_map(|agent| agent.pid).collect();
        let is_zygote = |pid: &u32| self.zygote() == Some(*pid);
        self.processes().into_iter().filter(|pid| !agents.contains(pid) && !is_zygote(pid)).collect()
    }

    /// The process whose standard input is a socket.
    fn zygote(&self) -> Option<u32> {
        let speaks = |pid: &u32| {
            let stdin = fs::read_link(format!("/proc/{pid}/fd/0")).unwrap_or_default();
            stdin.to_string_lossy().starts_with("socket:")
        };
        self.processes().into_iter().find(speaks)
    }

    /// Those that are ready for the next launch, when there are so many. A host counts them
    /// once it has launched something.
    async fn ready(&self, wanted: u32) -> Vec<u32> {
        let first = self.create("first", "{}").await.unwrap();
        self.supervisor.stop(&first.key, None).await.unwrap();
        until("enough are ready", || self.warm() == [("examples.Echo".to_owned(), wanted)].into()).await;
        self.idle()
    }

    /// What waits ends with the supervisor.
    async fn assert_all_ends(&self) {
        assert_eq!(self.supervisor.list(None), []);
        self.supervisor.shutdown().await;
        assert_eq!(self.processes(), [0; 0]);
    }

    fn warm(&self) -> BTreeMap<String, u32> {
        self.supervisor.counts().warm
    }
}

/// A field of `/proc/PID/stat`, counted as `man 5 proc` does.
fn stat(pid: u32, field: usize) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    after_name.split(' ').nth(field - 3).unwrap().parse().unwrap()
}

/// What kinds of files a process has open.
fn descriptors(pid: u32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let kind =
        |link: fs::DirEntry| Some(fs::read_link(link.path()).ok()?.to_str()?.split(':').next()?.to_owned());
    let mut kinds: Vec<_> = links.filter_map(kind).collect();
    kinds.sort();
    kinds
}

#[tokio::test]
async fn an_agent_becomes_of_a_process_that_waits_and_another_takes_its_place() {
    for start in [Start::Spawn, Start::Fork] {
        let s = waiting(start, 2).await;
        let before = s.ready(2).await;
        assert_eq!(before.len(), 2);
        let agent = s.create("a", "{}").await.unwrap();
        assert!(before.contains(&agent.pid.unwrap()), "{start:?}: {before:?} {:?}", agent.pid);
        let pong = s.ping(&agent).await;
        assert_eq!((pong.guild.as_str(), pong.agent.as_str(), pong.epoch), ("g", "a", agent.epoch.0));
        until("two wait again", || s.idle().len() == 2).await;

        let last = s.supervisor.stop(&agent.key, None).await.unwrap();
        assert_eq!(last.last_exit.unwrap().code, Some(0), "its exit is known");
        s.assert_all_ends().await;
    }
}

#[tokio::test]
async fn a_fork_is_the_hosts_child_in_a_session_of_its_own_with_what_it_was_given() {
    let s = waiting(Start::Fork, 0).await;
    until("there is a zygote", || s.zygote().is_some()).await;
    let zygote = s.zygote().unwrap();
    let agent = s.create("a", "{}").await.unwrap();
    let pid = agent.pid.unwrap();
    assert_eq!(stat(pid, 4), std::process::id(), "its parent");
    assert_eq!((stat(pid, 5), stat(pid, 6)), (pid, pid), "its group and session");
    // Its standard ones; its pings' listener and a pair that tells it of SIGTERM. None of
    // the zygote's, and the socket that it notified by closes in a moment.
    until("it has its own alone", || {
        descriptors(pid) == ["pipe", "pipe", "pipe", "socket", "socket", "socket"]
    })
    .await;
    assert_eq!(s.ping(&agent).await.agent, agent.key.agent.as_str());

    // The zygote's death is nothing to its forks, and launches go on without it.
    kill(zygote, Signal::KILL);
    gone(zygote).await;
    s.ping(&agent).await;
    let spawned = s.create("b", "{}").await.unwrap();
    assert_ne!(stat(spawned.pid.unwrap(), 6), spawned.pid.unwrap(), "executed, in the host's session");
    kill(pid, Signal::KILL);
    let again = s.until(&agent.key, |now| now.epoch > agent.epoch && now.state == AgentState::Running).await;
    assert_eq!(again.last_exit.as_ref().unwrap().signal, Some(9), "its end was the host's to learn");
    until("there is another zygote", || s.zygote().is_some_and(|now| now != zygote)).await;
    s.stop_all().await;
    s.assert_all_ends().await;
}

#[tokio::test]
async fn what_dies_while_it_waits_is_replaced_and_no_launch_fails() {
    let s = waiting(Start::Spawn, 2).await;
    until("two wait", || s.idle().len() == 2).await;
    let killed = s.idle();
    for pid in &killed {
        kill(*pid, Signal::KILL);
    }
    for pid in &killed {
        gone(*pid).await;
    }
    let agent = s.create("a", "{}").await.unwrap();
    assert!(!killed.contains(&agent.pid.unwrap()));
    s.ping(&agent).await;
    until("two wait again", || s.idle().len() == 2).await;
    s.stop_all().await;
    s.assert_all_ends().await;
}

/// `sh -c … sh --zygote` is not one.
#[tokio::test]
async fn a_runner_that_is_no_zygote_is_executed() {
    let s = setup_with(|_, runner| {
        let program = runner.command.display().to_string();
        runner.command = "/bin/sh".into();
        runner.args =
            ["-c", &format!(r#"[ "$1" != --zygote ] && exec {program}"#), "sh"].map(str::to_owned).into();
        runner.start = Start::Fork;
    })
    .await;
    let agent = s.create("a", "{}").await.unwrap();
    s.ping(&agent).await;
    s.stop_all().await;
    s.assert_all_ends().await;
}

#[tokio::test]
async fn another_table_ends_what_waits_for_the_last() {
    let s = waiting(Start::Fork, 2).await;
    until("two wait", || s.idle().len() == 2).await;
    let (agent, before) = (s.create("a", "{}").await.unwrap(), s.processes());
    let plain: RunnerTable = [echo(s.dir.path())].into_iter().collect();
    s.supervisor.set_runners(plain);
    until("the agent alone is left", || s.processes() == [agent.pid.unwrap()]).await;
    assert!(before.len() >= 3);
    s.ping(&agent).await;
    assert_eq!(s.warm(), BTreeMap::new());
    let mut changed = echo(s.dir.path());
    (changed.warm, changed.warm_max) = (1, 1);
    s.supervisor.set_runners([changed].into_iter().collect());
    until("one waits", || s.idle().len() == 1).await;
    s.stop_all().await;
    s.assert_all_ends().await;
}

#[tokio::test]
async fn the_fence_knows_an_agent_that_waited() {
    for start in [Start::Spawn, Start::Fork] {
        let s = waiting(start, 1).await;
        let waited = s.ready(1).await[0];
        let agent = s.create("a", "{}").await.unwrap();
        assert_eq!(agent.pid, Some(waited));
        s.supervisor.fence().allow_until(BootInstant::now());
        gone(waited).await;
        s.supervisor.fence().allow_until(BootInstant::from_nanos(u64::MAX));
        s.until(&key("g", "a"), |now| now.epoch > agent.epoch && now.state == AgentState::Running).await;
        s.stop_all().await;
        s.assert_all_ends().await;
    }
}

#[tokio::test]
async fn many_at_once_get_one_process_each() {
    let s = setup_with(|_, runner| {
        runner.start = Start::Fork;
        runner.warm = 2;
        runner.warm_max = 8;
    })
    .await;
    until("two wait", || s.idle().len() == 2).await;
    let names: Vec<_> = (0..40).map(|number| format!("a{number}")).collect();
    let created = futures::future::join_all(names.iter().map(|name| s.create(name, "{}"))).await;
    let mut pids: Vec<_> = created.iter().map(|agent| agent.as_ref().unwrap().pid.unwrap()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 40);
    until("as many wait as there may", || s.idle().len() == 8).await;
    s.stop_all().await;
    s.assert_all_ends().await;
}
