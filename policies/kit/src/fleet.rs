//! The fleet, kept for the policy's author.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::ops::Index;

use crate::{
    Candidate, Change, Decision, Refusal, Rejection, Request, Standing, Verdict, hash::identity, percent,
    text,
};

/// Hosts that a refusal names for each reason.
const HOSTS_NAMED: usize = 10;

/// Hosts that a decision by [`Fleet::best`] names beside the best one.
const RUNNERS_UP: usize = 2;

/// All hosts there are, sorted by id. A host's place in this order is its
/// *position*: it finds what a policy keeps beside the fleet in tables of its own.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    // Boxed, so that a host that comes or goes moves pointers only.
    #[allow(clippy::vec_box)]
    hosts: Vec<Box<Candidate>>,
}

/// What a change did to the fleet, and at which position.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// A host came: it is now at this position, and those behind it moved up.
    Added(usize),
    /// The host at this position reported again.
    Updated(usize),
    /// The host that was at this position is gone, and those behind it moved down.
    Removed(usize),
}

impl Fleet {
    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there is no host.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// All hosts, by id.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Candidate> + ExactSizeIterator {
        self.hosts.iter().map(|host| &**host)
    }

    /// The host of this id.
    pub fn get(&self, id: &str) -> Option<&Candidate> {
        self.position(id).map(|at| &*self.hosts[at])
    }

    /// Where the host of this id is. Takes O(log n).
    pub fn position(&self, id: &str) -> Option<usize> {
        self.search(id).ok()
    }

    /// Why the host at this position takes no agent, whatever the agent: it is cordoned,
    /// draining, excluded, or full.
    pub fn unavailable(&self, request: &Request, at: usize) -> Option<&'static str> {
        let host = &self[at];
        match host.standing {
            Standing::Draining => Some("draining"),
            Standing::Cordoned => Some("cordoned"),
            Standing::Open if request.excludes(host) => Some("excluded"),
            Standing::Open => host.is_full().then_some("full"),
        }
    }

    /// The host that `judge` scores highest, of those that [take agents](Self::unavailable).
    /// Of equal ones, another one for each agent. Looks at every host.
    ///
    /// # Errors
    /// [`Refusal`] counts why each host was not taken.
    pub fn best(
        &self,
        request: &Request,
        mut judge: impl FnMut(usize) -> Verdict,
    ) -> Result<Decision, Refusal> {
        let start = identity(request).checked_rem(self.len() as u64).unwrap_or(0) as usize;
        let mut best: Vec<(f32, usize)> = Vec::with_capacity(RUNNERS_UP + 2);
        for at in (start..self.len()).chain(0..start) {
            if self.unavailable(request, at).is_some() {
                continue;
            }
            let Verdict::Score(score) = judge(at) else { continue };
            let rank = best.iter().position(|(other, _)| score > *other).unwrap_or(best.len());
            if rank <= RUNNERS_UP {
                best.insert(rank, (score, at));
                best.truncate(RUNNERS_UP + 1);
            }
        }
        let choose = |&(score, at): &(f32, usize)| {
            Decision::new(&self[at], text!("score ", percent(score.into()), " of 100"))
                .with_score(score.into())
        };
        let refuse = || {
            self.refuse(request, |at| match judge(at) {
                Verdict::Rejected(reason) => Some(reason.into_owned()),
                Verdict::Score(_) => None,
            })
        };
        let (first, others) = best.split_first().ok_or_else(refuse)?;
        Ok(others.iter().map(choose).fold(choose(first), Decision::or))
    }

    /// A refusal that counts why each host was not taken: for what
    /// [`unavailable`](Self::unavailable) says, and else for what `why` says.
    #[cold]
    pub fn refuse(&self, request: &Request, mut why: impl FnMut(usize) -> Option<String>) -> Refusal {
        let mut rejections: Vec<Rejection> = Vec::new();
        for (at, host) in self.iter().enumerate() {
            let Some(reason) = self.unavailable(request, at).map(String::from).or_else(|| why(at)) else {
                continue;
            };
            let found = rejections.iter().position(|other| other.reason == reason);
            let found = found.unwrap_or_else(|| {
                rejections.push(Rejection { reason, count: 0, hosts: Vec::new() });
                rejections.len() - 1
            });
            let rejection = &mut rejections[found];
            rejection.count += 1;
            if rejection.hosts.len() < HOSTS_NAMED {
                rejection.hosts.push(host.id.clone());
            }
        }
        Refusal::because(self.len(), rejections)
    }

    /// Applies a change, and says what it did; nothing when a host goes that was
    /// not there.
    pub(crate) fn apply(&mut self, change: Change) -> Option<Observed> {
        match change {
            Change::Upsert(host) => Some(match self.search(&host.id) {
                Ok(at) => {
                    *self.hosts[at] = host;
                    Observed::Updated(at)
                }
                Err(at) => {
                    self.hosts.insert(at, Box::new(host));
                    Observed::Added(at)
                }
            }),
            Change::Remove(id) => self.position(&id).map(|at| {
                self.hosts.remove(at);
                Observed::Removed(at)
            }),
        }
    }

    fn search(&self, id: &str) -> Result<usize, usize> {
        // A whole fleet comes in order: then each host goes to the end.
        match self.hosts.last() {
            Some(last) if last.id.as_str() < id => Err(self.hosts.len()),
            _ => self.hosts.binary_search_by(|host| host.id.as_str().cmp(id)),
        }
    }
}

impl Index<usize> for Fleet {
    type Output = Candidate;

    fn index(&self, position: usize) -> &Candidate {
        &self.hosts[position]
    }
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, collections::BTreeMap, format, vec};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever comes and goes, the fleet is what a map would be, in order, and
        /// a table kept by position stays in step with it.
        #[test]
        fn is_a_sorted_map_and_positions_tell_the_truth(changes in prop::collection::vec((0..20u8, 0..3u32), 0..200)) {
            let mut fleet = Fleet::default();
            let mut beside: Vec<String> = Vec::new();
            let mut model: BTreeMap<String, u32> = BTreeMap::new();
            for (host, capacity) in changes {
                let id = format!("h{host}");
                let change = match capacity {
                    0 => { model.remove(&id); Change::Remove(id.clone()) }
                    _ => { model.insert(id.clone(), capacity); Change::Upsert(Candidate::new(&id, capacity)) }
                };
                match fleet.apply(change) {
                    Some(Observed::Added(at)) => beside.insert(at, id),
                    Some(Observed::Updated(at)) => prop_assert_eq!(&beside[at], &id),
                    Some(Observed::Removed(at)) => prop_assert_eq!(beside.remove(at), id),
                    None => prop_assert_eq!(capacity, 0),
                }
            }
            prop_assert!(fleet.iter().map(|host| (&host.id, &host.capacity)).eq(model.iter()));
            prop_assert!(fleet.iter().map(|host| &host.id).eq(&beside));
            for (at, id) in beside.iter().enumerate() {
                prop_assert_eq!(fleet.position(id), Some(at));
                prop_assert_eq!(&fleet[at].id, id);
            }
            prop_assert_eq!(fleet.get("nobody"), None);
        }
    }

    #[test]
    fn a_refusal_counts_what_stood_in_the_way() {
        let mut fleet = Fleet::default();
        let mut request = Request::new("guild", "agent");
        let none = |_| None;
        assert_eq!(fleet.refuse(&request, none).reason, "there are no hosts");
        for (id, capacity) in [("a", 0), ("b", 0), ("c", 1), ("d", 1)] {
            let mut host = Candidate::new(id, capacity);
            host.standing = if id == "d" { Standing::Draining } else { Standing::Open };
            fleet.apply(Change::Upsert(host));
        }
        request.excluded = vec!["b".to_owned()];
        let refusal = fleet.refuse(&request, |_| Some("too far".to_owned()));
        assert_eq!(refusal.reason, "none of 4 hosts will do: 1 full, 1 excluded, 1 too far, 1 draining");
        assert_eq!(refusal.rejections[2].hosts, ["c"]);
    }

    #[test]
    fn the_best_host_comes_first_then_those_to_ask_when_it_refuses() {
        let mut fleet = Fleet::default();
        for (id, running) in [("a", 3), ("b", 1), ("c", 2), ("d", 0), ("e", 4)] {
            let mut host = Candidate::new(id, 5);
            host.running = running;
            fleet.apply(Change::Upsert(host));
        }
        let mut request = Request::new("guild", "agent");
        request.excluded = vec!["b".to_owned()];
        let judge = |fleet: &Fleet, at: usize| match fleet[at].id.as_str() {
            "d" => Verdict::rejected("broken"),
            _ => Verdict::Score(1.0 - fleet[at].running as f32 / 5.0),
        };
        let decision = fleet.best(&request, |at| judge(&fleet, at)).unwrap();
        let others: Vec<&str> = decision.others.iter().map(|other| other.host.as_str()).collect();
        assert_eq!((decision.host.as_str(), others), ("c", vec!["a", "e"]));
        let refusal = fleet.best(&request, |_| Verdict::rejected("broken")).unwrap_err();
        assert_eq!(refusal.reason, "none of 5 hosts will do: 4 broken, 1 excluded");
    }
}
