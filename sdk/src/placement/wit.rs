//! The policy contract on the wire. Nothing else names these types.
//!
//! Requests and changes are borrowed from the domain types: what crosses the
//! boundary is copied once, into the policy's memory.

#![allow(missing_docs, unreachable_pub, reason = "generated from placement.wit, which has the docs")]

use std::collections::BTreeMap;

use crate::ids::HostId;

use super::types;

wasmtime::component::bindgen!({
    path: "wit",
    world: "placement",
    ownership: Borrowing { duplicate_if_necessary: true },
});

use exports::guildhall::placement::policy as wire;

pub use wire::Inputs;

/// What `place` answers: host and reason, or the reason of a refusal.
pub type Answer = Result<(String, String), String>;

/// A change of the fleet, borrowed from the table or from the caller.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    Upsert(&'a types::Candidate),
    Remove(&'a HostId),
}

impl<'a> From<&'a types::FleetChange> for Change<'a> {
    fn from(change: &'a types::FleetChange) -> Self {
        match change {
            types::FleetChange::Upsert(candidate) => Self::Upsert(candidate),
            types::FleetChange::Remove(host) => Self::Remove(host),
        }
    }
}

impl Placement {
    /// Calls `configure`.
    pub fn configure<S: Send>(
        &self,
        store: &mut wasmtime::Store<S>,
        settings: &str,
    ) -> wasmtime::Result<Result<Inputs, String>> {
        self.guildhall_placement_policy().call_configure(store, settings)
    }

    /// Calls `observe`.
    pub fn observe<S: Send>(
        &self,
        store: &mut wasmtime::Store<S>,
        changes: &[Change<'_>],
    ) -> wasmtime::Result<()> {
        let labels: Vec<Vec<wire::Label<'_>>> = changes
            .iter()
            .map(|change| match change {
                Change::Upsert(candidate) => self::labels(&candidate.labels),
                Change::Remove(_) => Vec::new(),
            })
            .collect();
        let changes: Vec<_> =
            changes.iter().zip(&labels).map(|(change, labels)| self::change(*change, labels)).collect();
        self.guildhall_placement_policy().call_observe(store, &changes)
    }

    /// Calls `place`.
    pub fn place<S: Send>(
        &self,
        store: &mut wasmtime::Store<S>,
        request: &types::PlacementRequest,
        ticket: Option<u64>,
    ) -> wasmtime::Result<Answer> {
        let labels = labels(&request.labels);
        let custom: Vec<_> = request
            .resources
            .custom_resources
            .iter()
            .map(|(name, &amount)| wire::Quantity { name, amount })
            .collect();
        let excluded: Vec<&str> = request.excluded.iter().map(|host| host.as_str()).collect();
        let request = wire::Request {
            guild: request.key.guild.as_str(),
            agent: request.key.agent.as_str(),
            name: &request.name,
            class_name: &request.class_name,
            labels: &labels,
            resources: wire::Resources {
                cpus: request.resources.num_cpus,
                gpus: request.resources.num_gpus,
                custom: &custom,
            },
            qos: wire::Qos {
                timeout_ms: request.qos.timeout.map(milliseconds),
                retry_count: request.qos.retry_count,
                latency_ms: request.qos.latency.map(milliseconds),
            },
            excluded: &excluded,
            ticket,
        };
        let answer = self.guildhall_placement_policy().call_place(store, request)?;
        Ok(answer.map(|decision| (decision.host, decision.reason)).map_err(|refusal| refusal.reason))
    }
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<wire::Label<'_>> {
    labels.iter().map(|(key, value)| wire::Label { key, value }).collect()
}

fn change<'a>(change: Change<'a>, labels: &'a [wire::Label<'a>]) -> wire::Change<'a> {
    match change {
        Change::Upsert(candidate) => wire::Change::Upsert(wire::Candidate {
            id: candidate.id.as_str(),
            labels,
            capacity: candidate.capacity,
            running: candidate.running,
            load: wire::Load {
                cpu_fraction: candidate.load.cpu_fraction,
                memory_used: candidate.load.memory_used,
                memory_total: candidate.load.memory_total,
                starts_in_flight: candidate.load.starts_in_flight,
                heartbeat_age_ms: milliseconds(candidate.load.heartbeat_age),
            },
        }),
        Change::Remove(host) => wire::Change::Remove(host.as_str()),
    }
}

/// Whole milliseconds; what does not fit is as good as for ever.
fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
