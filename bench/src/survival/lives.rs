//! When which agent ran, as the agents wrote it down: see `echo_runner::witness`.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::Result;
use echo_runner::witness::{self, Witness};

use crate::stats::Sample;

/// The life of one process. Times are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) host: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The lives of each agent, in the order in which they began.
#[derive(Debug)]
pub(crate) struct Lives(BTreeMap<(String, String), Vec<Life>>);

impl Lives {
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let mut lives: BTreeMap<_, Vec<Life>> = BTreeMap::new();
        for testimony in witness::read_all(dir)? {
            let (Some(first), Some(last)) = (testimony.alive_at.first(), testimony.alive_at.last()) else {
                continue;
            };
            let Witness { guild, agent, host, .. } = testimony.witness;
            lives.entry((guild, agent)).or_default().push(Life { host, first: *first, last: *last });
        }
        lives.values_mut().for_each(|lives| lives.sort_by_key(|life| life.first));
        Ok(Self(lives))
    }

    /// For each agent that left a host: its last life there and its first one after it.
    pub(crate) fn left<'a>(&'a self, host: &'a str) -> impl Iterator<Item = (&'a Life, &'a Life)> {
        self.0.values().filter_map(move |lives| {
            let pair = lives.windows(2).find(|pair| pair[0].host == host && pair[1].host != host)?;
            Some((&pair[0], &pair[1]))
        })
    }

    /// How long each agent that left a host was down.
    pub(crate) fn downtimes(&self, host: &str) -> Sample {
        let mut times = Sample::default();
        for (before, after) in self.left(host) {
            times.push(Duration::from_nanos(after.first.saturating_sub(before.last)));
        }
        times
    }

    /// Agents of which two processes had a moment in common.
    pub(crate) fn doubled(&self) -> usize {
        let twice = |lives: &&Vec<Life>| lives.windows(2).any(|pair| pair[0].last >= pair[1].first);
        self.0.values().filter(twice).count()
    }

    /// Agents of which one process alone lived, and still testified after that moment.
    pub(crate) fn undisturbed(&self, since: u64) -> usize {
        self.0.values().filter(|lives| lives.len() == 1 && lives[0].last >= since).count()
    }
}

/// How many processes have begun on other hosts than this one.
pub(crate) fn begun_elsewhere(dir: &Path, host: &str) -> Result<usize> {
    let mut begun = 0;
    for entry in fs::read_dir(dir)? {
        let witness = entry?.file_name().to_str().and_then(Witness::of_file_name);
        begun += usize::from(witness.is_some_and(|witness| witness.host != host));
    }
    Ok(begun)
}
