//! What is written for a host and for an agent: a short head that scripts compare,
//! then JSON. See [`schema`](super::schema) for the two forms.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    agent::AgentInfo,
    host::{HostInfo, LeaseId},
    ids::{AgentKey, Epoch, HostId},
    registry::{Claimed, Member, RegistryError, View},
};

/// A host's entry: `LEASE REPORTED JSON`.
#[derive(Debug)]
pub(super) struct HostEntry {
    pub(super) lease: LeaseId,
    /// Milliseconds since 1970 by Redis' clock.
    pub(super) reported: u64,
    pub(super) info: HostInfo,
}

/// The JSON of an entry.
pub(super) fn to_json(record: &impl Serialize) -> Result<String, RegistryError> {
    serde_json::to_string(record)
        .map_err(|error| corrupt("a record to be written", format!("it has no JSON form: {error}")))
}

/// Reads the entry of `host` as found at `place`.
pub(super) fn host(place: &str, host: &HostId, entry: &str) -> Result<HostEntry, RegistryError> {
    let place = format!("{place}[{host}]");
    let found = any_host(&place, entry)?;
    if found.info.id != *host {
        return Err(corrupt(place, format!("it is about host {}", found.info.id)));
    }
    Ok(found)
}

/// Reads the entry of a host that only the entry itself names.
pub(super) fn any_host(place: &str, entry: &str) -> Result<HostEntry, RegistryError> {
    let mut parts = entry.splitn(3, ' ');
    let (Some(lease), Some(reported), Some(json)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(corrupt(place, "it is not LEASE REPORTED JSON"));
    };
    let reported =
        reported.parse().map_err(|error| corrupt(place, format!("when it was reported: {error}")))?;
    let lease = LeaseId::new(lease).map_err(|error| corrupt(place, error.to_string()))?;
    Ok(HostEntry { lease, reported, info: from_json(place, json)? })
}

/// The lease in a host's entry, when it can be told from the rest.
pub(super) fn lease(entry: &str) -> LeaseId {
    LeaseId::new(entry.split(' ').next().unwrap_or_default()).unwrap_or_default()
}

/// Reads a view: the fields and values of `members`, one after the other, as JSON.
pub(super) fn view(place: &str, number: u64, members: &str) -> Result<View, RegistryError> {
    let place = format!("{place}[{number}]");
    let listed: Vec<String> = from_json(&place, members)?;
    let member = |pair: &[String]| {
        let [lease, whose] = pair else { return Err(corrupt(&place, "a lease without a host")) };
        let (host, endpoint) =
            whose.rsplit_once(' ').ok_or_else(|| corrupt(&place, "it is not HOST ENDPOINT"))?;
        Ok(Member {
            host: HostId::new(host).map_err(|error| corrupt(&place, error.to_string()))?,
            lease: LeaseId::new(lease).map_err(|error| corrupt(&place, error.to_string()))?,
            endpoint: endpoint.to_owned(),
        })
    };
    let mut members = listed.chunks(2).map(member).collect::<Result<Vec<_>, _>>()?;
    members.sort_by(|a, b| a.lease.as_str().cmp(b.lease.as_str()));
    Ok(View { number, members })
}

/// Reads the entry of agent `key` as found at `place`.
pub(super) fn agent(place: &str, key: &AgentKey, entry: &str) -> Result<Claimed, RegistryError> {
    let place = format!("{place}[{}]", key.agent);
    let found = any_agent(&place, entry)?;
    if found.agent.key != *key {
        return Err(corrupt(place, format!("it is about agent {}", found.agent.key)));
    }
    Ok(found)
}

/// Reads the entry of an agent that only the entry itself names.
pub(super) fn any_agent(place: &str, entry: &str) -> Result<Claimed, RegistryError> {
    let mut parts = entry.splitn(5, ' ');
    let mut part = || parts.next();
    let (Some(epoch), Some(lease), Some(_live), Some(_call), Some(json)) =
        (part(), part(), part(), part(), part())
    else {
        return Err(corrupt(place, "it is not EPOCH LEASE LIVE CALL JSON"));
    };
    let epoch = epoch.parse().map(Epoch).map_err(|error| corrupt(place, format!("its epoch: {error}")))?;
    let agent = AgentInfo { epoch, ..from_json(place, json)? };
    let lease = LeaseId::new(lease).map_err(|error| corrupt(place, error.to_string()))?;
    Ok(Claimed { agent, lease })
}

fn from_json<T: DeserializeOwned>(place: &str, json: &str) -> Result<T, RegistryError> {
    serde_json::from_str(json).map_err(|error| corrupt(place, error.to_string()))
}

/// Whether `text` can be read as the entry of a host, as that of an agent, and as a view.
/// The fuzzer's way in.
pub fn readable_as(text: &str) -> [bool; 3] {
    [any_host("", text).is_ok(), any_agent("", text).is_ok(), view("", 1, text).is_ok()]
}

pub(super) fn corrupt(place: impl Into<String>, reason: impl Into<String>) -> RegistryError {
    RegistryError::Corrupt { place: place.into(), reason: reason.into() }
}
