//! The fleet as one engine knows it: a map in memory, fed by discovery.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::watch;

use crate::{
    host::{HostEvent, HostInfo, LeaseId, LiveHost},
    ids::HostId,
    placement::{Candidate, FleetChange, Load, Standing},
};

/// The hosts whose lease is in force, as far as this engine has heard.
#[derive(Debug)]
pub(crate) struct Fleet {
    hosts: RwLock<BTreeMap<HostId, Arc<LiveHost>>>,
    /// How many hosts there are; `None` before the first snapshot.
    size: watch::Sender<Option<usize>>,
    /// How many leases have begun or ended.
    lease_changes: watch::Sender<u64>,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self {
            hosts: RwLock::default(),
            size: watch::Sender::new(None),
            lease_changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn get(&self, host: &HostId) -> Option<Arc<LiveHost>> {
        self.read().get(host).cloned()
    }

    pub(crate) fn hosts(&self) -> Vec<Arc<LiveHost>> {
        self.read().values().cloned().collect()
    }

    /// Whether this very lease of the host is in force.
    pub(crate) fn lease_in_force(&self, host: &HostId, lease: &LeaseId) -> bool {
        self.read().get(host).is_some_and(|host| host.lease == *lease)
    }

    /// Follows how many hosts there are; `None` before the first snapshot.
    pub(crate) fn size(&self) -> watch::Receiver<Option<usize>> {
        self.size.subscribe()
    }

    /// Follows how many leases have begun or ended. Heartbeats change nothing here.
    pub(crate) fn lease_changes(&self) -> watch::Receiver<u64> {
        self.lease_changes.subscribe()
    }

    /// The leases in force.
    pub(crate) fn leases(&self) -> BTreeMap<HostId, LeaseId> {
        leases(&self.read())
    }

    /// Takes in what discovery told, and says what that means for placement and
    /// which hosts are gone.
    pub(crate) fn apply(&self, event: HostEvent) -> Applied {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let mut applied = Applied::default();
        let a_lease_changed = match event {
            HostEvent::Snapshot(now) => {
                let now: BTreeMap<_, _> = now.into_iter().map(|h| (h.info.id.clone(), Arc::new(h))).collect();
                let a_lease_changed = leases(&hosts) != leases(&now);
                applied.gone.extend(hosts.keys().filter(|id| !now.contains_key(*id)).cloned());
                applied.changes.extend(applied.gone.iter().cloned().map(FleetChange::Remove));
                applied.changes.extend(now.values().map(|host| change(host)));
                *hosts = now;
                a_lease_changed
            }
            HostEvent::Changed(host) => {
                applied.changes.push(change(&host));
                let lease = host.lease.clone();
                let before = hosts.insert(host.info.id.clone(), Arc::new(host));
                before.is_none_or(|before| before.lease != lease)
            }
            HostEvent::Removed(id) => {
                applied.changes.push(FleetChange::Remove(id.clone()));
                let before = hosts.remove(&id);
                applied.gone.push(id);
                before.is_some()
            }
        };
        drop(hosts);
        if a_lease_changed {
            self.lease_changes.send_modify(|changes| *changes += 1);
        }
        applied
    }

    /// Tells those who wait for hosts. Not before placement knows of them too.
    pub(crate) fn announce(&self) {
        let hosts = self.read().len();
        self.size.send_replace(Some(hosts));
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<HostId, Arc<LiveHost>>> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leases(hosts: &BTreeMap<HostId, Arc<LiveHost>>) -> BTreeMap<HostId, LeaseId> {
    hosts.values().map(|host| (host.info.id.clone(), host.lease.clone())).collect()
}

/// What one event means for others.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// For placement.
    pub(crate) changes: Vec<FleetChange>,
    /// Hosts that are gone, for the channel pool.
    pub(crate) gone: Vec<HostId>,
}

fn change(host: &LiveHost) -> FleetChange {
    let HostInfo { id, labels, capacity, load, allocatable, draining, .. } = &host.info;
    FleetChange::Upsert(Candidate {
        labels: labels.clone(),
        running: load.running,
        allocatable: allocatable.clone(),
        requested: load.requested.clone(),
        load: Load {
            cpu_fraction: load.cpu_fraction,
            cpu_used_millis: load.cpu_used_millis,
            memory_used: load.memory_used,
            memory_total: load.memory_total,
            starts_in_flight: load.starts_in_flight,
            heartbeat_age: host.heartbeat_age,
        },
        warm: load.warm.clone(),
        standing: if *draining { Standing::Draining } else { Standing::Open },
        ..Candidate::new(id.clone(), *capacity)
    })
}
