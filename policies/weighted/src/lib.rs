//! The host with the highest score, a sum of parts that the operator weighs.
//!
//! Use it where no one thing decides: it is easily tuned, and its reasons show what each
//! part added, as `score 71: slots 30, cpu 21, warm 20`, in hundredths of the highest score
//! there could be. Each part is worth from 0 to 1 on a host, and has its weight in the
//! settings; these are the defaults:
//!
//! ```json
//! {"weights": {"slots": 1, "cpu": 0.5, "memory": 0.5, "allocatable": 0,
//!              "starts": 0, "warm": 0.5, "guild": 0, "failed": 1}}
//! ```
//!
//! - `slots`: the share of its agent slots that is free;
//! - `cpu`, `memory`: the share that was idle or free at the last report; half when that is
//!   not known;
//! - `allocatable`: the share that would be free with this agent of the resource that is then
//!   asked for most; half when the host does not say what it has;
//! - `starts`: 1 when no agent is starting on it, a half when one is, a third for two;
//! - `warm`: 1 when a runner of the agent's class is ready;
//! - `guild`: the share of the guild's other agents that is on it. A weight below 0 spreads
//!   the guild: then it is the share of those that are not;
//! - `failed`: 0 when the agent has failed there before, and else 1.
//!
//! A weight is 0 to 1000000; only their ratios matter. No part keeps a host from being
//! chosen: what must be is for `resource-fit` and `affinity`.
//!
//! The policy also counts what it has itself placed on a host since the host last reported.
//! Equal hosts are told apart by the agent's identity. A decision looks at every host.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod classes;
mod host;
mod search;
mod usage;
mod weights;

use alloc::{format, string::String, vec::Vec};

use guildhall_policy::{
    Decision, Fleet, Inputs, InvalidSettings, Observed, Policy, Refusal, Request, Resources, Settings,
    Verdict, identity, percent,
};

use classes::{Classes, OTHERS};
use host::{Host, Seen, UNKNOWN};
use usage::Ask;
use weights::{ALLOCATABLE, FAILED, GUILD, NAMES, PARTS, WARM, Weights};

/// The policy: what is known of each host, kept beside the fleet, by position.
#[derive(Clone, Debug)]
pub struct Weighted {
    weights: Weights,
    classes: Classes,
    hosts: Vec<Host>,
    /// What a search looks at of each of them.
    seen: Vec<Seen>,
    /// The class of the agent that was last asked about, and what it asks for.
    asked: (String, Resources),
}

/// What the parts are worth on a host that depend on the agent.
#[derive(Clone, Copy, Debug)]
struct Worth {
    allocatable: f32,
    warm: bool,
    /// The share of the guild's other agents that is there.
    guild: f32,
    failed: bool,
}

impl Policy for Weighted {
    const INPUTS: Inputs = Inputs::PEERS;
    const SETTINGS: &'static str = include_str!("../settings.json");

    fn configure(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        let weights = Weights::read(settings)?;
        Ok(Self {
            weights,
            classes: Classes::default(),
            hosts: Vec::new(),
            seen: Vec::new(),
            asked: Default::default(),
        })
    }

    fn observe(&mut self, fleet: &Fleet, observed: &Observed) {
        match *observed {
            Observed::Added(at) => {
                let host = Host::of(&fleet[at], &self.weights, &mut self.classes);
                self.seen.insert(at, host.seen);
                self.hosts.insert(at, host);
            }
            Observed::Updated(at) => {
                self.hosts[at] = Host::of(&fleet[at], &self.weights, &mut self.classes);
                self.seen[at] = self.hosts[at].seen;
            }
            Observed::Removed(at) => {
                self.seen.remove(at);
                self.hosts.remove(at);
            }
        }
    }

    fn place(&mut self, fleet: &Fleet, request: &Request) -> Result<Decision, Refusal> {
        let peers = request.peers.iter().map(|peer| &peer.host);
        let mut marked = Vec::new();
        for host in peers.chain(&request.failed_on).chain(&request.excluded) {
            if let Some(at) = fleet.position(host) {
                self.seen[at].marked = true;
                marked.push(at);
            }
        }
        let best = search::highest(self.hosts.len(), identity(request), self.judge(fleet, request));
        marked.into_iter().for_each(|at| self.seen[at].marked = false);
        let Some((first, others)) = best.split_first() else {
            // Those that do not say they are full have what was placed since.
            return Err(fleet.refuse(request, |_| Some("full".into())));
        };
        let choose = |&(at, score): &(usize, f32)| {
            Decision::new(&fleet[at], self.reason(fleet, request, at)).with_score(score.into())
        };
        let decision = others.iter().map(choose).fold(choose(first), Decision::or);
        self.take(fleet, first.0, &request.class_name, &request.resources);
        Ok(decision)
    }

    fn score(&mut self, fleet: &Fleet, request: &Request, at: usize) -> Verdict {
        if self.asked.0 != request.class_name || self.asked.1 != request.resources {
            self.asked = (request.class_name.clone(), request.resources.clone());
        }
        match self.seen[at].full {
            true => Verdict::rejected("full"),
            false => Verdict::Score(self.sum(at, self.of_agent(&self.worth(fleet, request, at)))),
        }
    }

    fn chosen(&mut self, fleet: &Fleet, at: usize) {
        let (class, resources) = core::mem::take(&mut self.asked);
        self.take(fleet, at, &class, &resources);
        self.asked = (class, resources);
    }
}

impl Weighted {
    /// Scores hosts one after another. Only what is marked is looked up in the request; of
    /// all others there are two kinds, those with a warm runner and those without.
    fn judge<'a>(&'a self, fleet: &'a Fleet, request: &'a Request) -> impl FnMut(usize) -> Option<f32> + 'a {
        let ask = Ask::new(&request.resources);
        let class = self.classes.find(&request.class_name);
        let each = self.weights.counts(ALLOCATABLE);
        let ordinary =
            |warm, allocatable| self.of_agent(&Worth { allocatable, warm, guild: 0.0, failed: false });
        let without = [ordinary(false, UNKNOWN), ordinary(true, UNKNOWN)];
        move |at| {
            let seen = &self.seen[at];
            if seen.full || seen.marked && request.excludes(&fleet[at]) {
                return None;
            }
            let is_warm = seen.warm & class != 0;
            // A bit that several classes share does not say which of them.
            let of_agent = if seen.marked || class == OTHERS && is_warm {
                self.of_agent(&self.worth(fleet, request, at))
            } else if each {
                ordinary(is_warm, self.left_after(at, &ask))
            } else {
                // Not a branch: which hosts are warm is as good as chance.
                without[usize::from(is_warm)]
            };
            Some(self.sum(at, of_agent))
        }
    }

    fn worth(&self, fleet: &Fleet, request: &Request, at: usize) -> Worth {
        let (host, candidate) = (&self.hosts[at], &fleet[at]);
        let there = request.peers.iter().filter(|peer| peer.host == candidate.id).count();
        Worth {
            allocatable: self.left_after(at, &Ask::new(&request.resources)),
            warm: host.has_warm(candidate, &request.class_name),
            guild: there as f32 / request.peers.len().max(1) as f32,
            failed: request.failed_on.contains(&candidate.id),
        }
    }

    /// The host's score, when the parts that depend on the agent add so much.
    fn sum(&self, at: usize, of_agent: f32) -> f32 {
        (self.seen[at].base + of_agent).min(1.0)
    }

    fn of_agent(&self, worth: &Worth) -> f32 {
        self.parts(worth).into_iter().map(|(part, worth)| self.weights.of(part, worth)).sum()
    }

    fn parts(&self, worth: &Worth) -> [(usize, f32); 4] {
        let one_if = |is: bool| f32::from(u8::from(is));
        [
            (ALLOCATABLE, worth.allocatable),
            (WARM, one_if(worth.warm)),
            (GUILD, worth.guild),
            (FAILED, one_if(!worth.failed)),
        ]
    }

    /// What each part adds to the host's score. They add up: what is rounded off of one is
    /// left for the next.
    fn reason(&self, fleet: &Fleet, request: &Request, at: usize) -> String {
        let mut worth = [0.0; PARTS];
        let parts = self.parts(&self.worth(fleet, request, at));
        for (part, is) in self.hosts[at].bases(&fleet[at]).into_iter().chain(parts) {
            worth[part] = is;
        }
        let (mut sum, mut said, mut reason) = (0.0, 0, String::new());
        for (part, worth) in worth.into_iter().enumerate() {
            sum += self.weights.of(part, worth);
            let more = percent(sum.into()) - said;
            said += more;
            if more > 0 {
                let before = if reason.is_empty() { ": " } else { ", " };
                reason.push_str(&format!("{before}{} {more}", NAMES[part]));
            }
        }
        format!("score {said}{reason}")
    }

    fn take(&mut self, fleet: &Fleet, at: usize, class: &str, asked: &Resources) {
        self.hosts[at].take(&fleet[at], &self.weights, &self.classes, class, asked);
        self.seen[at] = self.hosts[at].seen;
    }

    fn left_after(&self, at: usize, ask: &Ask<'_>) -> f32 {
        match self.weights.counts(ALLOCATABLE) {
            true => self.hosts[at].usage.as_ref().map_or(UNKNOWN, |usage| usage.left_after(ask)),
            false => UNKNOWN,
        }
    }
}

guildhall_policy::no_std!();
guildhall_policy::export!(Weighted: scoring);
