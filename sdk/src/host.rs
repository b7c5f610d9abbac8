//! What is known of a host: where it listens, what it takes, how loaded it is.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{HostId, InvalidId},
    placement::PolicyIdentity,
    resources::Amounts,
};

/// What a host measured of itself at its last load report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostLoad {
    /// Agents on the host, those starting included.
    pub running: u32,
    /// Agents that are starting and not yet ready.
    pub starts_in_flight: u32,
    /// What its agents asked for, in all.
    pub requested: Amounts,
    /// Share of all its CPUs in use, 0.0 to 1.0.
    pub cpu_fraction: f64,
    /// CPU in use, thousandths of a CPU.
    pub cpu_used_millis: u64,
    /// Memory in use, bytes.
    pub memory_used: u64,
    /// Memory there is, bytes; 0 when unknown.
    pub memory_total: u64,
    /// Processes of runners that wait, ready to become an agent, by the classes that they
    /// were taken for of late.
    pub warm: BTreeMap<String, u32>,
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
    /// What there is for agents; `None` when it does not say.
    #[serde(default)]
    pub allocatable: Option<Amounts>,
    /// Whether it takes no new agents because it is about to end.
    pub draining: bool,
    /// Its load.
    pub load: HostLoad,
    /// The policy that it decides with, so that a disagreement in the fleet can be seen.
    pub policy: PolicyIdentity,
    /// What it does without the registry, which decides when others may take its agents.
    #[serde(default)]
    pub terms: LeaseTerms,
}

/// What a host does when it cannot renew its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// It stops its agents before another host may start them.
    #[default]
    Strict,
    /// It goes on; another host may start its agents beside it, under higher epochs.
    Available,
}

/// The terms of a host's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTerms {
    /// How long the lease holds without a renewal.
    #[serde(rename = "length_ms", with = "millis")]
    pub length: Duration,
    /// What the host does when it is over.
    pub consistency: Consistency,
    /// How long after its last renewal a strict host may go on under the promises of its
    /// peers, while the registry is away for all; zero: not at all.
    #[serde(rename = "outage_patience_ms", with = "millis")]
    pub outage_patience: Duration,
}

impl Default for LeaseTerms {
    /// 10 s, strict, 10 min.
    fn default() -> Self {
        Self {
            length: Duration::from_secs(10),
            consistency: Consistency::Strict,
            outage_patience: Duration::from_secs(600),
        }
    }
}

/// Durations as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
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
#[serde(try_from = "String", into = "String")]
pub struct LeaseId(String);

impl LeaseId {
    /// A lease id that nobody has used.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The lease of a claim that was handed over and that nobody has taken yet: none.
    pub fn none() -> Self {
        Self::default()
    }

    /// The lease id that this text is.
    ///
    /// # Errors
    /// [`InvalidId`] when it holds white space, which ends a lease id where a registry
    /// stores it, or a control character.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidId> {
        let id = id.into();
        match id.char_indices().find(|(_, c)| c.is_whitespace() || c.is_control()) {
            Some((at, character)) => Err(InvalidId::Character { kind: "lease", id, character, at }),
            None => Ok(Self(id)),
        }
    }

    /// The id as text: 32 hex digits when it is [`fresh`](Self::fresh), or empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LeaseId {
    type Error = InvalidId;
    fn try_from(id: String) -> Result<Self, InvalidId> {
        Self::new(id)
    }
}

impl From<LeaseId> for String {
    fn from(lease: LeaseId) -> Self {
        lease.0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_id_holds_nothing_that_would_end_it_in_a_registry() {
        for (id, at) in [(" ", 0), ("a b", 1), ("a\tb", 1), ("ab\n", 2), ("a\0", 1), ("é\u{a0}", 2)] {
            match LeaseId::new(id) {
                Err(InvalidId::Character { kind: "lease", at: found, .. }) => assert_eq!(found, at, "{id:?}"),
                other => panic!("{id:?} should be refused, but {other:?}"),
            }
            assert!(serde_json::from_value::<LeaseId>(id.into()).is_err(), "{id:?}");
        }
        for lease in [LeaseId::fresh(), LeaseId::default()] {
            assert_eq!(LeaseId::new(lease.as_str()).as_ref(), Ok(&lease));
            let json = serde_json::to_value(&lease).unwrap();
            assert_eq!(json, lease.as_str());
            assert_eq!(serde_json::from_value::<LeaseId>(json).unwrap(), lease);
        }
    }
}
