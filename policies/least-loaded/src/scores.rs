//! The hosts' loads in one tight array, and the search for the least.
//!
//! The array is kept in blocks, each with its least score: a search looks at one
//! number a block and then into a block or two, and a change looks at its block.

use alloc::vec::Vec;
use core::ops::Range;

/// Loads as whole numbers, so that they are ordered, whatever was reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scores {
    scores: Vec<u32>,
    /// The least score of each block of `scores`.
    least: Vec<u32>,
}

/// The score of a host that takes no agent. Loads stay far below.
const FULL: u32 = u32::MAX;

/// What a load of 1 scores.
const SCALE: f64 = (1 << 24) as f64;

/// Scores in a block: about the square root of the largest fleets.
const BLOCK: usize = 64;

impl Scores {
    pub(crate) fn insert(&mut self, at: usize, load: Option<f64>) {
        self.scores.insert(at, score(load));
        self.summarise_from(at);
    }

    pub(crate) fn set(&mut self, at: usize, load: Option<f64>) {
        self.replace(at, score(load));
    }

    pub(crate) fn remove(&mut self, at: usize) {
        self.scores.remove(at);
        self.summarise_from(at);
    }

    pub(crate) fn get(&self, at: usize) -> u32 {
        self.scores[at]
    }

    /// The load that was noted, as exact as it is kept.
    pub(crate) fn load(&self, at: usize) -> f32 {
        (f64::from(self.scores[at]) / SCALE) as f32
    }

    pub(crate) fn is_full(&self, at: usize) -> bool {
        self.scores[at] == FULL
    }

    /// The position of the least load, not looking at `excluded`. Of equal ones
    /// the first from `start` on, going round.
    pub(crate) fn least(&mut self, start: u64, excluded: impl Iterator<Item = usize>) -> Option<usize> {
        // Excluded hosts count as full for the length of this search.
        let excluded: Vec<(usize, u32)> = excluded.map(|at| (at, self.replace(at, FULL))).collect();
        let found = self.search(start);
        // Backwards: a host that is excluded twice was `FULL` the second time.
        for (at, score) in excluded.into_iter().rev() {
            self.replace(at, score);
        }
        found
    }

    fn search(&self, start: u64) -> Option<usize> {
        let wanted = least(&self.least);
        if wanted == FULL {
            return None;
        }
        let start = (start % self.scores.len() as u64) as usize;
        let first = start / BLOCK;
        // The rest of the block that `start` is in, then the blocks behind it, then
        // those from the first on: the last of these is that of `start` again.
        self.find(start..self.end(first), wanted).or_else(|| {
            let mut blocks = (first + 1..self.least.len()).chain(0..=first);
            let block = blocks.find(|&block| self.least[block] == wanted)?;
            self.find(block * BLOCK..self.end(block), wanted)
        })
    }

    fn find(&self, positions: Range<usize>, wanted: u32) -> Option<usize> {
        let from = positions.start;
        self.scores[positions].iter().position(|&score| score == wanted).map(|at| from + at)
    }

    fn end(&self, block: usize) -> usize {
        self.scores.len().min((block + 1) * BLOCK)
    }

    fn replace(&mut self, at: usize, score: u32) -> u32 {
        let old = core::mem::replace(&mut self.scores[at], score);
        let block = at / BLOCK;
        if score <= self.least[block] {
            self.least[block] = score;
        } else if old == self.least[block] {
            self.least[block] = least(&self.scores[block * BLOCK..self.end(block)]);
        }
        old
    }

    /// Positions from `at` on have moved.
    fn summarise_from(&mut self, at: usize) {
        let block = at / BLOCK;
        self.least.truncate(block);
        self.least.extend(self.scores[block * BLOCK..].chunks(BLOCK).map(least));
    }
}

fn score(load: Option<f64>) -> u32 {
    // The cast saturates, and takes NaN to 0.
    load.map_or(FULL, |load| ((load * SCALE) as u32).min(FULL - 1))
}

fn least(scores: &[u32]) -> u32 {
    scores.iter().fold(FULL, |least, &score| least.min(score))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_from_the_start_on_goes_round_and_leaves_out_the_excluded() {
        let full = None;
        for (loads, start, excluded, wanted) in [
            (&[][..], 5, &[][..], None),
            (&[full, full], 0, &[], None),
            (&[Some(0.5), Some(0.2), Some(0.9)], 0, &[], Some(1)),
            (&[Some(0.5), Some(0.2), Some(0.9)], 2, &[], Some(1)),
            (&[Some(0.2), Some(0.2), Some(0.2)], 1, &[], Some(1)),
            (&[Some(0.2), Some(0.2), Some(0.2)], 5, &[], Some(2)),
            (&[Some(0.2), Some(0.2), Some(0.2)], 2, &[2], Some(0)),
            (&[Some(0.2), full, Some(0.9)], 0, &[0, 0], Some(2)),
            (&[Some(0.2), full], 0, &[0, 1], None),
            (&[Some(f64::NAN), Some(0.5)], 1, &[], Some(0)),
            (&[Some(f64::INFINITY), full], 1, &[], Some(0)),
            (&[Some(-1.0), Some(0.0)], 1, &[], Some(1)),
        ] {
            let mut scores = Scores::default();
            for (at, &load) in loads.iter().enumerate() {
                scores.insert(at, load);
            }
            let before = scores.clone();
            assert_eq!(
                scores.least(start, excluded.iter().copied()),
                wanted,
                "{loads:?} {start} {excluded:?}"
            );
            assert_eq!(scores, before, "exclusions are undone");
        }
    }

    proptest! {
        /// Blocks answer what a walk over the whole array answers.
        #[test]
        fn is_a_walk_round_the_array(
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, prop::option::of(0..4u8)), 0..400),
            start: u64,
            excluded in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        ) {
            let (mut scores, mut model) = (Scores::default(), Vec::new());
            for (at, kind, load) in changes {
                let load = load.map(f64::from);
                match kind {
                    0 if !model.is_empty() => { let at = at.index(model.len()); scores.remove(at); model.remove(at); }
                    1 if !model.is_empty() => { let at = at.index(model.len()); scores.set(at, load); model[at] = load; }
                    _ => { let at = at.index(model.len() + 1); scores.insert(at, load); model.insert(at, load); }
                }
            }
            let excluded: Vec<usize> = match model.len() {
                0 => Vec::new(),
                hosts => excluded.iter().map(|at| at.index(hosts)).collect(),
            };
            let walk = (0..model.len()).map(|step| (start % model.len() as u64) as usize + step).map(|at| at % model.len());
            let wanted = walk
                .filter(|at| !excluded.contains(at))
                .filter_map(|at| model[at].map(|load| (at, load)))
                .reduce(|best, next| if next.1 < best.1 { next } else { best });
            prop_assert_eq!(scores.least(start, excluded.into_iter()), wanted.map(|(at, _)| at));
        }
    }
}
