//! The search for the hosts with the highest scores: a walk over all of them.

use alloc::vec::Vec;

/// Hosts that a decision names beside the best one.
const RUNNERS_UP: usize = 2;

/// The positions with the highest scores, the highest first, and the scores. Of equal ones
/// the first from `start` on, going round. Those without a score are left out.
pub(crate) fn highest(
    hosts: usize,
    start: u64,
    mut score: impl FnMut(usize) -> Option<f32>,
) -> Vec<(usize, f32)> {
    let mut best: Vec<(usize, f32)> = Vec::with_capacity(RUNNERS_UP + 2);
    // What a host must have more of than the last of the best.
    let mut least = f32::NEG_INFINITY;
    let mut at = start.checked_rem(hosts as u64).unwrap_or(0) as usize;
    for _ in 0..hosts {
        if let Some(score) = score(at)
            && score > least
        {
            let rank = best.iter().position(|(_, other)| score > *other).unwrap_or(best.len());
            best.insert(rank, (at, score));
            best.truncate(RUNNERS_UP + 1);
            if best.len() > RUNNERS_UP {
                least = best[RUNNERS_UP].1;
            }
        }
        at = if at + 1 < hosts { at + 1 } else { 0 };
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It is the head of the list that a stable sort makes.
        #[test]
        fn is_the_head_of_a_sorted_list(scores in prop::collection::vec(prop::option::of(0..5u8), 0..40), start: u64) {
            let hosts = scores.len();
            let score = |at: usize| scores[at].map(f32::from);
            let first = start.checked_rem(hosts as u64).unwrap_or(0) as usize;
            let walk = (first..hosts).chain(0..first);
            let mut wanted: Vec<(usize, f32)> = walk.filter_map(|at| Some((at, score(at)?))).collect();
            wanted.sort_by(|one, other| other.1.total_cmp(&one.1));
            wanted.truncate(RUNNERS_UP + 1);
            prop_assert_eq!(highest(hosts, start, score), wanted);
        }
    }
}
