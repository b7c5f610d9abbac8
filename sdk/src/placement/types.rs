//! The words of placement: what the service learns, is asked, and answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AgentId, AgentKey, HostId},
    resources::{Amounts, Qos},
};

use super::digest::Sha256Digest;

/// Whether a host takes agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does.
    #[default]
    Open,
    /// An operator wants no new agents on it.
    Cordoned,
    /// It is giving up its agents, and ends soon.
    Draining,
}

/// A host, which a policy may choose when it is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The host's id.
    pub id: HostId,
    /// What the host, or its orchestrator, says about itself: zone, node, class.
    pub labels: BTreeMap<String, String>,
    /// Agents the host takes at most.
    pub capacity: u32,
    /// Agents on the host, those that are starting included.
    pub running: u32,
    /// What there is for agents; `None` when the host does not say.
    pub allocatable: Option<Amounts>,
    /// What the agents on the host asked for, in all.
    pub requested: Amounts,
    /// What the host last measured of itself.
    pub load: Load,
    /// Runners that wait, by class: how many are ready to become an agent of it.
    pub warm: BTreeMap<String, u32>,
    /// Whether it takes agents.
    pub standing: Standing,
}

impl Candidate {
    /// An open host with room for `capacity` agents that has none, no labels, and has
    /// not yet reported its load.
    pub fn new(id: HostId, capacity: u32) -> Self {
        Self {
            id,
            labels: BTreeMap::new(),
            capacity,
            running: 0,
            allocatable: None,
            requested: Amounts::default(),
            load: Load::default(),
            warm: BTreeMap::new(),
            standing: Standing::Open,
        }
    }
}

/// What a host last measured of itself. The default is a host that has not
/// reported: its CPU share is unknown (NaN) and so is its memory (total 0).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Share of all the host's CPUs in use, 0.0 to 1.0; NaN when unknown.
    #[serde(with = "number_or_null")]
    pub cpu_fraction: f64,
    /// CPU in use, thousandths of a CPU; 0 when unknown.
    pub cpu_used_millis: u64,
    /// Memory in use, bytes.
    pub memory_used: u64,
    /// Memory there is, bytes; 0 when unknown.
    pub memory_total: u64,
    /// Agents that are starting and not yet ready.
    pub starts_in_flight: u32,
    /// Age of the report when the service learned of it.
    pub heartbeat_age: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            cpu_fraction: f64::NAN,
            cpu_used_millis: 0,
            memory_used: 0,
            memory_total: 0,
            starts_in_flight: 0,
            heartbeat_age: Duration::ZERO,
        }
    }
}

/// One change of the fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetChange {
    /// The host is new, or has reported again. Pass on every report, also one
    /// that says the same as the last: policies count what they placed since.
    Upsert(Candidate),
    /// The host is gone.
    Remove(HostId),
}

impl FleetChange {
    /// The host that changed.
    pub fn host(&self) -> &HostId {
        match self {
            Self::Upsert(candidate) => &candidate.id,
            Self::Remove(host) => host,
        }
    }
}

/// Another agent of the guild, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub agent: AgentId,
    /// Its name, as people know it.
    pub name: String,
    /// The class that implements it.
    pub class_name: String,
    /// The host it is on.
    pub host: HostId,
}

/// One agent that needs a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementRequest {
    /// Which agent.
    #[serde(flatten)]
    pub key: AgentKey,
    /// Its name, as people know it.
    pub name: String,
    /// The class that implements it.
    pub class_name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it needs of its host.
    pub resources: Amounts,
    /// The service it asks for.
    pub qos: Qos,
    /// How often it was started again so far.
    pub restarts: u32,
    /// Hosts on which it has failed.
    pub failed_on: Vec<HostId>,
    /// Agents in its guild, this one included; 0 when that is not known.
    pub guild_size: u32,
    /// The others of its guild that have a host, when the policy asked for them: see
    /// [`PlacementService::needs`](super::PlacementService::needs).
    pub peers: Vec<Peer>,
    /// Hosts that must not be chosen: they have just refused this agent.
    pub excluded: Vec<HostId>,
    /// A number from the counter that all engines share, when the policy asked for
    /// one: see [`PlacementService::needs`](super::PlacementService::needs).
    pub ticket: Option<u64>,
}

impl PlacementRequest {
    /// A request that says nothing but which agent needs a host.
    pub fn new(key: AgentKey) -> Self {
        Self {
            key,
            name: String::new(),
            class_name: String::new(),
            labels: BTreeMap::new(),
            resources: Amounts::default(),
            qos: Qos::default(),
            restarts: 0,
            failed_on: Vec::new(),
            guild_size: 0,
            peers: Vec::new(),
            excluded: Vec::new(),
            ticket: None,
        }
    }
}

/// What the policy in charge wants in each request beside the agent itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// A number from the counter that all engines share.
    pub ticket: bool,
    /// Where the other agents of the guild are, and what became of this one before.
    pub peers: bool,
}

impl Needs {
    /// What either wants.
    pub(super) fn and(self, other: Self) -> Self {
        Self { ticket: self.ticket || other.ticket, peers: self.peers || other.peers }
    }
}

/// A host that may have the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The host: one that the service was told of, open, and not excluded.
    pub host: HostId,
    /// How good it is, in the policy's measure; not NaN.
    pub score: f64,
    /// Why, in the policy's words; at most [`MAX_REASON_BYTES`](super::MAX_REASON_BYTES).
    pub reason: String,
}

/// Where an agent goes, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The chosen host: one that the service was told of, open, and not excluded.
    pub host: HostId,
    /// How good it is, in the policy's measure; not NaN.
    pub score: f64,
    /// Why, in the policy's words; at most [`MAX_REASON_BYTES`](super::MAX_REASON_BYTES).
    pub reason: String,
    /// Hosts to ask when that one refuses, the best first; at most 15.
    pub others: Vec<Choice>,
    /// Which policy decided.
    pub policy: Arc<PolicyIdentity>,
}

/// Hosts that were not taken for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The reason, in the policy's words.
    pub reason: String,
    /// How many hosts.
    pub count: u32,
    /// Which, or some of them.
    pub hosts: Vec<String>,
}

/// Why a policy found no host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason, in the policy's words.
    pub reason: String,
    /// Why each host was not taken, as far as the policy says.
    pub rejections: Vec<Rejection>,
    /// After how long to ask again, when the policy wants the agent to wait.
    pub retry_after: Option<Duration>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Which policy decides: two services with equal identities run the same code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PolicyIdentity {
    /// `round-robin`, `least-loaded`, or the name of the file without `.wasm`.
    pub name: String,
    /// SHA-256 of the component's bytes.
    pub sha256: Sha256Digest,
}

impl std::fmt::Display for PolicyIdentity {
    /// The name and the first 12 digits of the hash: `round-robin@1f0c…`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{:.12}", self.name, self.sha256)
    }
}

/// JSON has no NaN: what is unknown is null.
mod number_or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Some(*number).filter(|number| number.is_finite()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}
