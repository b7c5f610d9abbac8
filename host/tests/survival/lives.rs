//! What really happened, as the agents themselves wrote it down: see `echo_runner::witness`.

use std::{collections::BTreeMap, path::Path};

use echo_runner::witness;

/// The life of one process. Times are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) epoch: u64,
    pub(crate) host: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The lives of each agent, in the order in which they began.
pub(crate) fn read(dir: &Path) -> BTreeMap<String, Vec<Life>> {
    let mut lives: BTreeMap<_, Vec<Life>> = BTreeMap::new();
    for testimony in witness::read_all(dir).unwrap() {
        // One that never wrote a whole record did nothing yet.
        let (Some(first), Some(last)) = (testimony.alive_at.first(), testimony.alive_at.last()) else {
            continue;
        };
        let witness::Witness { agent, epoch, host, .. } = testimony.witness;
        lives.entry(agent).or_default().push(Life { epoch, host, first: *first, last: *last });
    }
    lives.values_mut().for_each(|lives| lives.sort_by_key(|life| life.first));
    lives
}

/// Asserts that no two processes of an agent had a moment in common, and that each had a
/// higher epoch than the one before.
pub(crate) fn assert_one_at_a_time(lives: &BTreeMap<String, Vec<Life>>) {
    for (agent, lives) in lives {
        for pair in lives.windows(2) {
            assert!(pair[0].last < pair[1].first, "{agent} lived twice: {pair:#?}");
            assert!(pair[0].epoch < pair[1].epoch, "{agent} has an epoch that did not grow: {pair:#?}");
        }
    }
}
