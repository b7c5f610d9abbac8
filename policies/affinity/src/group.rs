//! Hosts that no rule tells apart.

use alloc::vec::Vec;
use core::ops::Range;

/// How many agents a host counts with that takes none.
pub(crate) const FULL: u32 = u32::MAX;

/// Hosts in a block: about the square root of the largest fleets. Few in tests, so that
/// there are many blocks.
const BLOCK: usize = if cfg!(test) { 3 } else { 64 };

/// A group of hosts, and the search for the one with the fewest agents: in blocks, each
/// with the least number of agents in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// Which of the rules on hosts they satisfy, bit by bit, and their value in each column.
    pub(crate) key: Vec<u32>,
    /// The hosts' positions, in order: a host's place here is its *slot*.
    members: Vec<u32>,
    /// Agents on each, or [`FULL`].
    agents: Vec<u32>,
    /// The fewest in each block.
    fewest: Vec<u32>,
    /// How many of the hosts are open, with room or without.
    pub(crate) open: usize,
}

impl Group {
    pub(crate) fn new(key: &[u32]) -> Self {
        Self { key: key.to_vec(), ..Self::default() }
    }

    /// Whether the hosts satisfy the rule on hosts in this place.
    pub(crate) fn holds(&self, rule: usize) -> bool {
        self.key[0] >> rule & 1 == 1
    }

    /// The hosts' value in a column.
    pub(crate) fn value(&self, column: usize) -> u32 {
        self.key[1 + column]
    }

    pub(crate) fn clear(&mut self) {
        self.members.clear();
        self.agents.clear();
        self.fewest.clear();
        self.open = 0;
    }

    /// Adds a host behind those that are there, and says its slot.
    pub(crate) fn push(&mut self, at: usize, agents: u32) -> u32 {
        let slot = self.members.len();
        self.members.push(at as u32);
        self.agents.push(agents);
        match self.fewest.get_mut(slot / BLOCK) {
            Some(fewest) => *fewest = agents.min(*fewest),
            None => self.fewest.push(agents),
        }
        slot as u32
    }

    /// Says how many agents are on a host, and tells how many there were.
    pub(crate) fn set(&mut self, slot: usize, agents: u32) -> u32 {
        let old = core::mem::replace(&mut self.agents[slot], agents);
        let block = slot / BLOCK;
        if agents <= self.fewest[block] {
            self.fewest[block] = agents;
        } else if old == self.fewest[block] {
            self.fewest[block] = fewest(&self.agents[block * BLOCK..self.end(block)]);
        }
        old
    }

    /// The position of a host with the fewest agents, and how many: of several, the first
    /// from the position `start` on, going round.
    pub(crate) fn emptiest(&self, start: u32) -> Option<(u32, u32)> {
        let wanted = fewest(&self.fewest);
        if wanted == FULL {
            return None;
        }
        let slot = self.members.partition_point(|&at| at < start) % self.members.len();
        let first = slot / BLOCK;
        // The rest of the block that the slot is in, then the blocks behind it, then those
        // from the first on: the last of these is that of the slot again.
        let mut found = self.find(slot..self.end(first), wanted);
        let mut block = first;
        for _ in 0..self.fewest.len() {
            if found.is_some() {
                break;
            }
            block = if block + 1 < self.fewest.len() { block + 1 } else { 0 };
            if self.fewest[block] == wanted {
                found = self.find(block * BLOCK..self.end(block), wanted);
            }
        }
        found.map(|slot| (self.members[slot], wanted))
    }

    fn find(&self, slots: Range<usize>, wanted: u32) -> Option<usize> {
        let from = slots.start;
        self.agents[slots].iter().position(|&agents| agents == wanted).map(|slot| from + slot)
    }

    fn end(&self, block: usize) -> usize {
        self.agents.len().min((block + 1) * BLOCK)
    }
}

fn fewest(agents: &[u32]) -> u32 {
    agents.iter().fold(FULL, |fewest, &agents| fewest.min(agents))
}
