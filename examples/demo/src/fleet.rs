//! The embedded fleet of the demo, whose agents are echo-runners.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use guildhall::{agent::AgentInfo, engine::GrpcEngine, placement::PolicyChoice};
use guildhall_host::{
    Fleet,
    runner::{Runner, RunnerTable, Template},
};
use tempfile::TempDir;

/// The variable that every process of this demo's agents carries.
const MARK: &str = "ECHO_DIR";

pub(crate) struct DemoFleet {
    fleet: Fleet,
    hosts: usize,
    /// Where the agents open their sockets; its name is in each agent's
    /// environment, so that a process of this demo can be told from any other.
    sockets: TempDir,
}

impl DemoFleet {
    /// Starts the hosts; each could take all agents.
    pub(crate) async fn start(hosts: u16, agents: usize) -> Result<Self> {
        let sockets = tempfile::Builder::new().prefix("guildhall-demo-").tempdir()?;
        let mut runner = Runner::new("echo", echo_runner::binary()?);
        runner.env.insert(MARK.to_owned(), Template::parse(&sockets.path().to_string_lossy())?);
        let fleet = Fleet::builder(RunnerTable::from_iter([runner]))
            .hosts(hosts.into())
            .capacity(agents.max(100) as u32)
            .heartbeat(Duration::from_millis(500))
            .start()
            .await?;
        Ok(Self { fleet, hosts: hosts.into(), sockets })
    }

    /// An engine that decides by this policy.
    pub(crate) async fn engine(&self, policy: impl Into<PolicyChoice>) -> Result<GrpcEngine> {
        let engine = self.fleet.engine().policy(policy).build().await?;
        engine.wait_for_hosts(self.hosts, Duration::from_secs(10)).await?;
        Ok(engine)
    }

    /// Has an agent answer a ping, and checks that it is who it should be.
    pub(crate) async fn ping(&self, agent: &AgentInfo) -> Result<()> {
        let key = &agent.key;
        let socket = echo_runner::socket_path(
            self.sockets.path(),
            key.guild.as_str(),
            key.agent.as_str(),
            agent.epoch.0,
        );
        let payload = format!("are you {}?", agent.name);
        let sent = payload.clone();
        let pong =
            tokio::task::spawn_blocking(move || echo_runner::ping(&socket, &sent, Duration::from_secs(5)))
                .await?
                .with_context(|| format!("agent {key} does not answer"))?;
        ensure!(
            pong.guild == key.guild.as_str()
                && pong.agent == key.agent.as_str()
                && pong.epoch == agent.epoch.0
                && Some(pong.pid) == agent.pid
                && pong.payload == payload,
            "agent {key} answers as somebody else: {pong:?}"
        );
        Ok(())
    }

    /// Stops everything and counts the processes that are left all the same.
    pub(crate) async fn stop(self) -> Result<usize> {
        ensure!(self.fleet.stop().await, "the fleet did not end in peace");
        let mark = format!("{MARK}={}", self.sockets.path().display());
        let marked = |process: PathBuf| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let processes = fs::read_dir("/proc").context("cannot look at the processes")?;
        let left = processes.flatten().filter(|process| marked(process.path())).count();
        Ok(left)
    }
}
