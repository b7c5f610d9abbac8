//! Streams of what is now, then of changes.
//!
//! The state tells changes under its lock, and a watcher takes its snapshot and its
//! place in the channel under that same lock: no change is told twice or missed. A
//! watcher that falls too far behind begins again with a snapshot.
//!
//! A lease that ends does so without anybody's doing, so each watcher of hosts sets
//! its own alarm for the next end.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use futures::{StreamExt, future::OptionFuture, stream, stream::BoxStream};
use tokio::{
    sync::broadcast::error::TryRecvError,
    time::{Instant, sleep_until},
};

use super::{MemoryRegistry, topic::Changes};
use crate::{
    agent::AgentEvent,
    host::{HostEvent, LeaseId},
    ids::{GuildId, HostId},
};

pub(super) fn guild(registry: MemoryRegistry, guild: GuildId) -> BoxStream<'static, AgentEvent> {
    let watch = GuildWatch { registry, guild, changes: None };
    stream::unfold(watch, |mut watch| async move { Some((watch.next().await, watch)) }).boxed()
}

pub(super) fn hosts(registry: MemoryRegistry) -> BoxStream<'static, HostEvent> {
    let watch = HostWatch {
        registry,
        changes: None,
        known: BTreeMap::new(),
        checked: Instant::now(),
        ready: VecDeque::new(),
    };
    stream::unfold(watch, |mut watch| async move { Some((watch.next().await, watch)) }).boxed()
}

struct GuildWatch {
    registry: MemoryRegistry,
    guild: GuildId,
    /// `None` until the next snapshot.
    changes: Option<Changes<AgentEvent>>,
}

impl GuildWatch {
    async fn next(&mut self) -> AgentEvent {
        if let Some(changes) = &mut self.changes
            && let Ok(event) = changes.recv().await
        {
            return Arc::unwrap_or_clone(event);
        }
        let mut state = self.registry.state();
        self.changes = Some(state.agent_changes(&self.guild));
        AgentEvent::Snapshot(state.agents(&self.guild).map(|claimed| claimed.agent.clone()).collect())
    }
}

struct HostWatch {
    registry: MemoryRegistry,
    /// `None` until the next snapshot.
    changes: Option<Changes<HostEvent>>,
    /// The hosts that the consumer has been told of, and under which lease.
    known: BTreeMap<HostId, LeaseId>,
    /// Every lease that ended until then was noticed.
    checked: Instant,
    /// Found out, and not yet handed over.
    ready: VecDeque<HostEvent>,
}

impl HostWatch {
    async fn next(&mut self) -> HostEvent {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let Some(changes) = &mut self.changes else {
                self.begin();
                continue;
            };
            let next_end = self.registry.state().next_end(self.checked);
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(event) => self.tell(Arc::unwrap_or_clone(event)),
                    Err(_fell_behind) => self.changes = None,
                },
                Some(()) = OptionFuture::from(next_end.map(sleep_until)) => self.notice_ended(),
            }
        }
    }

    fn begin(&mut self) {
        let mut state = self.registry.state();
        self.changes = Some(state.host_changes());
        self.checked = Instant::now();
        let hosts = state.live_hosts(self.checked);
        self.known = hosts.iter().map(|host| (host.info.id.clone(), host.lease.clone())).collect();
        self.ready.push_back(HostEvent::Snapshot(hosts));
    }

    fn tell(&mut self, event: HostEvent) {
        match &event {
            HostEvent::Changed(host) => {
                self.known.insert(host.info.id.clone(), host.lease.clone());
            }
            HostEvent::Removed(host) => {
                // Its end may have been noticed before.
                if self.known.remove(host).is_none() {
                    return;
                }
            }
            HostEvent::Snapshot(_) => {}
        }
        self.ready.push_back(event);
    }

    /// Tells which leases are over. What was told before it is taken first, under
    /// the lock, so that no older change can follow and bring an ended host back.
    fn notice_ended(&mut self) {
        let registry = self.registry.clone();
        let state = registry.state();
        while let Some(changes) = &mut self.changes {
            match changes.try_recv() {
                Ok(event) => self.tell(Arc::unwrap_or_clone(event)),
                Err(TryRecvError::Empty) => break,
                Err(_fell_behind) => self.changes = None,
            }
        }
        self.checked = Instant::now();
        let mut ended = self.known.clone();
        ended.retain(|host, lease| !state.in_force(host, lease, self.checked));
        for host in ended.into_keys() {
            self.tell(HostEvent::Removed(host));
        }
    }
}
