//! Where hosts are, by their ids.
//!
//! A request names the hosts of all peers. The fleet finds one by halves, a dozen strings in
//! as many places of memory; here it is one number and one string.

use alloc::vec::Vec;

use guildhall_policy::{Fleet, agent_of};

/// No host.
const NOBODY: u32 = u32::MAX;

/// Positions, each in the slot that the hash of the host's id says, or the next free one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions {
    /// A power of two, and so many that half are free at least.
    slots: Vec<u32>,
}

impl Positions {
    pub(crate) fn hash(id: &str) -> u32 {
        let hash = agent_of("", id);
        (hash ^ (hash >> 32)) as u32
    }

    /// Takes the hashes of all hosts' ids, by position.
    pub(crate) fn fill(&mut self, hosts: usize, hashes: impl Iterator<Item = u32>) {
        self.slots.clear();
        self.slots.resize((2 * hosts).next_power_of_two(), NOBODY);
        for (at, hash) in hashes.enumerate() {
            let mut slot = hash as usize & (self.slots.len() - 1);
            while self.slots[slot] != NOBODY {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            self.slots[slot] = at as u32;
        }
    }

    /// The position of the host of this id, if it is there.
    pub(crate) fn find(&self, fleet: &Fleet, id: &str) -> Option<usize> {
        let last = self.slots.len().checked_sub(1)?;
        let mut slot = Self::hash(id) as usize & last;
        while self.slots[slot] != NOBODY {
            let at = self.slots[slot] as usize;
            if fleet[at].id == id {
                return Some(at);
            }
            slot = (slot + 1) & last;
        }
        None
    }
}
