//! The fleet as a watcher sees it: hosts tell that they register, report and leave.
//! Nobody tells that a lease ended, so the watcher looks when the next one is due.
//!
//! A look costs the same for ten hosts or ten thousand: it asks which leases ended since
//! the last look, and how many are in force. Should that number differ from the hosts
//! known here, something was missed, and the watcher begins again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::time::Instant;
use tracing::error;

use super::{Answer, Subject};
use crate::{
    host::{HostEvent, LeaseId, LiveHost},
    ids::HostId,
    registry::{
        RegistryError,
        redis::{
            entry,
            link::{Link, Question},
            schema::HostKeys,
            scripts,
        },
    },
};

/// A lease that is due is not looked for before this long after the last look, so that
/// many that end one after the other are found together.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

pub(super) struct Hosts {
    keys: HostKeys,
    check_every: Duration,
    /// The hosts there are, those included whose record cannot be read.
    known: BTreeMap<String, LeaseId>,
    /// Every lease that ended until then was noticed; by Redis' clock.
    checked_at: u64,
    next_check: Instant,
}

/// Now and the time until the next lease ends (-1: none), in milliseconds, and host and
/// record of each.
type Listing = (u64, i64, Vec<(String, String)>);

/// Now and the time until the next lease ends, how many are in force, and host and lease
/// of each that ended.
type Ended = (u64, i64, usize, Vec<(String, String)>);

impl Hosts {
    pub(super) fn new(keys: HostKeys, check_every: Duration) -> Self {
        Self { keys, check_every, known: BTreeMap::new(), checked_at: 0, next_check: Instant::now() }
    }

    fn looked(&mut self, now: u64, next_end_in: i64) {
        self.checked_at = now;
        let wait = match u64::try_from(next_end_in) {
            Ok(due) => {
                Duration::from_millis(due).clamp(SHORTEST_WAIT.min(self.check_every), self.check_every)
            }
            Err(_) => self.check_every,
        };
        self.next_check = Instant::now() + wait;
    }
}

impl Subject for Hosts {
    type Event = HostEvent;
    type Listing = Listing;
    type Check = Ended;

    fn channel(&self) -> &str {
        &self.keys.changes
    }

    fn fresh_mark(&self) -> String {
        self.keys.slot.fresh_mark()
    }

    fn list(&self, link: Arc<Link>, mark: String) -> Answer<Listing> {
        let keys = self.keys.clone();
        async move {
            let mut script = scripts::HOSTS.key(&keys.leases);
            script.key(&keys.records).arg(mark);
            link.ask_once(&keys.records, Question::Script(&script)).await
        }
        .boxed()
    }

    fn begin(&mut self, (now, next_end_in, found): Listing) -> HostEvent {
        self.looked(now, next_end_in);
        self.known = found.iter().map(|(host, record)| (host.clone(), entry::lease(record))).collect();
        let readable = found
            .iter()
            .filter_map(|(host, record)| readable(live_host(&self.keys.records, now, host, record)));
        let mut hosts: Vec<_> = readable.collect();
        hosts.sort_by(|a, b| a.info.id.cmp(&b.info.id));
        HostEvent::Snapshot(hosts)
    }

    fn change(&mut self, message: &[u8]) -> Option<HostEvent> {
        let message = String::from_utf8_lossy(message);
        if let Some(record) = message.strip_prefix('+') {
            let entry = readable(entry::any_host(&self.keys.changes, record))?;
            self.known.insert(entry.info.id.to_string(), entry.lease.clone());
            return Some(HostEvent::Changed(LiveHost {
                info: entry.info,
                lease: entry.lease,
                heartbeat_age: Duration::ZERO,
            }));
        }
        let host = message.strip_prefix('-')?;
        self.known.remove(host)?;
        HostId::new(host).ok().map(HostEvent::Removed)
    }

    fn next_check(&self) -> Option<Instant> {
        Some(self.next_check)
    }

    fn check(&self, link: Arc<Link>, mark: String) -> Answer<Ended> {
        let (keys, since) = (self.keys.clone(), self.checked_at);
        async move {
            let mut script = scripts::ENDED.key(&keys.leases);
            script.key(&keys.records).arg(since).arg(mark);
            link.ask_once(&keys.records, Question::Script(&script)).await
        }
        .boxed()
    }

    fn checked(&mut self, (now, next_end_in, in_force, ended): Ended) -> Option<Vec<HostEvent>> {
        self.looked(now, next_end_in);
        let mut events = Vec::new();
        for (host, lease) in ended {
            if self.known.get(&host).is_some_and(|known| known.as_str() == lease) {
                self.known.remove(&host);
                events.extend(HostId::new(&host).ok().map(HostEvent::Removed));
            }
        }
        (self.known.len() == in_force).then_some(events)
    }
}

/// The host in a listing of that moment.
pub(in crate::registry::redis) fn live_host(
    place: &str,
    now: u64,
    host: &str,
    record: &str,
) -> Result<LiveHost, RegistryError> {
    let id = HostId::new(host).map_err(|error| entry::corrupt(place, error.to_string()))?;
    let entry = entry::host(place, &id, record)?;
    let heartbeat_age = Duration::from_millis(now.saturating_sub(entry.reported));
    Ok(LiveHost { info: entry.info, lease: entry.lease, heartbeat_age })
}

/// A watcher goes on without what it cannot read, for one bad record must not hide the
/// fleet.
fn readable<T>(found: Result<T, RegistryError>) -> Option<T> {
    found.inspect_err(|error| error!(%error, "a host is left out of a watch")).ok()
}
