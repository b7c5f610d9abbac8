//! The real parts: a Redis, an `agent-host` process and an engine.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, stream};
use guildhall::{
    agent::AgentInfo,
    engine::{ExecutionEngine, GrpcEngine},
    launch::Launch,
    registry::{RedisOptions, RedisRegistry},
};
use guildhall_testing::RedisServer;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long the host may take to appear.
const HOST_WITHIN: Duration = Duration::from_secs(30);

/// Starts and stops under way at once: what an engine has by itself.
pub(crate) const CONCURRENCY: usize = 64;

/// One Redis and one host with an engine that uses them.
pub(crate) struct Stage {
    pub(crate) engine: GrpcEngine,
    host: Child,
    /// Holds the host's files, and the sockets of its agents.
    folder: TempDir,
    /// Ends with this value, after the host.
    _redis: RedisServer,
}

impl Stage {
    /// Starts everything; the host takes `capacity` agents, and is otherwise as an
    /// operator who sets nothing would have it.
    pub(crate) async fn start(capacity: usize) -> Result<Self> {
        let redis = RedisServer::start()?;
        let folder = tempfile::Builder::new().prefix("guildhall-bench-").tempdir()?;
        let runners = folder.path().join("runners.toml");
        fs::write(&runners, runner_table(&echo_runner::binary()?, folder.path()))?;
        let log = folder.path().join("host.log");
        let mut host = Command::new(agent_host()?)
            .env("REDIS_URL", redis.url())
            .env("RUNNERS", runners)
            .env("GRPC_PORT", "0")
            .env("HOSTNAME", "bench-host")
            .env("MAX_PROCESSES", capacity.to_string())
            .env("POLICY_CACHE", folder.path().join("policies"))
            .env("RUNTIME_DIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()?;
        let registry = RedisRegistry::connect(&redis.url(), RedisOptions::default()).await?;
        let engine = GrpcEngine::builder().registry(Arc::new(registry)).build().await?;
        tokio::select! {
            found = engine.wait_for_hosts(1, HOST_WITHIN) => found?,
            ended = host.wait() => bail!("agent-host ended with {}:\n{}", ended?, fs::read_to_string(log)?),
        }
        Ok(Self { engine, host, folder, _redis: redis })
    }

    /// A folder that goes with the stage.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process of the host.
    pub(crate) fn host_pid(&self) -> Result<Pid> {
        let pid = self.host.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        pid.context("the host has ended")
    }

    /// Runs agents, so many at once, and answers when all of them are ready.
    pub(crate) async fn run(&self, launches: Vec<Launch>) -> Result<Vec<AgentInfo>> {
        let started: Vec<_> = stream::iter(launches)
            .map(|launch| self.engine.run_agent(launch))
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        Ok(started.into_iter().collect::<Result<_, _>>()?)
    }

    /// Stops agents.
    pub(crate) async fn stop(&self, agents: Vec<AgentInfo>) -> Result<()> {
        let stopped: Vec<_> = stream::iter(agents)
            .map(async |agent| self.engine.stop_agent(&agent.key).await)
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        for result in stopped {
            result?;
        }
        Ok(())
    }

    /// Ends everything in peace.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.engine.shutdown().await;
        kill_process(self.host_pid()?, Signal::TERM)?;
        let status = self.host.wait().await?;
        ensure!(status.success(), "agent-host ended with {status}");
        Ok(())
    }
}

fn runner_table(runner: &Path, sockets: &Path) -> String {
    format!(
        "[runner.echo]\ncommand = {runner:?}\nclass_name = \"*\"\nenv = {{ {} = {sockets:?} }}\n",
        echo_runner::DIR_VARIABLE
    )
}

/// The host program in the folder that this one was built in.
pub(crate) fn agent_host() -> Result<PathBuf> {
    let found = std::env::current_exe()?.with_file_name("agent-host");
    ensure!(
        found.is_file(),
        "there is no {}; run `cargo build --release -p guildhall-host` first",
        found.display()
    );
    Ok(found)
}
