//! All hosts' rooms by position, in blocks of neighbours.
//!
//! A block sums up what is best of each resource on any of its hosts. From that follows
//! what a host in it costs at least, without looking at one of them. A host that comes or
//! goes moves the others of its block only.

use alloc::vec::Vec;

use crate::{
    ask::{AMOUNTS, Ask},
    room::Room,
    strategy::{NO_FIT, Strategy, UNKNOWN},
};

/// Hosts in a block that was just begun or split: about the square root of the largest
/// fleets. It may grow to twice as many. Few in tests, so that there are many blocks.
const BLOCK: usize = if cfg!(test) { 3 } else { 64 };

/// Hosts that stand side by side.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) rooms: Vec<Room>,
    /// Another number after each change, never 0, and never that of another block.
    pub(crate) stamp: u64,
    best: Best,
}

/// The best there is of each resource on any host of a block that takes agents.
#[derive(Clone, Debug)]
struct Best {
    free: [u64; AMOUNTS],
    /// The shares in use and the shares that one unit is, agent slots last: those that cost
    /// least.
    shares: [f32; AMOUNTS + 1],
    units: [f32; AMOUNTS + 1],
    dominant: f32,
    known: bool,
    unknown: bool,
}

/// The rooms, by position.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    strategy: Strategy,
    blocks: Vec<Block>,
    hosts: usize,
    /// The last stamp that was given.
    stamp: u64,
}

impl Blocks {
    pub(crate) fn new(strategy: Strategy) -> Self {
        Self { strategy, blocks: Vec::new(), hosts: 0, stamp: 0 }
    }

    pub(crate) fn strategy(&self) -> Strategy {
        self.strategy
    }

    pub(crate) fn hosts(&self) -> usize {
        self.hosts
    }

    pub(crate) fn as_slice(&self) -> &[Block] {
        &self.blocks
    }

    pub(crate) fn get(&self, at: usize) -> &Room {
        let (block, offset) = self.locate(at);
        &self.blocks[block].rooms[offset]
    }

    pub(crate) fn insert(&mut self, at: usize, room: Room) {
        let (mut block, mut offset) = match at == self.hosts {
            true => {
                (self.blocks.len().saturating_sub(1), self.blocks.last().map_or(0, |last| last.rooms.len()))
            }
            false => self.locate(at),
        };
        let rooms = self.blocks.get(block).map_or(BLOCK, |block| block.rooms.len());
        // A fleet that comes in order fills one block after another.
        if rooms >= BLOCK && at == self.hosts {
            self.blocks.push(Block::new(Vec::with_capacity(BLOCK), self.strategy));
            (block, offset) = (self.blocks.len() - 1, 0);
        } else if rooms >= 2 * BLOCK {
            let rest = self.blocks[block].rooms.split_off(BLOCK);
            self.blocks.insert(block + 1, Block::new(rest, self.strategy));
            self.changed(block);
            self.changed(block + 1);
            if offset > BLOCK {
                (block, offset) = (block + 1, offset - BLOCK);
            }
        }
        self.blocks[block].best.include(&room, self.strategy);
        self.blocks[block].rooms.insert(offset, room);
        self.hosts += 1;
        self.stamp(block);
    }

    /// Changes the host at this position.
    pub(crate) fn update(&mut self, at: usize, change: impl FnOnce(&mut Room)) {
        let (block, offset) = self.locate(at);
        change(&mut self.blocks[block].rooms[offset]);
        self.changed(block);
    }

    pub(crate) fn remove(&mut self, at: usize) {
        let (block, offset) = self.locate(at);
        self.blocks[block].rooms.remove(offset);
        self.hosts -= 1;
        match self.blocks[block].rooms.is_empty() {
            true => drop(self.blocks.remove(block)),
            false => self.changed(block),
        }
    }

    /// Which block a position is in, and where in it.
    pub(crate) fn locate(&self, at: usize) -> (usize, usize) {
        let mut offset = at;
        for (nth, block) in self.blocks.iter().enumerate() {
            match offset < block.rooms.len() {
                true => return (nth, offset),
                false => offset -= block.rooms.len(),
            }
        }
        (self.blocks.len(), offset)
    }

    /// The position of the first host in a block.
    pub(crate) fn first_of(&self, block: usize) -> usize {
        self.blocks[..block].iter().map(|block| block.rooms.len()).sum()
    }

    fn changed(&mut self, block: usize) {
        self.blocks[block].best = Best::of(&self.blocks[block].rooms, self.strategy);
        self.stamp(block);
    }

    fn stamp(&mut self, block: usize) {
        self.stamp += 1;
        self.blocks[block].stamp = self.stamp;
    }
}

impl Block {
    fn new(rooms: Vec<Room>, strategy: Strategy) -> Self {
        Self { rooms, stamp: 0, best: Best::none(strategy) }
    }

    /// What no host of the block costs less than.
    pub(crate) fn costs_at_least(&self, ask: &Ask<'_>, strategy: Strategy) -> f32 {
        let best = &self.best;
        let unknown = match best.unknown && !strategy.refuse_unknown {
            true => UNKNOWN,
            false => NO_FIT,
        };
        if !best.known || (0..AMOUNTS).any(|nth| ask.amounts[nth] > best.free[nth]) {
            return unknown;
        }
        let mut share = best.dominant.max(best.shares[AMOUNTS] + best.units[AMOUNTS]);
        for nth in (0..AMOUNTS).filter(|&nth| ask.amounts[nth] > 0) {
            share = share.max(best.shares[nth] + ask.sizes[nth] * best.units[nth]);
        }
        // What a host has of custom resources is not summed up: packing may fill it.
        let share = if strategy.pack && !ask.custom.is_empty() { 1.0 } else { share.min(1.0) };
        strategy.of_share(share)
    }
}

impl Best {
    fn none(strategy: Strategy) -> Self {
        let dearest = strategy.dearest();
        Self {
            free: [0; AMOUNTS],
            shares: [dearest; AMOUNTS + 1],
            units: [dearest; AMOUNTS + 1],
            dominant: dearest,
            known: false,
            unknown: false,
        }
    }

    fn of(rooms: &[Room], strategy: Strategy) -> Self {
        let mut best = Self::none(strategy);
        rooms.iter().for_each(|room| best.include(room, strategy));
        best
    }

    fn include(&mut self, room: &Room, strategy: Strategy) {
        if room.is_full() {
            return;
        }
        if !room.is_known() {
            self.unknown = true;
            return;
        }
        self.known = true;
        self.dominant = strategy.cheaper(self.dominant, room.dominant());
        for (nth, free) in room.free().into_iter().enumerate() {
            self.free[nth] = self.free[nth].max(free);
        }
        for nth in 0..=AMOUNTS {
            let (share, unit) = room.share_and_unit(nth);
            // Where there is nothing, nothing fits.
            if unit.is_finite() {
                self.shares[nth] = strategy.cheaper(self.shares[nth], share);
                self.units[nth] = strategy.cheaper(self.units[nth], unit);
            }
        }
    }
}
