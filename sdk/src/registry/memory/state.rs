//! The rules: who holds which lease, who may claim what. Plain code under a lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::topic::{Changes, Topic};
use crate::{
    agent::{AgentEvent, AgentInfo},
    host::{HostEvent, HostInfo, LeaseId, LiveHost},
    ids::{AgentId, AgentKey, Epoch, GuildId, HostId},
    placement::PolicyArtifact,
    registry::{ClaimOutcome, Claimed, FORGET_ENDED_AFTER, LONGEST_LEASE, Registration, RegistryError},
};

/// Everything a registry knows.
#[derive(Default)]
pub(super) struct State {
    hosts: BTreeMap<HostId, HostEntry>,
    /// When each lease of `hosts` ends or ended, the earliest first.
    ends: BTreeSet<(Instant, HostId)>,
    host_changes: Topic<HostEvent>,
    guilds: HashMap<GuildId, Guild>,
    tickets: HashMap<String, u64>,
    /// The policy that is named for the fleet.
    pub(super) policy: Option<PolicyArtifact>,
}

struct HostEntry {
    info: HostInfo,
    lease: LeaseId,
    ends: Instant,
    reported: Instant,
}

impl HostEntry {
    fn in_force(&self, now: Instant) -> bool {
        now < self.ends
    }

    fn live(&self, now: Instant) -> LiveHost {
        LiveHost {
            info: self.info.clone(),
            lease: self.lease.clone(),
            heartbeat_age: now.duration_since(self.reported),
        }
    }
}

#[derive(Default)]
struct Guild {
    /// The epoch given out last. Stays when an agent goes, so that its epochs grow
    /// when it comes back.
    epoch: u64,
    /// The epochs of this data are above it. Those below may have been another
    /// registry's, which a host had before.
    since: u64,
    agents: BTreeMap<AgentId, Claimed>,
    changes: Topic<AgentEvent>,
}

// Hosts and their leases.
impl State {
    pub(super) fn register(
        &mut self,
        host: &HostInfo,
        lease: &LeaseId,
        length: Duration,
    ) -> Result<Registration, RegistryError> {
        let now = Instant::now();
        if let Some(entry) = self.hosts.get(&host.id) {
            match (entry.in_force(now), entry.lease == *lease) {
                (true, false) => return Ok(Registration::InUse { remaining: entry.ends - now }),
                (false, true) => return Err(RegistryError::LeaseEnded { host: host.id.clone() }),
                (true, true) | (false, false) => {}
            }
        }
        self.set_host(host, lease, now + length.min(LONGEST_LEASE), now);
        Ok(Registration::Registered)
    }

    pub(super) fn renew(
        &mut self,
        host: &HostId,
        lease: &LeaseId,
        length: Duration,
        report: Option<&HostInfo>,
    ) -> Result<(), RegistryError> {
        let now = Instant::now();
        let entry = match self.hosts.get_mut(host) {
            Some(entry) if entry.in_force(now) && entry.lease == *lease => entry,
            _ => return Err(RegistryError::LeaseEnded { host: host.clone() }),
        };
        match report {
            Some(info) => {
                self.set_host(info, lease, now + length.min(LONGEST_LEASE), now);
                self.forget_long_ended(now);
            }
            None => {
                self.ends.remove(&(entry.ends, host.clone()));
                entry.ends = now + length.min(LONGEST_LEASE);
                self.ends.insert((entry.ends, host.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, host: &HostId, lease: &LeaseId) {
        if self.in_force(host, lease, Instant::now())
            && let Some(entry) = self.hosts.remove(host)
        {
            self.ends.remove(&(entry.ends, host.clone()));
            self.host_changes.publish(|| HostEvent::Removed(host.clone()));
        }
    }

    /// Whether this very lease of the host is in force.
    pub(super) fn in_force(&self, host: &HostId, lease: &LeaseId, now: Instant) -> bool {
        self.hosts.get(host).is_some_and(|entry| entry.lease == *lease && entry.in_force(now))
    }

    pub(super) fn live_hosts(&self, now: Instant) -> Vec<LiveHost> {
        self.hosts.values().filter(|entry| entry.in_force(now)).map(|entry| entry.live(now)).collect()
    }

    /// The first end of a lease after `then`, unless it is renewed.
    pub(super) fn next_end(&self, then: Instant) -> Option<Instant> {
        self.ends.iter().map(|(ends, _)| *ends).find(|ends| *ends > then)
    }

    pub(super) fn host_changes(&mut self) -> Changes<HostEvent> {
        self.host_changes.subscribe()
    }

    fn set_host(&mut self, info: &HostInfo, lease: &LeaseId, ends: Instant, now: Instant) {
        let entry = HostEntry { info: info.clone(), lease: lease.clone(), ends, reported: now };
        self.host_changes.publish(|| HostEvent::Changed(entry.live(now)));
        if let Some(old) = self.hosts.insert(info.id.clone(), entry) {
            self.ends.remove(&(old.ends, info.id.clone()));
        }
        self.ends.insert((ends, info.id.clone()));
    }

    fn forget_long_ended(&mut self, now: Instant) {
        while let Some((ends, host)) = self.ends.pop_first() {
            if now.duration_since(ends) < FORGET_ENDED_AFTER {
                self.ends.insert((ends, host));
                break;
            }
            self.hosts.remove(&host);
        }
    }
}

// Agents and their claims.
impl State {
    pub(super) fn claim(
        &mut self,
        agent: &AgentInfo,
        lease: &LeaseId,
        replaces: Option<Epoch>,
    ) -> Result<ClaimOutcome, RegistryError> {
        let current = self.agent(&agent.key);
        let granted = match (current, replaces) {
            (None, None) => true,
            (None, Some(epoch)) => return Err(self.missing(&agent.key, epoch)),
            (Some(current), Some(epoch)) => current.agent.epoch == epoch,
            (Some(current), None) => {
                !current.agent.state.is_live()
                    || !self.in_force(&current.agent.host, &current.lease, Instant::now())
            }
        };
        if let (false, Some(current)) = (granted, current) {
            return Ok(ClaimOutcome::Held(Box::new(current.agent.clone())));
        }
        let guild = self.guilds.entry(agent.key.guild.clone()).or_default();
        if guild.epoch < agent.epoch.0 {
            (guild.epoch, guild.since) = (agent.epoch.0, agent.epoch.0);
        }
        guild.epoch += 1;
        let agent = AgentInfo { epoch: Epoch(guild.epoch), ..agent.clone() };
        guild.changes.publish(|| AgentEvent::Changed(agent.clone()));
        let epoch = agent.epoch;
        guild.agents.insert(agent.key.agent.clone(), Claimed { agent, lease: lease.clone() });
        Ok(ClaimOutcome::Claimed(epoch))
    }

    pub(super) fn reassert(
        &mut self,
        key: &AgentKey,
        epoch: Epoch,
        lease: &LeaseId,
    ) -> Result<(), RegistryError> {
        let (claimed, changes) = self.fenced(key, epoch)?;
        claimed.lease = lease.clone();
        changes.publish(|| AgentEvent::Changed(claimed.agent.clone()));
        Ok(())
    }

    pub(super) fn update(&mut self, agent: &AgentInfo) -> Result<(), RegistryError> {
        let (claimed, changes) = self.fenced(&agent.key, agent.epoch)?;
        claimed.agent = agent.clone();
        changes.publish(|| AgentEvent::Changed(agent.clone()));
        Ok(())
    }

    pub(super) fn release(&mut self, key: &AgentKey, epoch: Epoch) -> Result<(), RegistryError> {
        if self.agent(key).is_none() {
            return Ok(());
        }
        self.fenced(key, epoch)?;
        if let Some(guild) = self.guilds.get_mut(&key.guild) {
            guild.agents.remove(&key.agent);
            guild.changes.publish(|| AgentEvent::Removed { key: key.clone(), epoch });
        }
        Ok(())
    }

    pub(super) fn agent(&self, key: &AgentKey) -> Option<&Claimed> {
        self.guilds.get(&key.guild)?.agents.get(&key.agent)
    }

    pub(super) fn agents(&self, guild: &GuildId) -> impl Iterator<Item = &Claimed> {
        self.guilds.get(guild).into_iter().flat_map(|guild| guild.agents.values())
    }

    pub(super) fn agent_changes(&mut self, guild: &GuildId) -> Changes<AgentEvent> {
        self.guilds.entry(guild.clone()).or_default().changes.subscribe()
    }

    pub(super) fn tickets(&mut self, counter: &str, count: u32) -> u64 {
        let next = self.tickets.entry(counter.to_owned()).or_default();
        let first = *next;
        *next += u64::from(count);
        first
    }

    /// The record, when `epoch` is the current one, and where its changes go.
    fn fenced(
        &mut self,
        key: &AgentKey,
        epoch: Epoch,
    ) -> Result<(&mut Claimed, &mut Topic<AgentEvent>), RegistryError> {
        match self.agent(key).map(|claimed| claimed.agent.epoch) {
            Some(current) if current == epoch => {}
            Some(current) => {
                return Err(RegistryError::Fenced { key: key.clone(), epoch, current: Some(current) });
            }
            None => return Err(self.missing(key, epoch)),
        }
        let guild = self.guilds.get_mut(&key.guild);
        let found = guild.and_then(|guild| Some((guild.agents.get_mut(&key.agent)?, &mut guild.changes)));
        found.ok_or_else(|| RegistryError::Forgotten { key: key.clone(), epoch })
    }

    /// Why nothing is recorded: an epoch that was given out here was released since, and
    /// any other is of another registry, whose data this one does not have.
    fn missing(&self, key: &AgentKey, epoch: Epoch) -> RegistryError {
        let guild = self.guilds.get(&key.guild);
        match guild.is_some_and(|guild| guild.since < epoch.0 && epoch.0 <= guild.epoch) {
            true => RegistryError::Fenced { key: key.clone(), epoch, current: None },
            false => RegistryError::Forgotten { key: key.clone(), epoch },
        }
    }
}
