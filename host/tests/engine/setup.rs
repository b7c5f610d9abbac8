//! A fleet of its own for each test, and words for what tests ask.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use guildhall::{
    agent::{AgentEvent, AgentInfo},
    engine::{AgentOutcome, EngineError, ExecutionEngine, GrpcEngine, GrpcEngineBuilder},
    ids::{AgentId, AgentKey, GuildId, HostId},
    launch::Launch,
    registry::Registry,
    spec::GuildSpec,
};
use guildhall_host::{
    Fleet, FleetBuilder, Host,
    runner::{ClassPattern, Runner, RunnerTable, Template},
};
use guildhall_testing::{processes_marked, wait_until_none_marked};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::backends::Pair;

/// Longer than anything takes that works. Tests wait for events, not for this.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) fleet: Fleet,
    /// A handle on the registry that is not the hosts' own.
    pub(crate) registry: Arc<dyn Registry>,
    /// Its path is in the environment of each agent.
    dir: TempDir,
}

/// Starts hosts whose load reports come too late to matter, so that what an engine
/// knows of them is what they said at first.
pub(crate) async fn world(pair: Pair, hosts: usize) -> World {
    world_with(pair, |fleet| fleet.hosts(hosts)).await
}

pub(crate) async fn world_with(
    [hosts, registry]: Pair,
    change: impl FnOnce(FleetBuilder) -> FleetBuilder,
) -> World {
    let dir = tempfile::tempdir().unwrap();
    let builder = Fleet::builder(runners(&dir)).registry(hosts).heartbeat(Duration::from_secs(3600));
    let fleet = change(builder).start().await.unwrap();
    World { fleet, registry, dir }
}

/// With leases that end soon after a crash.
pub(crate) async fn mortal_world(pair: Pair, hosts: usize) -> World {
    world_with(pair, |fleet| fleet.hosts(hosts).configure(|host| host.lease = Duration::from_secs(2))).await
}

/// Echo runners: a good one, one that is given little time, one that cannot be run.
fn runners(dir: &TempDir) -> RunnerTable {
    let echo = |name: &str, class: &str| {
        let mut runner = Runner::new(name, echo_runner::binary().unwrap());
        let dir = Template::parse(dir.path().to_str().unwrap()).unwrap();
        runner.env.insert(echo_runner::DIR_VARIABLE.to_owned(), dir);
        runner.class_name = Some(ClassPattern::new(class));
        runner
    };
    let mut hasty = echo("hasty", "hasty.*");
    hasty.ready_timeout = Some(Duration::from_millis(300));
    let mut missing = echo("missing", "missing.*");
    missing.command = "/no/such/runner".into();
    RunnerTable::from_iter([echo("echo", "test.*"), hasty, missing])
}

impl World {
    /// An engine that knows all hosts.
    pub(crate) async fn engine(&self) -> GrpcEngine {
        self.engine_with(|engine| engine).await
    }

    pub(crate) async fn engine_with(
        &self,
        change: impl FnOnce(GrpcEngineBuilder) -> GrpcEngineBuilder,
    ) -> GrpcEngine {
        let builder = self.fleet.engine().registry(self.registry.clone());
        let engine = change(builder).build().await.unwrap();
        engine.wait_for_hosts(self.fleet.hosts().len(), LIMIT).await.unwrap();
        engine
    }

    pub(crate) fn host(&self, id: &str) -> &Host {
        self.fleet.hosts().iter().find(|host| host.id().as_str() == id).unwrap()
    }

    /// Ends a host the way a crash would.
    pub(crate) async fn crash(&mut self, id: &str) {
        self.fleet.take_host(&host_id(id)).unwrap().crash().await;
    }

    /// The processes of agents, and of what they started.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes_marked(self.dir.path().to_str().unwrap())
    }

    /// Ends the fleet, and checks that nothing is left of it.
    pub(crate) async fn end(self) {
        assert!(self.fleet.stop().await, "the fleet did not end in peace");
        // The lease of a crashed host ends by itself, and nobody tells of that here.
        let no_hosts = async {
            while !self.registry.hosts().await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT, no_hosts).await.expect("a host is left in the registry");
        wait_until_none_marked(self.dir.path().to_str().unwrap());
    }
}

pub(crate) fn host_id(id: &str) -> HostId {
    HostId::new(id).unwrap()
}

pub(crate) fn guild_id(id: &str) -> GuildId {
    GuildId::new(id).unwrap()
}

pub(crate) fn key(guild: &str, agent: &str) -> AgentKey {
    AgentKey::new(guild_id(guild), AgentId::new(agent).unwrap())
}

/// A launch of an agent of the guild `g` that does as it should.
pub(crate) fn launch(agent: &str) -> Launch {
    launch_that("g", agent, "test.Echo", "{}")
}

/// A launch that misbehaves as `echo` says.
pub(crate) fn launch_that(guild: &str, agent: &str, class: &str, echo: &str) -> Launch {
    let spec = format!(
        r#"{{"id":"{agent}","name":"The {agent}","description":"An agent of a test.",
            "class_name":"{class}","properties":{{"echo":{echo}}}}}"#
    );
    Launch::from_agent_spec(guild_id(guild), spec.as_bytes()).unwrap()
}

/// A guild of this many agents: `a1`, `a2`, …, of which every second is called `Even`.
pub(crate) fn guild(id: &str, agents: usize) -> GuildSpec {
    let agents: Vec<_> = (1..=agents)
        .map(|n| {
            let name = if n % 2 == 0 { "Even" } else { "Odd" };
            format!("  - {{id: a{n}, name: {name}, description: An agent., class_name: test.Echo}}")
        })
        .collect();
    let yaml = format!("id: {id}\nname: Guild\ndescription: A guild.\nagents:\n{}\n", agents.join("\n"));
    GuildSpec::from_yaml(&yaml).unwrap()
}

/// All agents, none of which may have failed.
pub(crate) fn agents(outcomes: Vec<AgentOutcome>) -> Vec<AgentInfo> {
    outcomes.into_iter().map(|outcome| outcome.result.unwrap()).collect()
}

/// How many of the agents each host has, in the order of the hosts' ids.
pub(crate) fn spread(agents: &[AgentInfo]) -> Vec<(String, usize)> {
    let mut hosts: Vec<_> = agents.iter().map(|agent| agent.host.to_string()).collect();
    hosts.sort();
    let counts = hosts.chunk_by(|a, b| a == b);
    counts.map(|same| (same[0].clone(), same.len())).collect()
}

/// Waits for the first process of an agent.
pub(crate) async fn a_process(world: &World) -> u32 {
    let wait = async {
        loop {
            if let Some(pid) = world.processes().first() {
                return *pid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, wait).await.expect("no process is started")
}

/// Waits until no record of the agent is left.
pub(crate) async fn forgotten(engine: &GrpcEngine, key: &AgentKey) {
    let wait = async {
        while engine.get_agent(key).await?.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok::<_, EngineError>(())
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{key} is still recorded")).unwrap();
}

pub(crate) async fn next(events: &mut BoxStream<'static, AgentEvent>) -> AgentEvent {
    timeout(LIMIT, events.next()).await.expect("no event comes").expect("the events have ended")
}

/// Waits for the agent to be as wanted, as a watcher sees it.
pub(crate) async fn until(
    events: &mut BoxStream<'static, AgentEvent>,
    mut wanted: impl FnMut(&AgentInfo) -> bool,
) -> AgentInfo {
    loop {
        let agents = match next(events).await {
            AgentEvent::Snapshot(agents) => agents,
            AgentEvent::Changed(agent) => vec![agent],
            _ => continue,
        };
        if let Some(agent) = agents.into_iter().find(|agent| wanted(agent)) {
            return agent;
        }
    }
}
