//! What was said, and how often.

use std::collections::BTreeMap;

use serde::Serialize;

/// Reasons that are told apart; what a policy says beyond them counts as one.
const KINDS: usize = 1000;
const OTHER: &str = "other reasons";

/// Reasons that are shown, the most frequent first.
const SHOWN: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Reasons(BTreeMap<String, Counts>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    times: u64,
    hosts: u64,
}

/// A reason, and how often it was given.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Reason {
    pub(super) reason: String,
    pub(super) times: u64,
    /// Hosts that it was given for, all times together; 0 where it is not about hosts.
    #[serde(skip_serializing_if = "is_zero")]
    hosts: u64,
}

fn is_zero(hosts: &u64) -> bool {
    *hosts == 0
}

impl Reasons {
    pub(super) fn add(&mut self, reason: &str, hosts: u32) {
        let reason = match self.0.len() < KINDS || self.0.contains_key(reason) {
            true => reason,
            false => OTHER,
        };
        if !self.0.contains_key(reason) {
            self.0.insert(reason.to_owned(), Counts::default());
        }
        if let Some(counts) = self.0.get_mut(reason) {
            counts.times += 1;
            counts.hosts += u64::from(hosts);
        }
    }

    pub(super) fn most_frequent(self) -> Vec<Reason> {
        let reason = |(reason, Counts { times, hosts })| Reason { reason, times, hosts };
        let mut all: Vec<_> = self.0.into_iter().map(reason).collect();
        all.sort_by_key(|reason| std::cmp::Reverse(reason.times));
        all.truncate(SHOWN);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_comes_first_and_there_are_not_too_many() {
        let mut reasons = Reasons::default();
        (0..2000).for_each(|nth| reasons.add(&format!("reason {nth}"), 0));
        (0..3).for_each(|_| reasons.add("reason 7", 5));
        let shown = reasons.most_frequent();
        let [first, second, ..] = &shown[..] else { panic!("{shown:?}") };
        assert_eq!((first.reason.as_str(), first.times, shown.len()), (OTHER, 1000, SHOWN));
        assert_eq!((second.reason.as_str(), second.times, second.hosts), ("reason 7", 4, 15));
    }
}
