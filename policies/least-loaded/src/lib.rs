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

mod draw;
mod scores;
mod weights;

use guildhall_policy::{
    Candidate, Decision, Fleet, InvalidSettings, Observed, Policy, Refusal, Request, Settings,
};

pub use weights::Weights;

use draw::Draws;
use scores::Scores;

/// Hosts up to which all are compared: people watch small fleets, and expect the idle
/// host to be chosen.
pub const SMALL_FLEET: usize = 8;

/// Hosts that are drawn unless set.
const CHOICES: f64 = 2.0;

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
    fn configure(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        let weights = Weights::read(settings)?;
        let choices = settings.number("choices")?.unwrap_or(CHOICES);
        if choices.fract() != 0.0 || !(0.0..=1000.0).contains(&choices) {
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
        let excluded: Vec<usize> = request.excluded.iter().filter_map(|host| fleet.position(host)).collect();
        let identity = hash(request);
        let drawn = match fleet.len() > SMALL_FLEET {
            true => self.least_of_drawn(fleet.len(), identity, &excluded),
            false => None,
        };
        // In small fleets, and where nearly every host is full or excluded.
        let least = drawn.or_else(|| self.scores.least(identity, excluded.into_iter()));
        let Some(at) = least else {
            return Err(fleet.refuse(request, |at| self.scores.is_full(at)));
        };
        self.placed[at] += 1;
        self.scores.set(at, self.weights.load(&fleet[at], self.placed[at]));
        Ok(Decision::new(&fleet[at], reason(&fleet[at], self.placed[at])))
    }
}

impl LeastLoaded {
    /// The least loaded of the first few hosts that are drawn and may be chosen.
    fn least_of_drawn(&self, hosts: usize, identity: u64, excluded: &[usize]) -> Option<usize> {
        Draws::new(identity, hosts)
            .take(4 * self.choices)
            .filter(|at| !self.scores.is_full(*at) && !excluded.contains(at))
            .take(self.choices)
            .min_by_key(|at| self.scores.get(*at))
    }
}

fn reason(host: &Candidate, placed: u32) -> String {
    let slot = host.running.saturating_add(placed);
    format!("least loaded: its slot {slot} of {}", host.capacity)
}

/// FNV-1a over the agent's identity: where its scan begins, or what is drawn for it.
fn hash(request: &Request) -> u64 {
    let bytes = request.guild.bytes().chain([0]).chain(request.agent.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

guildhall_policy::export!(LeastLoaded);
