//! What really happened: which process lived when, as the agents themselves wrote it down.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use echo_runner::witness::{self, Testimony};

/// An agent's identity, as testimonies spell it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Agent {
    /// The guild.
    pub(crate) guild: String,
    /// The agent within it.
    pub(crate) id: String,
}

impl std::fmt::Display for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.guild, self.id)
    }
}

/// The life of one process. Times are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// The incarnation.
    pub(crate) epoch: u64,
    /// The host that started it.
    pub(crate) host: String,
    /// The process.
    pub(crate) pid: u32,
    /// When it first said that it lives.
    pub(crate) first: u64,
    /// When it last said so.
    pub(crate) last: u64,
}

/// The lives of all agents, each agent's in the order in which they began.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// By agent.
    pub(crate) lives: BTreeMap<Agent, Vec<Life>>,
}

impl History {
    /// Reads all testimonies in a folder.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        Ok(Self::of(witness::read_all(dir).context("the testimonies cannot be read")?))
    }

    /// What these testimonies say. A process that never wrote a whole record did nothing yet.
    pub(crate) fn of(testimonies: Vec<Testimony>) -> Self {
        let mut lives: BTreeMap<_, Vec<Life>> = BTreeMap::new();
        for Testimony { witness, alive_at } in testimonies {
            // Not `first` and `last`: a witness is not believed to write in order.
            let (Some(first), Some(last)) = (alive_at.iter().min(), alive_at.iter().max()) else { continue };
            let agent = Agent { guild: witness.guild, id: witness.agent };
            let life = Life {
                epoch: witness.epoch,
                host: witness.host,
                pid: witness.pid,
                first: *first,
                last: *last,
            };
            lives.entry(agent).or_default().push(life);
        }
        for lives in lives.values_mut() {
            lives.sort_by_key(|life| (life.first, life.epoch));
        }
        Self { lives }
    }

    /// How many processes lived.
    pub(crate) fn processes(&self) -> usize {
        self.lives.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use echo_runner::witness::Witness;

    use super::*;

    #[test]
    fn lives_are_in_the_order_in_which_they_began() {
        let testimony = |agent: &str, epoch, alive_at: &[u64]| Testimony {
            witness: Witness { guild: "g".into(), agent: agent.into(), epoch, host: "h".into(), pid: 1 },
            alive_at: alive_at.to_vec(),
        };
        let history = History::of(vec![
            testimony("a", 1, &[50, 60, 55]),
            testimony("a", 2, &[10, 20]),
            testimony("a", 3, &[]),
            testimony("b", 1, &[7]),
        ]);
        assert_eq!(history.processes(), 3);
        let a = &history.lives[&Agent { guild: "g".into(), id: "a".into() }];
        let spans: Vec<_> = a.iter().map(|life| (life.epoch, life.first, life.last)).collect();
        assert_eq!(spans, [(2, 10, 20), (1, 50, 60)]);
    }
}
