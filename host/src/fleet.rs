//! A whole fleet inside one process: for demos, tests and apps that want agents
//! supervised and placed by policy on one machine, without deploying anything.

use std::{path::PathBuf, sync::Arc, time::Duration};

use guildhall::{
    engine::{GrpcEngine, GrpcEngineBuilder},
    ids::{HostId, InvalidId},
    placement::PolicyChoice,
    registry::{MemoryRegistry, Registry},
};
use tempfile::TempDir;

use crate::{Host, HostConfig, HostError, runner::RunnerTable};

/// Describes an embedded [`Fleet`].
#[derive(Clone, Debug)]
#[must_use]
pub struct FleetBuilder {
    runners: RunnerTable,
    hosts: usize,
    prefix: String,
    capacity: u32,
    registry: Option<Arc<dyn Registry>>,
    policy: PolicyChoice,
    heartbeat: Duration,
    configure: Option<fn(&mut HostConfig)>,
}

impl FleetBuilder {
    /// This many hosts: 3.
    pub fn hosts(mut self, hosts: usize) -> Self {
        self.hosts = hosts;
        self
    }

    /// What host ids begin with: `host`, which makes `host-1`, `host-2`, ….
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Agents that each host takes at most: 100.
    pub fn capacity(mut self, agents: u32) -> Self {
        self.capacity = agents;
        self
    }

    /// The registry; unless told, one in memory.
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// The policy that the hosts decide with for `RunAgent`, and
    /// [`Fleet::engine`] too: round-robin.
    pub fn policy(mut self, policy: impl Into<PolicyChoice>) -> Self {
        self.policy = policy.into();
        self
    }

    /// Time between two load reports of a host: 1 s.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// Changes what else the hosts are told.
    pub fn configure(mut self, configure: fn(&mut HostConfig)) -> Self {
        self.configure = Some(configure);
        self
    }

    /// Starts the hosts.
    ///
    /// # Errors
    /// [`FleetError`]; nothing is left running then.
    pub async fn start(self) -> Result<Fleet, FleetError> {
        let runtime_dir =
            tempfile::Builder::new().prefix("guildhall-").tempdir().map_err(FleetError::Folder)?;
        let registry = self.registry.clone().unwrap_or_else(|| Arc::new(MemoryRegistry::new()));
        let mut fleet =
            Fleet { hosts: Vec::new(), registry: registry.clone(), policy: self.policy.clone(), runtime_dir };
        for n in 1..=self.hosts {
            let config = self.host(n, fleet.runtime_dir.path().to_owned())?;
            match Host::start(config, registry.clone()).await {
                Ok(host) => fleet.hosts.push(host),
                Err(error) => {
                    fleet.stop().await;
                    return Err(error.into());
                }
            }
        }
        Ok(fleet)
    }

    fn host(&self, n: usize, runtime_dir: PathBuf) -> Result<HostConfig, InvalidId> {
        let id = HostId::new(format!("{}-{n}", self.prefix))?;
        let mut config = HostConfig::new(id, self.runners.clone());
        config.supervisor.runtime_dir = runtime_dir;
        config.supervisor.capacity = self.capacity;
        config.policy = self.policy.clone();
        config.heartbeat = self.heartbeat;
        if let Some(configure) = self.configure {
            configure(&mut config);
        }
        Ok(config)
    }
}

/// Why a fleet did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// A host did not start.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The prefix makes no host id.
    #[error(transparent)]
    Prefix(#[from] InvalidId),
    /// The folder for the hosts' sockets cannot be made.
    #[error("cannot make a folder for the hosts' sockets: {0}")]
    Folder(#[source] std::io::Error),
}

/// Hosts inside this process. Their agents are processes of their own, and die
/// with this process, whatever way it ends.
#[derive(Debug)]
pub struct Fleet {
    hosts: Vec<Host>,
    registry: Arc<dyn Registry>,
    policy: PolicyChoice,
    /// Removed when the fleet is dropped.
    runtime_dir: TempDir,
}

impl Fleet {
    /// Begins to describe a fleet whose agents are run as `runners` says.
    pub fn builder(runners: RunnerTable) -> FleetBuilder {
        FleetBuilder {
            runners,
            hosts: 3,
            prefix: "host".to_owned(),
            capacity: 100,
            registry: None,
            policy: PolicyChoice::default(),
            heartbeat: Duration::from_secs(1),
            configure: None,
        }
    }

    /// Begins to describe an engine on this fleet, with its registry and policy.
    pub fn engine(&self) -> GrpcEngineBuilder {
        GrpcEngine::builder().registry(self.registry.clone()).policy(self.policy.clone())
    }

    /// The hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The registry of the hosts.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// Takes a host out of the fleet, to drain or to crash it.
    pub fn take_host(&mut self, id: &HostId) -> Option<Host> {
        let at = self.hosts.iter().position(|host| host.id() == *id)?;
        Some(self.hosts.remove(at))
    }

    /// Drains all hosts at once and ends. Answers whether every agent ended in
    /// peace and in time.
    pub async fn stop(self) -> bool {
        let drained = futures::future::join_all(self.hosts.into_iter().map(Host::drain)).await;
        drained.into_iter().all(|peaceful| peaceful)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fleet_that_has_stopped_holds_nothing() {
        let fleet = Fleet::builder(RunnerTable::default()).hosts(2).start().await.unwrap();
        let registry = fleet.registry().clone();
        assert!(fleet.stop().await);
        // Supervisors, engines and their tasks hold it as long as they are there.
        let gone = async {
            while Arc::strong_count(&registry) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("somebody holds the registry");
    }
}
