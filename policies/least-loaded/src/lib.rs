//! The host with the most room, by agents, CPU and memory.
//!
//! A host's load is the weighted mean of three shares, each from 0 (idle) to 1:
//! agent slots in use, CPU in use, memory in use. The host with the least load
//! gets the agent; a full or excluded one never does. See
//! [`Weights`] for what can be set.
//!
//! Reports lag: a host tells its load with its heartbeat, and several engines see the
//! same reports. If each chose the one host with the least load, all would, until the
//! next report shows it overloaded. So in fleets of more than [`SMALL_FLEET`] hosts each
//! agent has two drawn for it, by a hash of its identity, and gets the less loaded of
//! them: a host that is known to be idle is preferred, and not by everybody. More than
//! two make it worse, not better, the older the reports are; the setting `choices` says
//! how many, and 0 compares all.
//!
//! The policy also adds what it has itself placed on a host since the host last reported.
//! CPU and memory are taken in twentieths, because a host at 41 % is not less loaded than
//! one at 43 %.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod draw;
mod moves;
mod scores;
mod weights;

use alloc::{string::String, vec::Vec};

use guildhall_policy::{
    Candidate, Decision, Fleet, GuildDecision, GuildRequest, InvalidSettings, Mode, Move, Observed, Placed,
    Policy, Refusal, Request, Settings, Verdict, agent_of, members_of, text,
};

pub use weights::Weights;

use draw::Draws;
use scores::Scores;

/// Hosts up to which all are compared: people watch small fleets, and expect the idle
/// host to be chosen.
pub const SMALL_FLEET: usize = 8;

/// Hosts that are drawn unless set.
const CHOICES: f64 = 2.0;
const MOST_CHOICES: f64 = 1000.0;

/// The policy: a score for each host, kept beside the fleet, by position.
#[derive(Clone, Debug)]
pub struct LeastLoaded {
    weights: Weights,
    /// Hosts that are drawn and compared; 0: all are compared.
    choices: usize,
    scores: Scores,
    /// Agents placed here on each host since it last reported.
    placed: Vec<u32>,
}

impl Policy for LeastLoaded {
    const SETTINGS: &'static str = include_str!("../settings.json");

    fn configure(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        let weights = Weights::read(settings)?;
        let choices = settings.number("choices")?.unwrap_or(CHOICES);
        if !(0.0..=MOST_CHOICES).contains(&choices) || f64::from(choices as u32) != choices {
            return Err(settings.invalid("choices", "must be a whole number from 0 to 1000"));
        }
        Ok(Self { weights, choices: choices as usize, scores: Scores::default(), placed: Vec::new() })
    }

    fn observe(&mut self, fleet: &Fleet, observed: &Observed) {
        match *observed {
            Observed::Added(at) => {
                self.placed.insert(at, 0);
                self.scores.insert(at, self.weights.load(&fleet[at], 0));
            }
            Observed::Updated(at) => {
                self.placed[at] = 0;
                self.scores.set(at, self.weights.load(&fleet[at], 0));
            }
            Observed::Removed(at) => {
                self.placed.remove(at);
                self.scores.remove(at);
            }
        }
    }

    fn place(&mut self, fleet: &Fleet, request: &Request) -> Result<Decision, Refusal> {
        let excluded = positions(fleet, &request.excluded);
        let agent = agent_of(&request.guild, &request.agent);
        let at = self.choose(fleet, agent, &excluded).ok_or_else(|| self.refuse(fleet, request))?;
        Ok(Decision::new(&fleet[at], reason(&fleet[at], self.placed[at])).with_score(self.room(at).into()))
    }

    fn place_guild(&mut self, fleet: &Fleet, request: &GuildRequest) -> GuildDecision {
        let excluded = positions(fleet, &request.excluded);
        let identity = members_of(&request.guild);
        let choose = |agent| self.choose(fleet, identity(agent), &excluded);
        let hosts: Vec<_> = request.members.iter().map(|member| member.agent.as_str()).map(choose).collect();
        let (all, placed) = (hosts.len(), hosts.iter().flatten().count());
        let refusal = (placed < all)
            .then(|| Refusal::new(text!("no host is free for ", all - placed, " of ", all, " agents")));
        match refusal {
            Some(refusal) if request.mode == Mode::AllOrNothing => {
                hosts.into_iter().flatten().for_each(|at| self.count(fleet, at, -1));
                GuildDecision::nothing(request, refusal)
            }
            refusal => {
                let reason =
                    text!(placed, " of ", all, " agents, each to the less loaded of the hosts drawn");
                GuildDecision { hosts, reason, refusal }
            }
        }
    }

    fn score(&mut self, _: &Fleet, _: &Request, at: usize) -> Verdict {
        match self.scores.is_full(at) {
            true => Verdict::rejected("full"),
            false => Verdict::Score(self.room(at)),
        }
    }

    fn chosen(&mut self, fleet: &Fleet, at: usize) {
        self.count(fleet, at, 1);
    }

    fn propose_moves(&mut self, fleet: &Fleet, placed: &[Placed], most: usize) -> Vec<Move> {
        moves::propose(&self.weights, fleet, placed, most)
    }
}

impl LeastLoaded {
    /// Chooses a host, and counts the agent there.
    fn choose(&mut self, fleet: &Fleet, agent: u64, excluded: &[usize]) -> Option<usize> {
        let drawn = match fleet.len() > SMALL_FLEET {
            true => self.least_of_drawn(fleet.len(), agent, excluded),
            false => None,
        };
        // In small fleets, and where nearly every host is full or excluded.
        let at = drawn.or_else(|| self.scores.least(agent, excluded.iter().copied()))?;
        self.count(fleet, at, 1);
        Some(at)
    }

    /// The least loaded of the first few hosts that are drawn and may be chosen.
    fn least_of_drawn(&self, hosts: usize, agent: u64, excluded: &[usize]) -> Option<usize> {
        Draws::new(agent, hosts)
            .take(4 * self.choices)
            .filter(|at| !self.scores.is_full(*at) && !excluded.contains(at))
            .take(self.choices)
            .min_by_key(|at| self.scores.get(*at))
    }

    fn count(&mut self, fleet: &Fleet, at: usize, agents: i32) {
        self.placed[at] = self.placed[at].saturating_add_signed(agents);
        self.scores.set(at, self.weights.load(&fleet[at], self.placed[at]));
    }

    /// The share of the host that is not in use.
    fn room(&self, at: usize) -> f32 {
        1.0 - self.scores.load(at)
    }

    fn refuse(&self, fleet: &Fleet, request: &Request) -> Refusal {
        // Those that do not say they are full have what was placed since.
        fleet.refuse(request, |_| Some("full".into()))
    }
}

fn positions(fleet: &Fleet, hosts: &[String]) -> Vec<usize> {
    hosts.iter().filter_map(|host| fleet.position(host)).collect()
}

fn reason(host: &Candidate, placed: u32) -> String {
    let slot = host.running.saturating_add(placed);
    text!("least loaded: its slot ", slot, " of ", host.capacity)
}

guildhall_policy::no_std!();
guildhall_policy::export!(LeastLoaded: guilds, scoring, rebalancing);
