//! The fleet, kept for the policy's author.

use std::ops::Index;

use crate::{Candidate, Change, Refusal, Request};

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

    /// A refusal that says why no host would do, for policies that choose among
    /// all hosts that are neither full nor excluded.
    pub fn refuse(&self, request: &Request, is_full: impl Fn(usize) -> bool) -> Refusal {
        let excluded = self.iter().filter(|host| request.excludes(host)).count();
        let full =
            self.iter().enumerate().filter(|(at, host)| is_full(*at) && !request.excludes(host)).count();
        Refusal::new(match (self.len(), full, excluded) {
            (0, ..) => "there are no hosts".to_owned(),
            (hosts, full, 0) => format!("no host is free: of {hosts}, {full} are full"),
            (hosts, 0, excluded) => format!("no host is free: of {hosts}, {excluded} are excluded"),
            (hosts, full, excluded) => {
                format!("no host is free: of {hosts}, {full} are full and {excluded} are excluded")
            }
        })
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
    use std::collections::BTreeMap;

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
        assert_eq!(fleet.refuse(&request, |_| true).reason, "there are no hosts");
        for id in ["a", "b", "c"] {
            fleet.apply(Change::Upsert(Candidate::new(id, 0)));
        }
        for (excluded, wanted) in [
            (&[][..], "no host is free: of 3, 3 are full"),
            (&["b"][..], "no host is free: of 3, 2 are full and 1 are excluded"),
            (&["a", "b", "c", "gone"][..], "no host is free: of 3, 3 are excluded"),
        ] {
            request.excluded = excluded.iter().map(|&id| id.to_owned()).collect();
            assert_eq!(fleet.refuse(&request, |_| true).reason, wanted);
        }
    }
}
