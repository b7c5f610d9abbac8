//! What is known of a host: where it listens, what it takes, how loaded it is.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{ids::HostId, placement::PolicyIdentity};

/// What a host measured of itself at its last load report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostLoad {
    /// Agents on the host, those starting included.
    pub running: u32,
    /// Agents that are starting and not yet ready.
    pub starts_in_flight: u32,
    /// Share of all its CPUs in use, 0.0 to 1.0.
    pub cpu_fraction: f64,
    /// Memory in use, bytes.
    pub memory_used: u64,
    /// Memory there is, bytes; 0 when unknown.
    pub memory_total: u64,
}

/// What a host says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Its id.
    pub id: HostId,
    /// Where its gRPC service listens, such as `http://10.1.2.3:50051`.
    pub endpoint: String,
    /// Labels that policies may look at.
    pub labels: BTreeMap<String, String>,
    /// Agents it takes at most.
    pub capacity: u32,
    /// Whether it takes no new agents because it is about to end.
    pub draining: bool,
    /// Its load.
    pub load: HostLoad,
    /// The policy that it decides with, so that a disagreement in the fleet can be seen.
    pub policy: PolicyIdentity,
}

/// A host whose lease is in force, as the registry or discovery tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveHost {
    /// What it last reported.
    pub info: HostInfo,
    /// The lease that it holds; empty where there is no registry.
    pub lease: LeaseId,
    /// Age of its last load report, by the registry's time.
    pub heartbeat_age: Duration,
}

/// Tells one lease of a host from its next: fresh at each registration, so claims
/// that were made under a lease that ended are known to have ended with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(String);

impl LeaseId {
    /// A lease id that nobody has used.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The id as text: 32 hex digits, or empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for LeaseId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

/// A change of the fleet, as a watcher sees it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HostEvent {
    /// Every host there is now. Comes first, and again whenever changes may have
    /// been missed: what a watcher knew before is void.
    Snapshot(Vec<LiveHost>),
    /// The host is new or changed.
    Changed(LiveHost),
    /// The host left, or its lease ended.
    Removed(HostId),
}
