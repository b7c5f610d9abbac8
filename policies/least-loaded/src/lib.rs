//! The host with the most room, by agents, CPU and memory.
//!
//! A host's load is the weighted mean of three shares, each from 0 (idle) to 1:
//! agent slots in use, CPU in use, memory in use. The host with the least load
//! gets the agent; a full or excluded one never does. See
//! [`Weights`] for what can be set.
//!
//! Reports lag: a host tells its load with its heartbeat. So the policy adds what
//! it has itself placed on a host since that host last reported. CPU and memory
//! are taken in twentieths, because a host at 41 % is not less loaded than one at
//! 43 %, and because hosts then tie, and ties are broken by a hash of the agent's
//! identity: several engines, which all see the same reports, spread their agents
//! instead of all choosing the same host.

mod scores;
mod weights;

use guildhall_policy::{
    Candidate, Decision, Fleet, InvalidSettings, Observed, Policy, Refusal, Request, Settings,
};

pub use weights::Weights;

use scores::Scores;

/// The policy: a score for each host, kept beside the fleet, by position.
#[derive(Clone, Debug)]
pub struct LeastLoaded {
    weights: Weights,
    scores: Scores,
    /// Agents placed here on each host since it last reported.
    placed: Vec<u32>,
}

impl Policy for LeastLoaded {
    fn configure(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        let weights = Weights::read(settings)?;
        Ok(Self { weights, scores: Scores::default(), placed: Vec::new() })
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
        let excluded = request.excluded.iter().filter_map(|host| fleet.position(host));
        let Some(at) = self.scores.least(hash(request), excluded) else {
            return Err(fleet.refuse(request, |at| self.scores.is_full(at)));
        };
        self.placed[at] += 1;
        self.scores.set(at, self.weights.load(&fleet[at], self.placed[at]));
        Ok(Decision::new(&fleet[at], reason(&fleet[at], self.placed[at])))
    }
}

fn reason(host: &Candidate, placed: u32) -> String {
    let slot = host.running.saturating_add(placed);
    format!("least loaded: its slot {slot} of {}", host.capacity)
}

/// FNV-1a over the agent's identity: where its scan begins.
fn hash(request: &Request) -> u64 {
    let bytes = request.guild.bytes().chain([0]).chain(request.agent.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

guildhall_policy::export!(LeastLoaded);
