//! Version 0.1. Nothing else names these types.
//!
//! Hosts that take no agents do not exist for a policy of this version; resources are
//! what a spec says, in whole CPUs.

#![allow(missing_docs, unreachable_pub, reason = "generated from placement-0.1.0.wit, which has the docs")]

use std::collections::BTreeMap;

use super::{Answer, Change, WireChoice, milliseconds};
use crate::placement::types::{Candidate, Needs, PlacementRequest, Refusal, Standing};

pub(super) const CONTRACT: &str = "guildhall:placement@0.1.0";
pub(super) const POLICY: &str = "guildhall:placement/policy@0.1.0";

wasmtime::component::bindgen!({
    path: "wit/0.1",
    world: "placement",
    ownership: Borrowing { duplicate_if_necessary: true },
});

use exports::guildhall::placement::policy as wire;

impl Placement {
    pub(super) fn configure<S: Send>(
        &self,
        store: &mut wasmtime::Store<S>,
        settings: &str,
    ) -> wasmtime::Result<Result<Needs, String>> {
        let configured = self.guildhall_placement_policy().call_configure(store, settings)?;
        Ok(configured.map(|inputs| Needs { ticket: inputs.contains(wire::Inputs::TICKET), peers: false }))
    }

    pub(super) fn observe<S: Send>(
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

    pub(super) fn place<S: Send>(
        &self,
        store: &mut wasmtime::Store<S>,
        request: &PlacementRequest,
        needs: Needs,
    ) -> wasmtime::Result<Answer> {
        let labels = labels(&request.labels);
        let resources = &request.resources;
        let memory = Some(resources.memory).filter(|memory| *memory > 0);
        let custom: Vec<_> = resources
            .custom
            .iter()
            .map(|(name, &amount)| wire::Quantity { name, amount })
            .chain(memory.map(|bytes| wire::Quantity { name: "memory", amount: bytes as f64 }))
            .collect();
        let excluded: Vec<&str> = request.excluded.iter().map(|host| host.as_str()).collect();
        let whole = |millis: u64| Some(millis as f64 / 1000.0).filter(|whole| *whole > 0.0);
        let request = wire::Request {
            guild: request.key.guild.as_str(),
            agent: request.key.agent.as_str(),
            name: &request.name,
            class_name: &request.class_name,
            labels: &labels,
            resources: wire::Resources {
                cpus: whole(resources.cpu_millis),
                gpus: whole(resources.accelerator_millis),
                custom: &custom,
            },
            qos: wire::Qos {
                timeout_ms: request.qos.timeout.map(milliseconds),
                retry_count: request.qos.retry_count,
                latency_ms: request.qos.latency.map(milliseconds),
            },
            excluded: &excluded,
            ticket: request.ticket.filter(|_| needs.ticket),
        };
        let answer = self.guildhall_placement_policy().call_place(store, request)?;
        Ok(match answer {
            Ok(wire::Decision { host, reason }) => Ok(vec![WireChoice { host, score: 0.0, reason }]),
            Err(wire::Refusal { reason }) => Err(Refusal { reason, ..Refusal::default() }),
        })
    }
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<wire::Label<'_>> {
    labels.iter().map(|(key, value)| wire::Label { key, value }).collect()
}

fn change<'a>(change: Change<'a>, labels: &'a [wire::Label<'a>]) -> wire::Change<'a> {
    match change {
        Change::Upsert(Candidate { id, standing: Standing::Cordoned | Standing::Draining, .. })
        | Change::Remove(id) => wire::Change::Remove(id.as_str()),
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
    }
}
