//! The fleet, as a service keeps it to tell its policies of.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use crate::ids::HostId;

use super::types::Candidate;

/// All hosts: in the order of their ids, and found by them.
#[derive(Clone, Default)]
pub(super) struct Table {
    ordered: BTreeMap<HostId, Arc<Candidate>>,
    /// The same. Every host that a policy names is looked up.
    by_id: HashMap<HostId, Arc<Candidate>>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.ordered.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    pub(super) fn get(&self, host: &str) -> Option<&Arc<Candidate>> {
        self.by_id.get(host)
    }

    /// All hosts, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Candidate>> {
        self.ordered.values()
    }

    /// The first so many hosts behind this one; from the beginning without one.
    pub(super) fn page(&self, behind: Option<&HostId>, hosts: usize) -> Vec<Arc<Candidate>> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.ordered.range::<HostId, _>((from, Bound::Unbounded));
        range.take(hosts).map(|(_, host)| Arc::clone(host)).collect()
    }

    pub(super) fn insert(&mut self, host: Arc<Candidate>) {
        match self.by_id.get_mut(&host.id) {
            Some(known) => *known = Arc::clone(&host),
            None => drop(self.by_id.insert(host.id.clone(), Arc::clone(&host))),
        }
        self.ordered.insert(host.id.clone(), host);
    }

    pub(super) fn remove(&mut self, host: &HostId) {
        self.by_id.remove(host);
        self.ordered.remove(host);
    }
}
