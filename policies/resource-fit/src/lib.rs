//! The host that has what the agent asks for.
//!
//! Use it where agents say what they need (`resources` in their spec) and hosts what they
//! have. What counts is what was *asked for* against what there is, as in Kubernetes, and
//! not what is in use at the moment: an agent that fits keeps its room. CPU, memory,
//! accelerators, the resources that the operator named, and agent slots all have to
//! suffice. Where agents ask for nothing, `least-loaded` is the better policy.
//!
//! A host's *dominant share* is the greatest share of any of its resources that is asked
//! for. Of the hosts that fit, one gets the agent by the setting `strategy`:
//!
//! - `"spread"` (the default): the host with the least dominant share, so that agents have
//!   room around them;
//! - `"pack"`: the host with the greatest one, so that other hosts stay free for large
//!   agents, or can be shut down.
//!
//! Equal hosts are told apart by the agent's identity, so that engines which decide at the
//! same time do not all choose the same one.
//!
//! A host that does not say what it has fits whatever is asked for, as long as it has a
//! slot, and comes after all others; with `"unknown": "refuse"` it gets no agent. A host
//! without a resource that the operator named does not fit an agent that asks for it.
//!
//! The policy also counts what it has itself placed on a host since the host last reported.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod ask;
mod blocks;
#[cfg(test)]
mod naive;
mod room;
mod search;
mod strategy;

use alloc::{borrow::Cow, format, vec::Vec};

use guildhall_policy::{
    Decision, Fleet, InvalidSettings, Observed, Policy, Refusal, Request, Resources, Settings, Verdict,
    identity,
};

use ask::Ask;
use blocks::Blocks;
use room::Room;
use search::Search;
use strategy::{NO_FIT, Strategy};

/// The policy: what there is on each host, kept beside the fleet, by position.
#[derive(Clone, Debug)]
pub struct ResourceFit {
    blocks: Blocks,
    search: Search,
    /// What the agent asks for that was last asked about.
    asked: Resources,
}

impl Policy for ResourceFit {
    const SETTINGS: &'static str = include_str!("../settings.json");

    fn configure(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        let blocks = Blocks::new(Strategy::read(settings)?);
        Ok(Self { blocks, search: Search::default(), asked: Resources::default() })
    }

    fn observe(&mut self, fleet: &Fleet, observed: &Observed) {
        match *observed {
            Observed::Added(at) => self.blocks.insert(at, Room::of(&fleet[at])),
            Observed::Updated(at) => {
                let room = Room::of(&fleet[at]);
                // Most reports say what the one before said.
                if *self.blocks.get(at) != room {
                    self.blocks.update(at, |old| *old = room);
                }
            }
            Observed::Removed(at) => self.blocks.remove(at),
        }
    }

    fn place(&mut self, fleet: &Fleet, request: &Request) -> Result<Decision, Refusal> {
        let excluded: Vec<usize> = request.excluded.iter().filter_map(|host| fleet.position(host)).collect();
        let found = self.search.cheapest(&self.blocks, &request.resources, identity(request), &excluded);
        let (at, cost) = found.ok_or_else(|| {
            fleet.refuse(request, |at| self.obstacle(&Ask::new(&request.resources), at).map(Cow::into_owned))
        })?;
        self.blocks.update(at, |room| room.take(&request.resources));
        let reason = format!("fits: {}", self.blocks.get(at).figures());
        Ok(Decision::new(&fleet[at], reason).with_score(Strategy::score(cost).into()))
    }

    fn score(&mut self, _: &Fleet, request: &Request, at: usize) -> Verdict {
        if self.asked != request.resources {
            self.asked.clone_from(&request.resources);
        }
        let ask = Ask::new(&request.resources);
        match self.blocks.strategy().cost(self.blocks.get(at), &ask) {
            NO_FIT => Verdict::Rejected(self.obstacle(&ask, at).unwrap_or("full".into())),
            cost => Verdict::Score(Strategy::score(cost)),
        }
    }

    fn chosen(&mut self, _: &Fleet, at: usize) {
        self.blocks.update(at, |room| room.take(&self.asked));
    }
}

impl ResourceFit {
    /// Why the host at this position cannot have the agent.
    fn obstacle(&self, ask: &Ask<'_>, at: usize) -> Option<Cow<'static, str>> {
        let room = self.blocks.get(at);
        let unknown = || (!room.is_known() && self.blocks.strategy().refuse_unknown).then(|| UNKNOWN.into());
        room.shortage(ask).or_else(unknown)
    }
}

/// Why a host gets no agent that does not say what it has.
const UNKNOWN: &str = "of unknown resources";

guildhall_policy::no_std!();
guildhall_policy::export!(ResourceFit: scoring);
