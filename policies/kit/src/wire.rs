//! The component's edge: what `placement.wit` generates, turned into the kit's
//! types. Only [`export!`](crate::export) reaches in here.

#![allow(missing_docs, unsafe_code, unreachable_pub, reason = "generated from placement.wit")]

use alloc::{string::String, vec::Vec};
use core::cell::Cell;

use crate::{Live, Policy};

wit_bindgen::generate!({
    path: "wit",
    world: "complete-placement",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "guildhall_policy::wire",
    // What a policy is told comes as the kit's own types, without a copy.
    with: {
        "guildhall:placement/policy@0.2.0/value": crate::Value,
        "guildhall:placement/policy@0.2.0/setting": crate::Setting,
        "guildhall:placement/policy@0.2.0/label": crate::Label,
        "guildhall:placement/policy@0.2.0/quantity": crate::Quantity,
        "guildhall:placement/policy@0.2.0/resources": crate::Resources,
        "guildhall:placement/policy@0.2.0/load": crate::Load,
        "guildhall:placement/policy@0.2.0/warm": crate::Warm,
        "guildhall:placement/policy@0.2.0/standing": crate::Standing,
        "guildhall:placement/policy@0.2.0/candidate": crate::Candidate,
        "guildhall:placement/policy@0.2.0/change": crate::Change,
        "guildhall:placement/policy@0.2.0/qos": crate::Qos,
        "guildhall:placement/policy@0.2.0/peer": crate::Peer,
        "guildhall:placement/policy@0.2.0/request": crate::Request,
        "guildhall:placement/policy@0.2.0/choice": crate::Choice,
        "guildhall:placement/policy@0.2.0/rejection": crate::Rejection,
        "guildhall:placement/policy@0.2.0/refusal": crate::Refusal,
        "guildhall:placement/guilds@0.2.0/kind": crate::Kind,
        "guildhall:placement/guilds@0.2.0/member": crate::Member,
        "guildhall:placement/guilds@0.2.0/mode": crate::Mode,
        "guildhall:placement/guilds@0.2.0/guild-request": crate::GuildRequest,
        "guildhall:placement/rebalancing@0.2.0/placed": crate::Placed,
        "guildhall:placement/rebalancing@0.2.0/move": crate::Move,
    },
});

pub use crate::{Change, Choice, GuildRequest, Move, Placed, Refusal, Request};
pub use exports::guildhall::placement::{
    guilds::{self, GuildDecision},
    policy::{self, Inputs},
    rebalancing,
    scoring::{self, Scores, Verdict},
    settings,
};

const UNCONFIGURED: &str = "the policy was not configured";

/// Where a component keeps its policy between calls.
pub struct Seat<P>(Cell<Option<Live<P>>>);

// A component has one thread.
unsafe impl<P> Sync for Seat<P> {}

impl<P: Policy> Seat<P> {
    pub const EMPTY: Self = Self(Cell::new(None));

    pub fn configure(&self, settings: Vec<crate::Setting>) -> Result<Inputs, String> {
        let live = Live::start(settings).map_err(|error| error.text())?;
        self.0.set(Some(live));
        let mut inputs = Inputs::empty();
        inputs.set(Inputs::TICKET, P::INPUTS.ticket);
        inputs.set(Inputs::PEERS, P::INPUTS.peers);
        Ok(inputs)
    }

    pub fn observe(&self, changes: Vec<Change>) {
        self.with(|live| live.observe(changes));
    }

    pub fn place(&self, request: Request) -> Result<Vec<Choice>, Refusal> {
        let unconfigured = || Err(Refusal::new(UNCONFIGURED));
        let placed = self.with(|live| live.place(&request)).unwrap_or_else(unconfigured)?;
        let mut choices = Vec::with_capacity(1 + placed.others.len());
        choices.push(Choice { host: placed.host, score: placed.score, reason: placed.reason });
        choices.extend(placed.others);
        Ok(choices)
    }

    pub fn place_guild(&self, request: GuildRequest) -> GuildDecision {
        let decided = self.with(|live| {
            let placed = live.place_guild(&request);
            let fleet = live.fleet();
            let mut hosts = Vec::new();
            let mut known = alloc::vec![u32::MAX; fleet.len()];
            let member = |at: Option<usize>| {
                let at = at?;
                if known[at] == u32::MAX {
                    known[at] = hosts.len() as u32;
                    hosts.push(fleet[at].id.clone());
                }
                Some(known[at])
            };
            let members = placed.hosts.into_iter().map(member).collect();
            GuildDecision { members, hosts, reason: placed.reason, refusal: placed.refusal }
        });
        decided.unwrap_or_else(|| GuildDecision {
            hosts: Vec::new(),
            members: Vec::new(),
            reason: String::new(),
            refusal: Some(Refusal::new(UNCONFIGURED)),
        })
    }

    pub fn score(&self, request: Request, first: u32, count: u32) -> Scores {
        let mut scores = Scores { verdicts: Vec::with_capacity(count as usize), reasons: Vec::new() };
        self.with(|live| {
            for at in (first as usize..live.fleet().len()).take(count as usize) {
                scores.verdicts.push(match live.score(&request, at) {
                    crate::Verdict::Score(score) => Verdict::Score(score),
                    crate::Verdict::Rejected(reason) => {
                        let known = scores.reasons.iter().position(|other| *other == reason);
                        Verdict::Rejected(known.unwrap_or_else(|| {
                            scores.reasons.push(reason.into_owned());
                            scores.reasons.len() - 1
                        }) as u32)
                    }
                });
            }
        });
        scores
    }

    pub fn chosen(&self, host: &str) {
        self.with(|live| live.chosen(host));
    }

    pub fn propose_moves(&self, placed: Vec<Placed>, most: u32) -> Vec<Move> {
        self.with(|live| live.propose_moves(&placed, most as usize)).unwrap_or_default()
    }

    /// Taken out, and put back: what traps meanwhile is not called again.
    fn with<T>(&self, call: impl FnOnce(&mut Live<P>) -> T) -> Option<T> {
        let mut live = self.0.take()?;
        let result = call(&mut live);
        self.0.set(Some(live));
        Some(result)
    }
}
