//! A Redis, hosts as processes of their own, and an engine that knows them.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use echo_runner::witness;
use futures::{StreamExt, TryStreamExt, stream};
use guildhall::{
    engine::{ExecutionEngine, GrpcEngine},
    launch::Launch,
    registry::{RedisOptions, RedisRegistry},
    wire,
};
use guildhall_proto::v1::{CreateAgentRequest, agent_host_service_client::AgentHostServiceClient};
use guildhall_testing::RedisServer;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};
use tonic::transport::Channel;

use crate::{stage, workload};

/// How long hosts may take to appear.
const HOSTS_WITHIN: Duration = Duration::from_secs(60);

/// How often to look whether it has come to what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the hosts of a fleet have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) hosts: usize,
    pub(crate) lease: Duration,
    /// Agents that each host takes.
    pub(crate) capacity: usize,
    /// Time between two records of an agent; `None` where they do not testify.
    pub(crate) testify_every: Option<Duration>,
}

/// The processes. Hosts are called `h1`, `h2`, ….
pub(crate) struct Fleet {
    pub(crate) engine: GrpcEngine,
    hosts: Vec<Child>,
    folder: TempDir,
    /// Ends after the hosts.
    pub(crate) redis: RedisServer,
}

impl Fleet {
    /// Starts the fleet, and waits until each host has renewed its lease twice, so that
    /// all know of all.
    pub(crate) async fn start(terms: Terms) -> Result<Self> {
        let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"])?;
        let folder = tempfile::Builder::new().prefix("guildhall-survival-").tempdir()?;
        let witness = folder.path().join("witness");
        fs::create_dir(&witness)?;
        let mut env = format!("{} = {:?}", echo_runner::DIR_VARIABLE, folder.path());
        if let Some(every) = terms.testify_every {
            env += &format!(", {} = {witness:?}", witness::DIR_VARIABLE);
            env += &format!(", {} = \"{}\"", witness::INTERVAL_VARIABLE, every.as_millis());
        }
        let runner = echo_runner::binary()?;
        let table = format!("[runner.echo]\ncommand = {runner:?}\nclass_name = \"*\"\nenv = {{ {env} }}\n");
        fs::write(folder.path().join("runners.toml"), table)?;
        let registry = RedisRegistry::connect(&redis.url(), RedisOptions::default()).await?;
        let engine = GrpcEngine::builder().registry(Arc::new(registry)).build().await?;
        let mut fleet = Self { engine, hosts: Vec::new(), folder, redis };
        for n in 1..=terms.hosts {
            let host = fleet.host(&format!("h{n}"), terms)?;
            fleet.hosts.push(host);
            // The first one compiles the policy for all.
            fleet.engine.wait_for_hosts(n.min(1), HOSTS_WITHIN).await?;
        }
        fleet.engine.wait_for_hosts(terms.hosts, HOSTS_WITHIN).await?;
        sleep(terms.lease).await;
        Ok(fleet)
    }

    fn host(&self, id: &str, terms: Terms) -> Result<Child> {
        let state = self.folder.path().join(id);
        fs::create_dir_all(&state)?;
        let host = Command::new(stage::agent_host()?)
            .env("HOSTNAME", id)
            .env("REDIS_URL", self.redis.url())
            .env("RUNNERS", self.folder.path().join("runners.toml"))
            .env("GRPC_PORT", "0")
            .env("LEASE", format!("{}ms", terms.lease.as_millis()))
            .env("MAX_PROCESSES", terms.capacity.to_string())
            .env("POLICY_CACHE", self.folder.path().join("policies"))
            .env("RUNTIME_DIR", self.folder.path())
            .env("STATE_DIR", state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.folder.path().join(format!("{id}.log")))?)
            .kill_on_drop(true)
            .spawn()?;
        Ok(host)
    }

    /// Where the agents testify.
    pub(crate) fn witness(&self) -> PathBuf {
        self.folder.path().join("witness")
    }

    /// A client of one host.
    pub(crate) async fn client(&self, id: &str) -> Result<AgentHostServiceClient<Channel>> {
        let hosts = self.engine.hosts();
        let host = hosts.iter().find(|host| host.info.id.as_str() == id).context("there is no such host")?;
        Ok(AgentHostServiceClient::connect(host.info.endpoint.clone()).await?)
    }

    /// Runs so many agents on one host, and answers when all of them are ready.
    pub(crate) async fn run_on(&self, id: &str, agents: usize) -> Result<()> {
        let client = self.client(id).await?;
        stream::iter(workload::launches("survival", agents)?)
            .map(async |launch| {
                let request_id = launch.key.to_string();
                let launch = Some(wire::launch_to_wire(&launch));
                client.clone().create_agent(CreateAgentRequest { launch, request_id }).await
            })
            .buffer_unordered(stage::CONCURRENCY)
            .try_for_each(async |_| Ok(()))
            .await?;
        Ok(())
    }

    /// Runs agents wherever the policy says.
    pub(crate) async fn run(&self, launches: Vec<Launch>) -> Result<()> {
        stream::iter(launches)
            .map(|launch| self.engine.run_agent(launch))
            .buffer_unordered(stage::CONCURRENCY)
            .try_for_each(async |_| Ok(()))
            .await?;
        Ok(())
    }

    /// Sends a host a signal.
    pub(crate) fn signal(&self, at: usize, signal: Signal) -> Result<()> {
        let pid = self.hosts[at].id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        Ok(kill_process(pid.context("the host has ended")?, signal)?)
    }

    /// Waits for the end of a host.
    pub(crate) async fn wait(&mut self, at: usize) -> Result<ExitStatus> {
        Ok(self.hosts[at].wait().await?)
    }
}

/// Waits until something is true, and fails when it never is.
pub(crate) async fn until(what: &str, limit: Duration, mut asks: impl FnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + limit;
    while !asks()? {
        ensure!(Instant::now() < until, "it never came true within {limit:?}: {what}");
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}
