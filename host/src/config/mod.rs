//! Configuration from flags and environment, validated whole: whoever starts a
//! host with three mistakes is told of all three.
//!
//! [`HostArgs`] is what was written, as text; [`HostConfig`] is what it means;
//! `validate.rs` makes one of the other.

mod args;
mod check;
mod validate;

use std::{collections::BTreeMap, fmt, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use guildhall::{
    host::Consistency,
    ids::HostId,
    placement::{BuiltIn, CompiledCache, Imports, PolicyArtifact, PolicyChoice, Trust},
    registry::RedisTls,
    resources::Amounts,
    transport::TlsFiles,
};

pub use self::{
    args::{HostArgs, LogFormat},
    check::ConfigErrors,
};
use crate::{clock::Clock, runner::RunnerTable, server::Roles, supervisor::SupervisorConfig};

/// Where the registry is.
#[derive(Clone, PartialEq, Eq)]
pub enum RegistryAddress {
    /// In the memory of this process.
    Memory,
    /// At this URL, which may hold a password.
    Redis(String),
}

/// Never shows the URL: it may hold a password.
impl fmt::Debug for RegistryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Redis(_) => "redis",
        })
    }
}

/// Far above what one app asks of one host, and far below what a host can answer.
const DEFAULT_CALLS_A_SECOND: Option<NonZeroU32> = NonZeroU32::new(5000);

/// What a host is told once, when it starts. Printed without secrets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostConfig {
    /// Where the registry is.
    pub registry: RegistryAddress,
    /// How long to try to reach it at the start.
    pub registry_patience: Duration,
    /// The certificates of the connection to it.
    pub redis_tls: RedisTls,
    /// How many replicas must have what others rely on; `None`: as is usual for its form.
    pub redis_replicas: Option<u32>,
    /// What is executed for which class.
    pub runners: RunnerTable,
    /// The file of that table, which is followed; `None`: the table stays.
    pub runners_file: Option<PathBuf>,
    /// What the gRPC service listens on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where others reach it; `None`: where it listens.
    pub advertise: Option<String>,
    /// Where health alone is served, in plain text; `None`: nowhere.
    pub health_listen: Option<SocketAddr>,
    /// Where Prometheus reads metrics; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The host's certificate; `None`: plain text.
    pub tls: Option<TlsFiles>,
    /// What the names in others' certificates stand for.
    pub roles: Roles,
    /// Calls that one caller may make a second; `None`: any number.
    pub calls_a_second: Option<NonZeroU32>,
    /// Labels that policies may look at.
    pub labels: BTreeMap<String, String>,
    /// What there is for agents; `None`: what the machine or the container has.
    pub allocatable: Option<Amounts>,
    /// Time between two load reports.
    pub heartbeat: Duration,
    /// How long claims hold without a renewal.
    pub lease: Duration,
    /// What the host does when it cannot renew it.
    pub consistency: Consistency,
    /// How long it goes on under the promises of its peers, while the registry is away for
    /// all.
    pub outage_patience: Duration,
    /// What its tenure is measured on.
    pub clock: Clock,
    /// Agents that are moved at most a minute after hosts joined, if the policy proposes it.
    pub rebalance: usize,
    /// The policy for `RunAgent`.
    pub policy: PolicyChoice,
    /// The settings of a policy that brings none along.
    pub policy_settings: serde_json::Value,
    /// Which policies may decide.
    pub trust: Trust,
    /// What decides when the policy fails again and again; `None`: nothing.
    pub policy_fallback: Option<BuiltIn>,
    /// What a policy may import.
    pub policy_imports: Imports,
    /// A policy in the shadow of the one in charge.
    pub shadow_policy: Option<PolicyArtifact>,
    /// Where decisions are written down.
    pub record_decisions: Option<PathBuf>,
    /// Where compiled policies are kept.
    pub policy_cache: CompiledCache,
    /// The pod that is told how many agents it has; `None`: none.
    #[cfg(feature = "kubernetes")]
    pub own_pod: Option<crate::deletion_cost::OwnPod>,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// Where the host notes its lease; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// What the supervisor is told, the host's id included.
    pub supervisor: SupervisorConfig,
}

impl HostConfig {
    /// The defaults: a free port of the loopback interface, the in-memory registry,
    /// and else what the flags' defaults say.
    pub fn new(id: HostId, runners: RunnerTable) -> Self {
        Self {
            registry: RegistryAddress::Memory,
            registry_patience: Duration::from_secs(30),
            redis_tls: RedisTls::default(),
            redis_replicas: None,
            runners,
            runners_file: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            health_listen: None,
            metrics_listen: None,
            tls: None,
            roles: Roles::default(),
            calls_a_second: DEFAULT_CALLS_A_SECOND,
            labels: BTreeMap::new(),
            allocatable: None,
            heartbeat: Duration::from_secs(20),
            lease: Duration::from_secs(10),
            consistency: Consistency::Strict,
            outage_patience: Duration::from_secs(600),
            clock: Clock::Machine,
            rebalance: 10,
            policy: PolicyChoice::default(),
            policy_settings: serde_json::Value::Null,
            trust: Trust::default(),
            policy_fallback: Some(BuiltIn::RoundRobin),
            policy_imports: Imports::default(),
            shadow_policy: None,
            record_decisions: None,
            policy_cache: CompiledCache::default(),
            #[cfg(feature = "kubernetes")]
            own_pod: None,
            drain_timeout: Duration::from_secs(25),
            state_dir: None,
            supervisor: SupervisorConfig::new(id, std::env::temp_dir()),
        }
    }

    /// The host's id.
    pub fn id(&self) -> &HostId {
        &self.supervisor.host
    }
}
