//! The events of a guild, with what no record says: that an agent is lost.
//!
//! The registry tells every change of a record. The end of a lease changes none, so
//! a watcher follows the leases too, and when one of those that its agents' hosts
//! held is over or another, it reads the guild's records once and tells what that
//! means. Reading is the only judgement there is: of two streams neither says how
//! old its events are, compared with the other's.

use std::collections::{BTreeMap, VecDeque};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    sync::watch,
    time::{Duration, Instant, sleep_until},
};
use tracing::debug;

use super::Records;
use crate::{
    agent::{AgentEvent, AgentInfo, AgentState},
    host::LeaseId,
    ids::{AgentKey, GuildId, HostId},
};

/// Pause before records are read again when that failed, or when the fleet does not
/// know a host whose lease is in force.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

pub(super) fn watch(records: Records, guild: GuildId) -> BoxStream<'static, AgentEvent> {
    let watcher = Watcher {
        events: records.registry.watch_guild(&guild),
        lease_changes: records.fleet.lease_changes(),
        records,
        guild,
        leases: BTreeMap::new(),
        known: BTreeMap::new(),
        ready: VecDeque::new(),
        look_again: None,
    };
    stream::unfold(watcher, |mut watcher| async move { Some((watcher.next().await?, watcher)) }).boxed()
}

struct Watcher {
    records: Records,
    guild: GuildId,
    events: BoxStream<'static, AgentEvent>,
    lease_changes: watch::Receiver<u64>,
    /// The leases in force when the records were last read.
    leases: BTreeMap<HostId, LeaseId>,
    /// What the consumer has been told.
    known: BTreeMap<AgentKey, AgentInfo>,
    /// Found out, and not yet handed over.
    ready: VecDeque<AgentEvent>,
    look_again: Option<Instant>,
}

impl Watcher {
    async fn next(&mut self) -> Option<AgentEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let look_again = self.look_again;
            tokio::select! {
                event = self.events.next() => self.take(event?).await,
                // The fleet outlives its watchers, so there is no end to hear of.
                _ = self.lease_changes.changed() => {
                    if self.a_lease_changed() {
                        self.look().await;
                    }
                }
                () = sleep_until(look_again.unwrap_or_else(Instant::now)), if look_again.is_some() => {
                    self.look().await;
                }
            }
        }
    }

    /// Takes an event of the registry in.
    async fn take(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::Snapshot(mut agents) => {
                let lost = self.read().await.unwrap_or_default();
                for agent in &mut agents {
                    if lost.get(&agent.key).is_some_and(|lost| lost.epoch == agent.epoch && is_lost(lost)) {
                        agent.state = AgentState::Lost;
                    }
                }
                self.known = agents.iter().map(|agent| (agent.key.clone(), agent.clone())).collect();
                self.ready.push_back(AgentEvent::Snapshot(agents));
            }
            AgentEvent::Changed(agent) if self.is_doubtful(&agent) => {
                match self.records.agent(&agent.key).await {
                    Ok(Some(now)) => self.tell(now),
                    // Its removal is about to be told.
                    Ok(None) => {}
                    Err(error) => {
                        debug!(%error, "whether an agent is lost is not known yet");
                        self.tell(agent);
                        self.look_again = Some(Instant::now() + LOOK_AGAIN_AFTER);
                    }
                }
            }
            AgentEvent::Changed(agent) => self.tell(agent),
            AgentEvent::Removed { key, epoch } => {
                self.known.remove(&key);
                self.ready.push_back(AgentEvent::Removed { key, epoch });
            }
        }
    }

    /// Whether the agent may be lost although its record says otherwise: its host
    /// has no lease, or it was lost when its records were last read.
    fn is_doubtful(&self, agent: &AgentInfo) -> bool {
        let was_lost = |known: &AgentInfo| known.epoch == agent.epoch && is_lost(known);
        agent.state.needs_host()
            && (self.records.fleet.get(&agent.host).is_none()
                || self.known.get(&agent.key).is_some_and(was_lost))
    }

    /// Whether a host of known agents has another lease than when the records were
    /// last read, or has none any more.
    fn a_lease_changed(&self) -> bool {
        let now = self.records.fleet.leases();
        self.known
            .values()
            .filter(|agent| agent.state.is_live() || is_lost(agent))
            .any(|agent| now.get(&agent.host) != self.leases.get(&agent.host))
    }

    /// Reads the records and tells of agents that are lost now, or no longer.
    async fn look(&mut self) {
        for agent in self.read().await.unwrap_or_default().into_values() {
            let known = self.known.get(&agent.key);
            // What a record says beyond that, its own event tells.
            let news =
                known.is_some_and(|known| known.epoch == agent.epoch && is_lost(known)) != is_lost(&agent);
            if news && known.is_none_or(|known| known.epoch <= agent.epoch) {
                self.tell(agent);
            }
        }
    }

    /// The guild's records as they are now, read in the light of the leases;
    /// `None`, and a time to try again, when the registry does not answer.
    async fn read(&mut self) -> Option<BTreeMap<AgentKey, AgentInfo>> {
        // Before the records, so that a lease that ends meanwhile is not missed.
        self.leases = self.records.fleet.leases();
        let read = self.records.agents_in_guild(&self.guild).await;
        let agents = read.inspect_err(|error| debug!(%error, "which agents are lost is not known yet")).ok();
        let fleet = &self.records.fleet;
        let doubtful = |agent: &AgentInfo| agent.state.needs_host() && fleet.get(&agent.host).is_none();
        let settled = agents.as_ref().is_some_and(|agents| !agents.iter().any(doubtful));
        self.look_again = (!settled).then(|| Instant::now() + LOOK_AGAIN_AFTER);
        Some(agents?.into_iter().map(|agent| (agent.key.clone(), agent)).collect())
    }

    fn tell(&mut self, agent: AgentInfo) {
        if self.known.get(&agent.key) != Some(&agent) {
            self.known.insert(agent.key.clone(), agent.clone());
            self.ready.push_back(AgentEvent::Changed(agent));
        }
    }
}

fn is_lost(agent: &AgentInfo) -> bool {
    agent.state == AgentState::Lost
}
