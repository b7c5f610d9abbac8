//! The words of placement: what the service learns, is asked, and answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AgentKey, HostId},
    resources::{Qos, Resources},
};

use super::digest::Sha256Digest;

/// A host that a policy may choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The host's id.
    pub id: HostId,
    /// What the host, or its orchestrator, says about itself: zone, node, class.
    pub labels: BTreeMap<String, String>,
    /// Agents the host takes at most.
    pub capacity: u32,
    /// Agents on the host, those that are starting included.
    pub running: u32,
    /// What the host last reported about itself.
    pub load: Load,
}

impl Candidate {
    /// A host with room for `capacity` agents that has none, no labels, and has
    /// not yet reported its load.
    pub fn new(id: HostId, capacity: u32) -> Self {
        Self { id, labels: BTreeMap::new(), capacity, running: 0, load: Load::default() }
    }
}

/// What a host last reported about itself. The default is a host that has not
/// reported: its CPU share is unknown (NaN) and so is its memory (total 0).
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Share of all the host's CPUs in use, 0.0 to 1.0; NaN when unknown.
    pub cpu_fraction: f64,
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
            memory_used: 0,
            memory_total: 0,
            starts_in_flight: 0,
            heartbeat_age: Duration::ZERO,
        }
    }
}

/// One change of the fleet.
#[derive(Clone, Debug, PartialEq)]
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

/// One agent that needs a host.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacementRequest {
    /// Which agent.
    pub key: AgentKey,
    /// Its name, as people know it.
    pub name: String,
    /// The class that implements it.
    pub class_name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it needs of its host.
    pub resources: Resources,
    /// The service it asks for.
    pub qos: Qos,
    /// Hosts that must not be chosen: they have just refused this agent.
    pub excluded: Vec<HostId>,
    /// A number from the counter that all engines share, when the policy asked for
    /// one: see [`PlacementService::needs_ticket`](super::PlacementService::needs_ticket).
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
            resources: Resources::default(),
            qos: Qos::default(),
            excluded: Vec::new(),
            ticket: None,
        }
    }
}

/// Where an agent goes, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The chosen host: one that the service was told of, and not excluded.
    pub host: HostId,
    /// Why, in the policy's words; at most [`MAX_REASON_BYTES`](super::MAX_REASON_BYTES).
    pub reason: String,
    /// Which policy decided.
    pub policy: Arc<PolicyIdentity>,
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
