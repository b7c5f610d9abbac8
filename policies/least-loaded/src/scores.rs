//! The hosts' loads in one tight array, and the search for the least.

/// Loads as whole numbers, so that they are ordered, whatever was reported, and
/// that the search for the least is one vectorised pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scores(Vec<u32>);

/// The score of a host that takes no agent. Loads stay far below.
const FULL: u32 = u32::MAX;

/// What a load of 1 scores.
const SCALE: f64 = (1 << 24) as f64;

/// How many scores are looked at at once.
const BLOCK: usize = 64;

impl Scores {
    pub(crate) fn insert(&mut self, at: usize, load: Option<f64>) {
        self.0.insert(at, score(load));
    }

    pub(crate) fn set(&mut self, at: usize, load: Option<f64>) {
        self.0[at] = score(load);
    }

    pub(crate) fn remove(&mut self, at: usize) {
        self.0.remove(at);
    }

    pub(crate) fn is_full(&self, at: usize) -> bool {
        self.0[at] == FULL
    }

    /// The position of the least load, not looking at `excluded`. Of equal ones
    /// the first from `start` on, going round.
    pub(crate) fn least(&mut self, start: u64, excluded: impl Iterator<Item = usize>) -> Option<usize> {
        // Excluded hosts count as full for the length of this search.
        let excluded: Vec<(usize, u32)> =
            excluded.map(|at| (at, std::mem::replace(&mut self.0[at], FULL))).collect();
        let found = least(&self.0, start);
        // Backwards: a host that is excluded twice was `FULL` the second time.
        for (at, score) in excluded.into_iter().rev() {
            self.0[at] = score;
        }
        found
    }
}

fn score(load: Option<f64>) -> u32 {
    // The cast saturates, and takes NaN to 0.
    load.map_or(FULL, |load| ((load * SCALE) as u32).min(FULL - 1))
}

fn least(scores: &[u32], start: u64) -> Option<usize> {
    let least = scores.iter().fold(FULL, |least, &score| least.min(score));
    if least == FULL {
        return None;
    }
    let start = (start % scores.len() as u64) as usize;
    let (before, after) = scores.split_at(start);
    position(after, least).map(|at| start + at).or_else(|| position(before, least))
}

/// Where `wanted` first is. Block by block: a search that may end at each score
/// looks at them one by one, one that may end at each block looks at many at once.
fn position(scores: &[u32], wanted: u32) -> Option<usize> {
    let has = |block: &[u32]| block.iter().fold(false, |found, &score| found | (score == wanted));
    let block = scores.chunks(BLOCK).position(has)? * BLOCK;
    scores[block..].iter().position(|&score| score == wanted).map(|at| block + at)
}

#[cfg(test)]
mod tests {
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
            let before = scores.0.clone();
            assert_eq!(scores.least(start, excluded.iter().copied()), wanted, "{loads:?} {start} {excluded:?}");
            assert_eq!(scores.0, before, "exclusions are undone");
        }
    }

    #[test]
    fn blocks_find_what_a_plain_search_finds() {
        for hosts in [1, 63, 64, 65, 200] {
            for at in 0..hosts {
                let mut scores = vec![7; hosts];
                scores[at] = 3;
                assert_eq!(position(&scores, 3), Some(at));
                assert_eq!(position(&scores, 4), None);
                for start in [0, at as u64, hosts as u64 - 1] {
                    assert_eq!(least(&scores, start), Some(at));
                }
            }
        }
    }
}
