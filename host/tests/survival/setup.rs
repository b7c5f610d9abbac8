//! Hosts as processes of their own, and words for what tests ask of them.

use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::Arc, time::Duration};

use guildhall::{
    agent::{AgentInfo, AgentState},
    engine::{ExecutionEngine, GrpcEngine},
    ids::{AgentId, AgentKey, GuildId},
    launch::Launch,
    registry::{RedisOptions, RedisRegistry, Registry},
};
use guildhall_proto::v1::agent_host_service_client::AgentHostServiceClient;
use guildhall_testing::{Program, RedisServer, processes_marked, wait_until_none_marked};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

use crate::lives::{self, Life};

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The lease of every host.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// A Redis, and what hosts on it need: a runner table, and folders whose names mark them.
pub(crate) struct World {
    // Hosts end before it: they are the tests' own, and older.
    pub(crate) redis: RedisServer,
    dir: TempDir,
}

/// A Redis that keeps what it was told, and a folder.
pub(crate) fn world() -> World {
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).unwrap();
    let world = World { redis, dir: tempfile::tempdir().unwrap() };
    for folder in ["agents", "witness"] {
        std::fs::create_dir(world.path(folder)).unwrap();
    }
    let echo = format!(
        "command = {:?}\nenv = {{ ECHO_DIR = {:?}, WITNESS_DIR = {:?} }}\n",
        echo_runner::binary().unwrap(),
        world.path("agents"),
        world.path("witness"),
    );
    let runners = format!(
        "[runner.echo]\nclass_name = \"test.*\"\n{echo}\n\
         [runner.overlap]\nclass_name = \"overlap.*\"\nhandoff = \"overlap\"\n{echo}",
    );
    std::fs::write(world.path("runners.toml"), runners).unwrap();
    world
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `agent-host` with what every host needs, and nothing else in its environment.
    pub(crate) fn command(&self, id: &str) -> Command {
        let state = self.path(id);
        std::fs::create_dir_all(&state).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-host"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOSTNAME", id)
            .env("REDIS_URL", self.redis.url())
            .env("RUNNERS", self.path("runners.toml"))
            .env("RUNTIME_DIR", self.dir.path())
            .env("STATE_DIR", state)
            .env("POLICY_CACHE", self.path("policies"))
            .env("GRPC_PORT", "0")
            .env("LEASE", "2s")
            .env("LOG_FORMAT", "json");
        command
    }

    /// A host that is ready.
    pub(crate) fn host(&self, id: &str) -> Program {
        ready(&mut self.command(id))
    }

    /// Hosts that are ready: `h1`, `h2`, ….
    pub(crate) fn hosts<const N: usize>(&self) -> [Program; N] {
        std::array::from_fn(|n| self.host(&format!("h{}", n + 1)))
    }

    pub(crate) async fn registry(&self) -> Arc<dyn Registry> {
        registry_at(&self.redis.url()).await
    }

    /// An engine that knows of so many hosts.
    pub(crate) async fn engine(&self, hosts: usize) -> GrpcEngine {
        let engine = GrpcEngine::builder().registry(self.registry().await).build().await.unwrap();
        engine.wait_for_hosts(hosts, LIMIT).await.unwrap();
        engine
    }

    /// The processes of agents, sorted.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut pids = processes_marked(self.path("agents").to_str().unwrap());
        pids.sort_unstable();
        pids
    }

    /// What the agents testified so far.
    pub(crate) fn lives(&self) -> BTreeMap<String, Vec<Life>> {
        lives::read(&self.path("witness"))
    }

    /// Asserts that each of these agents has the process that its record names, and no
    /// other, and that none ever had two at once.
    pub(crate) async fn assert_each_runs_once(&self, agents: &[AgentInfo]) {
        // A process that was killed may still be there for a moment.
        until("each agent has one process", async || self.processes() == pids(agents)).await;
        lives::assert_one_at_a_time(&self.lives());
    }
}

/// However a test ends, its agents end with their hosts, which ended before.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            wait_until_none_marked(self.path("agents").to_str().unwrap());
        }
    }
}

/// Starts a host and waits until it is ready.
pub(crate) fn ready(command: &mut Command) -> Program {
    let host = Program::start(command);
    host.wait_for_log("host is ready");
    host
}

pub(crate) async fn registry_at(url: &str) -> Arc<dyn Registry> {
    let options = RedisOptions { call_timeout: Duration::from_secs(2), ..RedisOptions::default() };
    Arc::new(RedisRegistry::connect(url, options).await.unwrap())
}

/// A client of a host that is ready.
pub(crate) async fn client(host: &Program) -> AgentHostServiceClient<Channel> {
    let line: serde_json::Value = serde_json::from_str(&host.wait_for_log("host is ready")).unwrap();
    let endpoint = line["fields"]["endpoint"].as_str().unwrap().to_owned();
    AgentHostServiceClient::connect(endpoint).await.unwrap()
}

pub(crate) fn guild() -> GuildId {
    GuildId::new("g").unwrap()
}

pub(crate) fn key(agent: &str) -> AgentKey {
    AgentKey::new(guild(), AgentId::new(agent).unwrap())
}

pub(crate) fn launch(agent: &str) -> Launch {
    launch_that(agent, "{}")
}

pub(crate) fn launch_that(agent: &str, echo: &str) -> Launch {
    launch_of("test.Echo", agent, echo)
}

/// One of a class of either runner.
pub(crate) fn launch_of(class: &str, agent: &str, echo: &str) -> Launch {
    let spec = format!(
        r#"{{"id":"{agent}","name":"An agent","description":"An agent of a test.",
            "class_name":"{class}","properties":{{"echo":{echo}}}}}"#
    );
    Launch::from_agent_spec(guild(), spec.as_bytes()).unwrap()
}

/// Starts so many agents: `a0`, `a1`, ….
pub(crate) async fn run(engine: &GrpcEngine, agents: usize) -> Vec<AgentInfo> {
    let mut running = Vec::new();
    for n in 0..agents {
        running.push(engine.run_agent(launch(&format!("a{n}"))).await.unwrap());
    }
    running
}

/// The process ids, in order.
pub(crate) fn pids(agents: &[AgentInfo]) -> Vec<u32> {
    let mut pids: Vec<_> = agents.iter().filter_map(|agent| agent.pid).collect();
    pids.sort_unstable();
    pids
}

/// Those on one host.
pub(crate) fn on(agents: &[AgentInfo], host: &str) -> Vec<AgentInfo> {
    agents.iter().filter(|agent| agent.host.as_str() == host).cloned().collect()
}

/// Waits for something that can only be asked for again and again.
pub(crate) async fn until(what: &str, mut asks: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !asks().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("it never came true: {what}"));
}

/// Waits until the guild's agents are as wanted, asking again and again: while a registry
/// is away there is nothing that could tell.
pub(crate) async fn until_agents(
    engine: &GrpcEngine,
    wanted: impl Fn(&[AgentInfo]) -> bool,
) -> Vec<AgentInfo> {
    let mut last = None;
    let wait = async {
        loop {
            let agents = engine.get_agents_in_guild(&guild()).await;
            if let Ok(agents) = &agents
                && wanted(agents)
            {
                return agents.clone();
            }
            last = Some(agents);
            sleep(Duration::from_millis(20)).await;
        }
    };
    match timeout(LIMIT, wait).await {
        Ok(agents) => agents,
        Err(_) => panic!("the agents are {last:#?}"),
    }
}

/// Waits until so many agents run, none of them on this host.
pub(crate) async fn until_elsewhere(engine: &GrpcEngine, agents: usize, gone: &str) -> Vec<AgentInfo> {
    until_agents(engine, |all| {
        all.len() == agents && all_run(all) && all.iter().all(|agent| agent.host.as_str() != gone)
    })
    .await
}

pub(crate) fn all_run(agents: &[AgentInfo]) -> bool {
    agents.iter().all(|agent| agent.state == AgentState::Running)
}

/// Asserts that those that moved did so under a higher epoch, and that the others are the
/// same processes as before.
pub(crate) fn assert_only_moved_from(host: &str, before: &[AgentInfo], after: &[AgentInfo]) {
    assert_eq!(before.len(), after.len(), "{after:#?}");
    for before in before {
        let after = after.iter().find(|agent| agent.key == before.key).expect("nothing is lost");
        if before.host.as_str() == host {
            assert!(after.epoch > before.epoch, "{after:?} after {before:?}");
        } else {
            assert_eq!((after.pid, after.epoch), (before.pid, before.epoch), "{after:?} after {before:?}");
        }
    }
}
