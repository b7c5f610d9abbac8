//! Version 0.2, today's. Nothing else names these types.
//!
//! Requests and changes are borrowed from the domain types: what crosses the
//! boundary is copied once, into the policy's memory.

#![allow(missing_docs, unreachable_pub, reason = "generated from placement.wit, which has the docs")]

use std::{collections::BTreeMap, time::Duration};

use wasmtime::{
    Store,
    component::{Component, InstancePre},
};

use super::{Answer, Change, WireChoice, milliseconds};
use crate::{
    ids::HostId,
    placement::{
        guild::{GuildMode, GuildRequest},
        settings::{Settings, Value},
        types::{Needs, Peer, PlacementRequest, Refusal, Rejection, Standing},
    },
    resources::{Amounts, Qos},
};

wasmtime::component::bindgen!({
    path: "wit/0.2",
    world: "complete-placement",
    ownership: Borrowing { duplicate_if_necessary: true },
});

use exports::guildhall::placement::{guilds, policy as wire, rebalancing, scoring, settings};

pub(super) const CONTRACT: &str = "guildhall:placement@0.2.0";

/// The functions of the contract that a component has.
pub struct Ready<S: 'static> {
    linked: InstancePre<S>,
    policy: wire::GuestIndices,
    settings: Option<settings::GuestIndices>,
    guilds: Option<guilds::GuestIndices>,
    scoring: Option<scoring::GuestIndices>,
    rebalancing: Option<rebalancing::GuestIndices>,
}

/// These functions of a live instance.
pub struct Exports {
    policy: wire::Guest,
    settings: Option<settings::Guest>,
    guilds: Option<guilds::Guest>,
    scoring: Option<scoring::Guest>,
    rebalancing: Option<rebalancing::Guest>,
}

impl<S: 'static> Ready<S> {
    pub(super) fn new(component: &Component, linked: InstancePre<S>) -> wasmtime::Result<Self> {
        let has = |interface: &str| {
            component.get_export_index(None, format!("guildhall:placement/{interface}@0.2.0")).is_some()
        };
        Ok(Self {
            policy: wire::GuestIndices::new(&linked)?,
            // What is there must be what the contract says; what is not there is not used.
            settings: has("settings").then(|| settings::GuestIndices::new(&linked)).transpose()?,
            guilds: has("guilds").then(|| guilds::GuestIndices::new(&linked)).transpose()?,
            scoring: has("scoring").then(|| scoring::GuestIndices::new(&linked)).transpose()?,
            rebalancing: has("rebalancing").then(|| rebalancing::GuestIndices::new(&linked)).transpose()?,
            linked,
        })
    }

    pub(super) fn interfaces(&self) -> Vec<&'static str> {
        let all = [
            ("settings", self.settings.is_some()),
            ("guilds", self.guilds.is_some()),
            ("scoring", self.scoring.is_some()),
            ("rebalancing", self.rebalancing.is_some()),
        ];
        all.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
    }
}

impl<S: Send + 'static> Ready<S> {
    pub(super) fn instantiate(&self, store: &mut Store<S>) -> wasmtime::Result<Exports> {
        let instance = self.linked.instantiate(&mut *store)?;
        Ok(Exports {
            policy: self.policy.load(&mut *store, &instance)?,
            settings: self.settings.as_ref().map(|one| one.load(&mut *store, &instance)).transpose()?,
            guilds: self.guilds.as_ref().map(|one| one.load(&mut *store, &instance)).transpose()?,
            scoring: self.scoring.as_ref().map(|one| one.load(&mut *store, &instance)).transpose()?,
            rebalancing: self.rebalancing.as_ref().map(|one| one.load(&mut *store, &instance)).transpose()?,
        })
    }
}

/// What `place-guild` is asked.
pub struct GuildQuestion<'a> {
    pub request: &'a GuildRequest,
    pub needs: Needs,
}

/// What `place-guild` answers: nobody has yet looked whether it can be meant.
pub struct GuildAnswer {
    pub hosts: Vec<String>,
    pub members: Vec<Option<u32>>,
    pub reason: String,
    pub refusal: Option<Refusal>,
}

/// What `score` answers: for each host a score or one of the reasons.
pub struct Scores {
    pub verdicts: Vec<Result<f32, usize>>,
    pub reasons: Vec<String>,
}

/// An agent that has a host, as `propose-moves` is told.
pub struct WirePlaced<'a> {
    pub request: &'a PlacementRequest,
    pub host: &'a HostId,
}

/// What `propose-moves` answers: nobody has yet looked whether it can be meant.
pub struct WireMove {
    pub agent: u32,
    pub to: String,
    pub reason: String,
}

impl Exports {
    pub(super) fn schema<S: Send>(&self, store: &mut Store<S>) -> wasmtime::Result<Option<String>> {
        let Some(settings) = &self.settings else { return Ok(None) };
        Ok(Some(settings.call_schema(store)?).filter(|schema| !schema.is_empty()))
    }

    pub(super) fn configure<S: Send>(
        &self,
        store: &mut Store<S>,
        settings: &Settings,
    ) -> wasmtime::Result<Result<Needs, String>> {
        let settings: Vec<_> = settings
            .values()
            .iter()
            .map(|(path, value)| wire::Setting {
                path,
                value: match value {
                    Value::Flag(flag) => wire::Value::Flag(*flag),
                    Value::Number(number) => wire::Value::Number(*number),
                    Value::Text(text) => wire::Value::Text(text),
                },
            })
            .collect();
        Ok(self.policy.call_configure(store, &settings)?.map(|inputs| Needs {
            ticket: inputs.contains(wire::Inputs::TICKET),
            peers: inputs.contains(wire::Inputs::PEERS),
        }))
    }

    pub(super) fn observe<S: Send>(
        &self,
        store: &mut Store<S>,
        changes: &[Change<'_>],
    ) -> wasmtime::Result<()> {
        let lists: Vec<Lists<'_>> = changes.iter().map(|change| Lists::of(*change)).collect();
        let changes: Vec<_> = changes.iter().zip(&lists).map(|(one, lists)| change(*one, lists)).collect();
        self.policy.call_observe(store, &changes)
    }

    pub(super) fn place<S: Send>(
        &self,
        store: &mut Store<S>,
        request: &PlacementRequest,
        needs: Needs,
    ) -> wasmtime::Result<Answer> {
        let answer = with_request(request, needs, |request| self.policy.call_place(store, request))?;
        let choice = |one: wire::Choice| WireChoice { host: one.host, score: one.score, reason: one.reason };
        Ok(answer.map(|choices| choices.into_iter().map(choice).collect()).map_err(Refusal::from))
    }

    pub(super) fn place_guild<S: Send>(
        &self,
        store: &mut Store<S>,
        question: &GuildQuestion<'_>,
    ) -> wasmtime::Result<Option<GuildAnswer>> {
        let Some(exported) = &self.guilds else { return Ok(None) };
        let GuildQuestion { request, needs } = *question;
        let lists: Vec<_> =
            request.kinds.iter().map(|kind| (labels(&kind.labels), custom(&kind.resources))).collect();
        let kinds: Vec<_> = request
            .kinds
            .iter()
            .zip(&lists)
            .map(|(kind, (labels, custom))| guilds::Kind {
                class_name: &kind.class_name,
                labels,
                resources: resources(&kind.resources, custom),
            })
            .collect();
        let members: Vec<_> = request
            .members
            .iter()
            .map(|member| guilds::Member { agent: member.agent.as_str(), kind: member.kind })
            .collect();
        let peers = if needs.peers { peers(&request.peers) } else { Vec::new() };
        let excluded = hosts(&request.excluded);
        let request = guilds::GuildRequest {
            guild: request.guild.as_str(),
            kinds: &kinds,
            members: &members,
            mode: match request.mode {
                GuildMode::AllOrNothing => guilds::Mode::AllOrNothing,
                GuildMode::BestEffort => guilds::Mode::BestEffort,
            },
            peers: &peers,
            excluded: &excluded,
            first_ticket: request.first_ticket.filter(|_| needs.ticket),
        };
        let answer = exported.call_place_guild(store, request)?;
        Ok(Some(GuildAnswer {
            hosts: answer.hosts,
            members: answer.members,
            reason: answer.reason,
            refusal: answer.refusal.map(Refusal::from),
        }))
    }

    pub(super) fn score<S: Send>(
        &self,
        store: &mut Store<S>,
        request: &PlacementRequest,
        needs: Needs,
        first: u32,
        count: u32,
    ) -> wasmtime::Result<Option<Scores>> {
        let Some(exported) = &self.scoring else { return Ok(None) };
        let judged =
            with_request(request, needs, |request| exported.call_score(store, request, first, count))?;
        let verdict = |verdict: scoring::Verdict| match verdict {
            scoring::Verdict::Score(score) => Ok(score),
            scoring::Verdict::Rejected(reason) => Err(reason as usize),
        };
        Ok(Some(Scores {
            verdicts: judged.verdicts.into_iter().map(verdict).collect(),
            reasons: judged.reasons,
        }))
    }

    pub(super) fn chosen<S: Send>(&self, store: &mut Store<S>, host: &HostId) -> wasmtime::Result<()> {
        match &self.scoring {
            Some(exported) => exported.call_chosen(store, host.as_str()),
            None => Ok(()),
        }
    }

    pub(super) fn propose_moves<S: Send>(
        &self,
        store: &mut Store<S>,
        placed: &[WirePlaced<'_>],
        most: u32,
    ) -> wasmtime::Result<Option<Vec<WireMove>>> {
        let Some(exported) = &self.rebalancing else { return Ok(None) };
        let lists: Vec<_> = placed.iter().map(|placed| custom(&placed.request.resources)).collect();
        let placed: Vec<_> = placed
            .iter()
            .zip(&lists)
            .map(|(placed, custom)| rebalancing::Placed {
                guild: placed.request.key.guild.as_str(),
                agent: placed.request.key.agent.as_str(),
                class_name: &placed.request.class_name,
                resources: resources(&placed.request.resources, custom),
                host: placed.host.as_str(),
            })
            .collect();
        let moves = exported.call_propose_moves(store, &placed, most)?;
        Ok(Some(
            moves
                .into_iter()
                .map(|one| WireMove { agent: one.agent, to: one.to, reason: one.reason })
                .collect(),
        ))
    }
}

/// Has a request on the wire for the length of a call.
fn with_request<T>(request: &PlacementRequest, needs: Needs, call: impl FnOnce(wire::Request<'_>) -> T) -> T {
    let labels = labels(&request.labels);
    let custom = custom(&request.resources);
    let failed_on = hosts(&request.failed_on);
    let excluded = hosts(&request.excluded);
    let peers = if needs.peers { peers(&request.peers) } else { Vec::new() };
    call(wire::Request {
        guild: request.key.guild.as_str(),
        agent: request.key.agent.as_str(),
        name: &request.name,
        class_name: &request.class_name,
        labels: &labels,
        resources: resources(&request.resources, &custom),
        qos: qos(&request.qos),
        restarts: request.restarts,
        failed_on: &failed_on,
        guild_size: request.guild_size,
        peers: &peers,
        excluded: &excluded,
        ticket: request.ticket.filter(|_| needs.ticket),
    })
}

/// The lists of a candidate, which its record on the wire borrows.
#[derive(Default)]
struct Lists<'a> {
    labels: Vec<wire::Label<'a>>,
    allocatable: Vec<wire::Quantity<'a>>,
    requested: Vec<wire::Quantity<'a>>,
    warm: Vec<wire::Warm<'a>>,
}

impl<'a> Lists<'a> {
    fn of(change: Change<'a>) -> Self {
        let Change::Upsert(host) = change else { return Self::default() };
        Self {
            labels: labels(&host.labels),
            allocatable: host.allocatable.as_ref().map(custom).unwrap_or_default(),
            requested: custom(&host.requested),
            warm: host.warm.iter().map(|(class, &ready)| wire::Warm { class_name: class, ready }).collect(),
        }
    }
}

fn change<'a>(change: Change<'a>, lists: &'a Lists<'a>) -> wire::Change<'a> {
    let host = match change {
        Change::Upsert(host) => host,
        Change::Remove(host) => return wire::Change::Remove(host.as_str()),
    };
    wire::Change::Upsert(wire::Candidate {
        id: host.id.as_str(),
        labels: &lists.labels,
        capacity: host.capacity,
        running: host.running,
        allocatable: host.allocatable.as_ref().map(|amounts| resources(amounts, &lists.allocatable)),
        requested: resources(&host.requested, &lists.requested),
        load: wire::Load {
            cpu_fraction: host.load.cpu_fraction,
            cpu_used_millis: host.load.cpu_used_millis,
            memory_used: host.load.memory_used,
            memory_total: host.load.memory_total,
            starts_in_flight: host.load.starts_in_flight,
            heartbeat_age_ms: milliseconds(host.load.heartbeat_age),
        },
        warm: &lists.warm,
        standing: match host.standing {
            Standing::Open => wire::Standing::Open,
            Standing::Cordoned => wire::Standing::Cordoned,
            Standing::Draining => wire::Standing::Draining,
        },
    })
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<wire::Label<'_>> {
    labels.iter().map(|(key, value)| wire::Label { key, value }).collect()
}

fn custom(amounts: &Amounts) -> Vec<wire::Quantity<'_>> {
    amounts.custom.iter().map(|(name, &amount)| wire::Quantity { name, amount }).collect()
}

fn resources<'a>(amounts: &Amounts, custom: &'a [wire::Quantity<'a>]) -> wire::Resources<'a> {
    wire::Resources {
        cpu_millis: amounts.cpu_millis,
        memory: amounts.memory,
        accelerator_millis: amounts.accelerator_millis,
        custom,
    }
}

fn qos(qos: &Qos) -> wire::Qos {
    wire::Qos {
        timeout_ms: qos.timeout.map(milliseconds),
        retry_count: qos.retry_count,
        latency_ms: qos.latency.map(milliseconds),
    }
}

fn peers(peers: &[Peer]) -> Vec<wire::Peer<'_>> {
    peers
        .iter()
        .map(|peer| wire::Peer {
            agent: peer.agent.as_str(),
            name: &peer.name,
            class_name: &peer.class_name,
            host: peer.host.as_str(),
        })
        .collect()
}

fn hosts(hosts: &[HostId]) -> Vec<&str> {
    hosts.iter().map(HostId::as_str).collect()
}

impl From<wire::Refusal> for Refusal {
    fn from(refusal: wire::Refusal) -> Self {
        let rejection =
            |one: wire::Rejection| Rejection { reason: one.reason, count: one.count, hosts: one.hosts };
        Self {
            reason: refusal.reason,
            rejections: refusal.rejections.into_iter().map(rejection).collect(),
            retry_after: refusal.retry_after_ms.map(Duration::from_millis),
        }
    }
}
