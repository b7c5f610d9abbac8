//! Random histories: whatever happens in whatever order, an agent never runs twice,
//! its epochs never shrink, the registry learns how it went, and nothing is left.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use echo_runner::Order;
use futures::StreamExt;
use guildhall::{
    agent::{AgentEvent, AgentInfo, AgentState},
    ids::{AgentKey, Epoch, HostId},
    registry::{Claimed, Registry},
};
use proptest::{prelude::*, test_runner::TestRunner};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::{
    failing::{Failing, failing},
    setup::{LIMIT, Setup, key, launch, register},
};

const AGENTS: [&str; 2] = ["a", "b"];

/// What may happen; a number names one of [`AGENTS`].
#[derive(Clone, Debug)]
enum Step {
    Create(usize, &'static str),
    Stop(usize),
    /// A create that its caller gives up.
    Abandon(usize),
    Tell(usize, Order),
    Kill(usize),
    /// Another host claims the agent.
    TakeOver(usize),
    Away(bool),
    AnswersLost(bool),
    LoseData,
    /// The heartbeat found the lease ended, and the host registered anew.
    Reassert,
    /// Time for what goes on to go on.
    Pause(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let agent = || 0..AGENTS.len();
    let echo =
        prop::sample::select(vec!["{}", r#"{"on_start":"exit_after_ready:3"}"#, r#"{"on_start":"exit:1"}"#]);
    let order = prop_oneof![Just(Order::Crash), Just(Order::Exit(0)), Just(Order::Exit(3))];
    let step = prop_oneof![
        6 => (agent(), echo).prop_map(|(agent, echo)| Step::Create(agent, echo)),
        3 => agent().prop_map(Step::Stop),
        1 => agent().prop_map(Step::Abandon),
        3 => (agent(), order).prop_map(|(agent, order)| Step::Tell(agent, order)),
        2 => agent().prop_map(Step::Kill),
        1 => agent().prop_map(Step::TakeOver),
        2 => any::<bool>().prop_map(Step::Away),
        2 => any::<bool>().prop_map(Step::AnswersLost),
        1 => Just(Step::LoseData),
        2 => Just(Step::Reassert),
        6 => (0..60u64).prop_map(Step::Pause),
    ];
    prop::collection::vec(step, 1..25)
}

struct History {
    setup: Setup,
    registry: Arc<Failing>,
    /// Whether the registry has lost its data at some time.
    data_lost: bool,
    /// Calls that nobody waits for yet. What they answer is theirs to decide.
    calls: JoinSet<()>,
}

impl History {
    async fn take(&mut self, step: Step) {
        match step {
            Step::Create(agent, echo) => {
                let supervisor = self.setup.supervisor.clone();
                let launch = launch(AGENTS[agent], echo);
                self.calls.spawn(async move {
                    let _ = supervisor.create(launch, fresh()).await;
                });
            }
            Step::Stop(agent) => {
                let supervisor = self.setup.supervisor.clone();
                self.calls.spawn(async move {
                    let _ = supervisor.stop(&key("g", AGENTS[agent]), Some(Duration::from_secs(5))).await;
                });
            }
            Step::Abandon(agent) => {
                let create = self.setup.supervisor.create(launch(AGENTS[agent], "{}"), fresh());
                let _ = tokio::time::timeout(Duration::from_millis(3), create).await;
            }
            Step::Tell(agent, order) => {
                if let Some(running) = self.running(agent) {
                    // It may have ended since.
                    let socket = self.setup.socket(&running);
                    let told = move || drop(echo_runner::order(&socket, order, LIMIT));
                    tokio::task::spawn_blocking(told).await.unwrap();
                }
            }
            Step::Kill(agent) => {
                // Nothing is awaited between the look and the signal, and the
                // supervisor, which reaps, is on this very thread.
                if let Some(pid) = self.running(agent).and_then(|running| running.pid) {
                    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
            Step::TakeOver(agent) => self.take_over(agent).await,
            Step::Away(away) => self.registry.away.store(away, Ordering::Relaxed),
            Step::AnswersLost(lost) => self.registry.answers_lost.store(lost, Ordering::Relaxed),
            Step::LoseData => {
                self.setup.registry = self.registry.lose_data();
                self.data_lost = true;
                let _ = self.reassert().await;
            }
            Step::Reassert => drop(self.reassert().await),
            Step::Pause(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
    }

    fn running(&self, agent: usize) -> Option<AgentInfo> {
        let found = self.setup.supervisor.get(&key("g", AGENTS[agent]));
        found.filter(|agent| agent.state == AgentState::Running)
    }

    async fn take_over(&self, agent: usize) {
        let key = key("g", AGENTS[agent]);
        let Some(record) = self.setup.record(&key).await.filter(|record| record.host.as_str() == "h1") else {
            return;
        };
        let memory = &self.setup.registry;
        let lease = guildhall::host::LeaseId::fresh();
        let other = crate::setup::host_info("h2");
        // Its earlier lease, if there is one, goes with it.
        for host in memory.hosts().await.unwrap().iter().filter(|host| host.info.id == other.id) {
            let _ = memory.leave(&host.info.id, &host.lease).await;
        }
        memory.register(&other, &lease, Duration::from_secs(600)).await.unwrap();
        let theirs = AgentInfo { host: HostId::new("h2").unwrap(), ..record.clone() };
        let _ = memory.claim(&theirs, &lease, Some(record.epoch)).await;
    }

    /// As the heartbeat does; answers whether the registry did.
    async fn reassert(&self) -> bool {
        let memory = &self.setup.registry;
        let old = self.setup.lease.borrow().clone();
        let _ = memory.leave(&HostId::new("h1").unwrap(), &old).await;
        let lease = register(memory, "h1").await;
        self.setup.lease.send_replace(lease.clone());
        self.setup.supervisor.reassert(&lease).await.is_ok()
    }

    /// No agent has two processes.
    fn assert_once(&self) {
        let mut seen = HashMap::new();
        for pid in self.setup.processes() {
            let environment = guildhall_testing::environment(pid);
            let agent = environment.lines().find_map(|line| line.strip_prefix("GUILDHALL_AGENT_ID="));
            if let Some(other) = agent.and_then(|agent| seen.insert(agent.to_owned(), pid)) {
                panic!("{agent:?} runs as {other} and as {pid}");
            }
        }
    }

    /// Once the registry is there again, it has what the supervisor has, but for the
    /// last records of ended agents, which are gone with the registry's data.
    async fn assert_recorded(&self) {
        let agree = async {
            loop {
                let mut all = true;
                for agent in self.setup.supervisor.list(None) {
                    let record = self.setup.record(&agent.key).await;
                    let gone = self.data_lost && record.is_none() && !agent.state.is_live();
                    all &= gone || record.as_ref() == Some(&agent);
                }
                if all {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(LIMIT, agree).await.is_err() {
            let records = self.setup.registry.agents_in_guild(&key("g", "a").guild).await;
            panic!("here {:#?}\nthere {records:#?}", self.setup.supervisor.list(None));
        }
    }

    /// What this host claimed is free again, also what it claimed without hearing of
    /// it; what another host claimed is still there.
    async fn assert_given_back(&self) {
        let memory = &self.setup.registry;
        let given_back = async {
            loop {
                let claimed = memory.agents_in_guild(&key("g", "a").guild).await.unwrap();
                if claimed.iter().all(|claimed| claimed.agent.host.as_str() == "h2") {
                    return claimed;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match tokio::time::timeout(LIMIT, given_back).await {
            Ok(theirs) => {
                for Claimed { agent, .. } in theirs {
                    memory.release(&agent.key, agent.epoch).await.unwrap();
                }
            }
            Err(_) => panic!("{:#?}", memory.agents_in_guild(&key("g", "a").guild).await),
        }
    }

    async fn end(mut self) {
        self.registry.away.store(false, Ordering::Relaxed);
        self.registry.answers_lost.store(false, Ordering::Relaxed);
        while self.calls.join_next().await.is_some() {}
        while !self.reassert().await {}
        self.assert_recorded().await;
        self.assert_once();
        while !self.setup.supervisor.list(None).is_empty() {
            self.setup.stop_all().await;
        }
        self.assert_given_back().await;
        self.setup.assert_nothing_left().await;
    }
}

fn fresh() -> String {
    guildhall::host::LeaseId::fresh().as_str().to_owned()
}

async fn live_through(steps: Vec<Step>) {
    let (setup, registry) = failing().await;
    let mut events = setup.supervisor.watch();
    let watching = tokio::spawn(async move {
        let mut epochs = HashMap::<AgentKey, Epoch>::new();
        while let Some(event) = events.next().await {
            match event {
                AgentEvent::Changed(agent) => {
                    let before = epochs.insert(agent.key.clone(), agent.epoch);
                    assert!(before.is_none_or(|before| before <= agent.epoch), "{before:?}, {agent:?}");
                    assert!(agent.pid.is_none() || agent.state.is_live(), "{agent:?}");
                }
                // A registry in memory that lost its data begins at 1 again.
                AgentEvent::Removed { key, .. } => drop(epochs.remove(&key)),
                _ => {}
            }
        }
    });
    let mut history = History { setup, registry, data_lost: false, calls: JoinSet::new() };
    for step in steps {
        history.take(step).await;
        history.assert_once();
    }
    history.end().await;
    watching.await.unwrap();
}

#[test]
fn whatever_happens_an_agent_never_runs_twice_and_is_not_lost() {
    // Not shrunk: what goes wrong seldom goes wrong twice with real processes.
    let config =
        ProptestConfig { cases: 48, max_shrink_iters: 0, failure_persistence: None, ..Default::default() };
    let mut runner = TestRunner::new(config);
    let lived = runner.run(&steps(), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lived = runtime.block_on(async { tokio::time::timeout(3 * LIMIT, live_through(steps)).await });
        prop_assert!(lived.is_ok(), "it does not end");
        Ok(())
    });
    lived.unwrap_or_else(|error| panic!("{error}"));
}
