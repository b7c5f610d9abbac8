//! Hosts as processes of their own, and an engine that drives them.

use std::{process::Command, sync::Arc, time::Duration};

use guildhall::{
    agent::{AgentInfo, AgentState},
    engine::{ExecutionEngine, GrpcEngine},
    ids::{AgentId, AgentKey, GuildId},
    launch::Launch,
    registry::{RedisOptions, RedisRegistry, Registry},
};
use guildhall_testing::{Program, RedisServer, processes_marked, wait_until_none_marked};
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

/// What hosts need: a runner table, and a folder whose name marks their agents.
pub(crate) struct World {
    dir: TempDir,
}

pub(crate) fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let world = World { dir };
    std::fs::create_dir(world.path("agents")).unwrap();
    std::fs::write(
        world.path("runners.toml"),
        format!(
            "[runner.echo]\ncommand = {:?}\nclass_name = \"test.*\"\nenv = {{ ECHO_DIR = {:?} }}\n",
            echo_runner::binary().unwrap(),
            world.path("agents"),
        ),
    )
    .unwrap();
    world
}

impl World {
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// `agent-host` with what every host needs, and nothing else in its environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-host"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("RUNNERS", self.path("runners.toml"))
            .env("RUNTIME_DIR", self.dir.path())
            .env("POLICY_CACHE", self.path("policies"))
            .env("GRPC_PORT", "0")
            .env("LEASE", "2s")
            .env("LOG_FORMAT", "json");
        command
    }

    /// A host that is ready.
    pub(crate) fn host(&self, id: &str, redis: &RedisServer) -> Program {
        ready(self.command().env("HOSTNAME", id).env("REDIS_URL", redis.url()))
    }

    /// The processes of agents.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes_marked(&self.path("agents"))
    }
}

/// However a test ends, its agents end with their hosts, which ended before.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            wait_until_none_marked(&self.path("agents"));
        }
    }
}

/// Starts a host and waits until it is ready.
pub(crate) fn ready(command: &mut Command) -> Program {
    let host = Program::start(command);
    host.wait_for_log("host is ready");
    host
}

/// Where a host that is ready listens.
pub(crate) fn endpoint(host: &Program) -> String {
    let line = host.wait_for_log("host is ready");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    line["fields"]["endpoint"].as_str().unwrap().to_owned()
}

pub(crate) async fn registry(redis: &RedisServer) -> Arc<dyn Registry> {
    let options = RedisOptions { call_timeout: Duration::from_secs(2), ..RedisOptions::default() };
    Arc::new(RedisRegistry::connect(&redis.url(), options).await.unwrap())
}

/// An engine that knows of so many hosts.
pub(crate) async fn engine(registry: &Arc<dyn Registry>, hosts: usize) -> GrpcEngine {
    let engine = GrpcEngine::builder().registry(registry.clone()).build().await.unwrap();
    engine.wait_for_hosts(hosts, LIMIT).await.unwrap();
    engine
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
    let spec = format!(
        r#"{{"id":"{agent}","name":"An agent","description":"An agent of a test.",
            "class_name":"test.Echo","properties":{{"echo":{echo}}}}}"#
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

/// Waits until the guild's agents are as wanted, asking again and again: while a
/// registry is away there is nothing that could tell.
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
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match timeout(LIMIT, wait).await {
        Ok(agents) => agents,
        Err(_) => panic!("the agents are {last:#?}"),
    }
}

pub(crate) fn all_in(state: AgentState) -> impl Fn(&[AgentInfo]) -> bool {
    move |agents| agents.iter().all(|agent| agent.state == state)
}
