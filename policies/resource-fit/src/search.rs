//! The search for the host that costs least.
//!
//! Agents come in few shapes: those of a class ask for the same. For each of the last few
//! shapes the search remembers what the cheapest host of every block costs, or at least
//! what no host in it costs less than. It looks into the block that promises most, and then
//! into those that promise more than it has found. So a decision looks at one number a
//! block, and into few of the blocks that changed since the shape was last asked for.

use alloc::vec::Vec;

use guildhall_policy::Resources;

use crate::{
    ask::Ask,
    blocks::{Block, Blocks},
    room::Room,
    strategy::{NO_FIT, Strategy},
};

/// Shapes that are remembered.
const SHAPES: usize = 16;

/// What is remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    shapes: Vec<Shape>,
    /// Which shape the next new one replaces.
    oldest: usize,
}

#[derive(Clone, Debug)]
struct Shape {
    asked: Resources,
    /// By block.
    blocks: Vec<Remembered>,
}

/// What is known of a block.
#[derive(Clone, Debug)]
struct Remembered {
    /// When: the block's stamp then; 0 when nothing is known.
    stamp: u64,
    /// What its cheapest host costs, or less.
    cost: f32,
    /// Where in the block that host is; `None` before anyone has looked.
    offset: Option<usize>,
}

const NOTHING: Remembered = Remembered { stamp: 0, cost: 0.0, offset: None };

impl Search {
    /// The position of the host that costs least, and what it costs; not one of `excluded`.
    /// Of equal ones the first from `start` on, going round.
    pub(crate) fn cheapest(
        &mut self,
        blocks: &Blocks,
        asked: &Resources,
        start: u64,
        excluded: &[usize],
    ) -> Option<(usize, f32)> {
        let start = start.checked_rem(blocks.hosts() as u64)? as usize;
        let ask = Ask::new(asked);
        let strategy = blocks.strategy();
        let shape = self.shape(asked);
        shape.blocks.resize(blocks.as_slice().len(), NOTHING);
        for &at in excluded {
            let (nth, _) = blocks.locate(at);
            let first = blocks.first_of(nth);
            shape.blocks[nth] =
                look(&blocks.as_slice()[nth], &ask, strategy, |offset| excluded.contains(&(first + offset)));
        }
        // The block of `start` is in two parts, the first and the last on the way round.
        let (nth, offset) = blocks.locate(start);
        let first = start - offset;
        let (before, behind) = blocks.as_slice()[nth].rooms.split_at(offset);
        let part = |rooms: &[Room], first: usize| {
            let (offset, cost) =
                cheapest(rooms, &ask, strategy, |offset| excluded.contains(&(first + offset)));
            (first + offset, cost)
        };
        let mut best = part(behind, start);
        if let Some((block, offset, cost)) = shape.cheapest(blocks.as_slice(), &ask, strategy, nth)
            && cost < best.1
        {
            best = (blocks.first_of(block) + offset, cost);
        }
        let last = part(before, first);
        if last.1 < best.1 {
            best = last;
        }
        // What was seen without the excluded hosts holds for this agent alone.
        excluded.iter().for_each(|&at| shape.blocks[blocks.locate(at).0] = NOTHING);
        (best.1 < NO_FIT).then_some(best)
    }

    fn shape(&mut self, asked: &Resources) -> &mut Shape {
        let nth = self.shapes.iter().position(|shape| shape.asked == *asked).unwrap_or_else(|| {
            let shape = Shape { asked: asked.clone(), blocks: Vec::new() };
            if self.shapes.len() < SHAPES {
                self.shapes.push(shape);
                return self.shapes.len() - 1;
            }
            let nth = self.oldest;
            self.oldest = (nth + 1) % SHAPES;
            self.shapes[nth] = shape;
            nth
        });
        &mut self.shapes[nth]
    }
}

impl Shape {
    /// The block behind `start`, going round to the one before it, whose cheapest host costs
    /// least, where in it that host is, and what it costs.
    fn cheapest(
        &mut self,
        blocks: &[Block],
        ask: &Ask<'_>,
        strategy: Strategy,
        start: usize,
    ) -> Option<(usize, usize, f32)> {
        for (remembered, block) in self.blocks.iter_mut().zip(blocks) {
            if remembered.stamp != block.stamp {
                let cost = block.costs_at_least(ask, strategy);
                *remembered = Remembered { stamp: block.stamp, cost, offset: None };
            }
        }
        let round = || (start + 1..blocks.len()).chain(0..start);
        let turn = |nth: usize| if nth > start { nth } else { nth + blocks.len() };
        // With the one that promises most looked into, most others need no look.
        let promises = |one: usize, other: usize| {
            if self.blocks[other].cost < self.blocks[one].cost { other } else { one }
        };
        let first = round().reduce(promises);
        let mut best = (start, 0, NO_FIT);
        for nth in first.into_iter().chain(round()) {
            let beats =
                |cost: f32| cost < best.2 || cost == best.2 && cost < NO_FIT && turn(nth) < turn(best.0);
            let seen = &mut self.blocks[nth];
            if beats(seen.cost) && seen.offset.is_none() {
                *seen = look(&blocks[nth], ask, strategy, |_| false);
            }
            if let Some(offset) = seen.offset
                && beats(seen.cost)
            {
                best = (nth, offset, seen.cost);
            }
        }
        (best.2 < NO_FIT).then_some(best)
    }
}

fn look(block: &Block, ask: &Ask<'_>, strategy: Strategy, excluded: impl Fn(usize) -> bool) -> Remembered {
    let (offset, cost) = cheapest(&block.rooms, ask, strategy, excluded);
    Remembered { stamp: block.stamp, cost, offset: Some(offset) }
}

/// Which of these costs least, and what.
fn cheapest(
    rooms: &[Room],
    ask: &Ask<'_>,
    strategy: Strategy,
    excluded: impl Fn(usize) -> bool,
) -> (usize, f32) {
    let mut best = (0, NO_FIT);
    for (offset, room) in rooms.iter().enumerate() {
        let cost = strategy.cost(room, ask);
        if cost < best.1 && !excluded(offset) {
            best = (offset, cost);
        }
    }
    best
}
