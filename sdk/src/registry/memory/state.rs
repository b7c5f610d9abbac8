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
    launch::Launch,
    placement::PolicyArtifact,
    registry::{
        Burial, ClaimOutcome, Claimed, FORGET_BURIED_AFTER, LONGEST_LEASE, Member, Overdue, Registration,
        RegistryError, Renewed, View,
    },
};

/// What this registry's times count from.
struct Start(Instant);

impl Default for Start {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Start {
    /// A moment as a number, by which the state of a lease can be told from a later one.
    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Everything a registry knows.
#[derive(Default)]
pub(super) struct State {
    start: Start,
    hosts: BTreeMap<HostId, HostEntry>,
    /// When each lease of `hosts` ends or ended, the earliest first.
    ends: BTreeSet<(Instant, HostId)>,
    /// Overdue leases of hosts that registered under another since.
    displaced: HashMap<LeaseId, HostEntry>,
    /// The leases that were buried a short while ago, and when.
    buried: HashMap<LeaseId, Instant>,
    /// The newest view, and those before it that a holder may go by.
    views: BTreeMap<u64, View>,
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
    /// The numbers of the views that it may go by.
    views: [u64; 2],
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
    launches: HashMap<AgentId, Launch>,
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
        if self.buried.contains_key(lease) {
            return Err(RegistryError::LeaseEnded { host: host.id.clone() });
        }
        if let Some(entry) = self.hosts.get(&host.id)
            && entry.lease != *lease
        {
            if entry.in_force(now) {
                return Ok(Registration::InUse { remaining: entry.ends - now });
            }
            if let Some(old) = self.hosts.remove(&host.id) {
                self.ends.remove(&(old.ends, host.id.clone()));
                self.displaced.insert(old.lease.clone(), old);
            }
        }
        let is_new = !self.hosts.contains_key(&host.id);
        self.set_host(host, lease, now + length.min(LONGEST_LEASE), now);
        if is_new {
            self.review();
        }
        Ok(Registration::Registered)
    }

    pub(super) fn renew(
        &mut self,
        host: &HostId,
        lease: &LeaseId,
        length: Duration,
        view: u64,
        report: Option<&HostInfo>,
    ) -> Result<Renewed, RegistryError> {
        let now = Instant::now();
        let newest = self.newest_view();
        let entry = match self.hosts.get_mut(host) {
            Some(entry) if entry.lease == *lease => entry,
            _ if self.buried.contains_key(lease) => {
                return Err(RegistryError::LeaseEnded { host: host.clone() });
            }
            _ => return Err(RegistryError::LeaseForgotten { host: host.clone() }),
        };
        // A view that was answered stays until its holder says that it has it. So a renewal
        // that comes late cannot pass for the holder's word.
        let [named, answered] = entry.views;
        entry.views = match () {
            () if view == answered => [view, newest],
            () if view == named => [named, answered],
            () => {
                let reason = format!("host {host} was not told of view {view}");
                return Err(RegistryError::Corrupt { place: "views".to_owned(), reason });
            }
        };
        let answered = entry.views[1];
        let was_in_force = entry.in_force(now);
        match report {
            Some(info) => {
                self.set_host(info, lease, now + length.min(LONGEST_LEASE), now);
                self.forget_long_buried(now);
            }
            None => {
                self.ends.remove(&(entry.ends, host.clone()));
                entry.ends = now + length.min(LONGEST_LEASE);
                self.ends.insert((entry.ends, host.clone()));
                if !was_in_force {
                    // Watchers have taken it for gone.
                    let back = entry.live(now);
                    self.host_changes.publish(|| HostEvent::Changed(back));
                }
            }
        }
        let view = (view != answered).then(|| self.views.get(&answered).cloned()).flatten();
        Ok(Renewed { view, forgot: false, behind: Duration::ZERO })
    }

    pub(super) fn leave(&mut self, host: &HostId, lease: &LeaseId) {
        if self.displaced.contains_key(lease) || self.hosts.get(host).is_some_and(|it| it.lease == *lease) {
            self.entomb(host, lease);
        }
    }

    pub(super) fn overdue(&self) -> Vec<Overdue> {
        let now = Instant::now();
        let late = self.hosts.values().filter(|entry| !entry.in_force(now));
        let overdue = late.chain(self.displaced.values()).map(|entry| {
            let numbers: BTreeSet<_> = entry.views.into_iter().collect();
            Overdue {
                host: entry.info.clone(),
                lease: entry.lease.clone(),
                since: now - entry.ends,
                views: numbers.iter().filter_map(|number| self.views.get(number).cloned()).collect(),
                end: self.start.nanos(entry.ends),
                asked_at: self.start.nanos(now),
            }
        });
        overdue.collect()
    }

    pub(super) fn bury(&mut self, overdue: &Overdue, within: Duration) -> Burial {
        let now = Instant::now();
        let host = &overdue.host.id;
        let current = self.hosts.get(host).filter(|entry| entry.lease == overdue.lease);
        let entry = current.or_else(|| self.displaced.get(&overdue.lease));
        if !entry.is_some_and(|entry| !entry.in_force(now) && self.start.nanos(entry.ends) == overdue.end) {
            return Burial::Missed;
        }
        if u128::from(self.start.nanos(now) - overdue.asked_at) >= within.as_nanos() {
            return Burial::Late;
        }
        self.entomb(host, &overdue.lease);
        Burial::Buried
    }

    /// Ends a lease for good.
    fn entomb(&mut self, host: &HostId, lease: &LeaseId) {
        if self.displaced.remove(lease).is_none()
            && let Some(entry) = self.hosts.remove(host)
        {
            self.ends.remove(&(entry.ends, host.clone()));
            self.host_changes.publish(|| HostEvent::Removed(host.clone()));
        }
        self.buried.insert(lease.clone(), Instant::now());
        self.review();
    }

    fn newest_view(&self) -> u64 {
        self.views.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// The leases that are not buried have changed: lists them under a new number, and
    /// forgets the lists that nobody goes by.
    fn review(&mut self) {
        let number = self.newest_view() + 1;
        let entries = || self.hosts.values().chain(self.displaced.values());
        let members = entries().map(|entry| Member {
            host: entry.info.id.clone(),
            lease: entry.lease.clone(),
            endpoint: entry.info.endpoint.clone(),
        });
        let mut members: Vec<_> = members.collect();
        members.sort_by(|a, b| a.lease.as_str().cmp(b.lease.as_str()));
        let view = View { number, members };
        let used: BTreeSet<_> = entries().flat_map(|entry| entry.views).collect();
        self.views.retain(|number, _| used.contains(number));
        self.views.insert(number, view);
    }

    /// Whether claims under this lease are free.
    fn is_buried(&self, lease: &LeaseId) -> bool {
        !self.displaced.contains_key(lease) && !self.hosts.values().any(|entry| entry.lease == *lease)
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
        let views = self.hosts.get(&info.id).map_or([0; 2], |entry| entry.views);
        let entry = HostEntry { info: info.clone(), lease: lease.clone(), ends, reported: now, views };
        self.host_changes.publish(|| HostEvent::Changed(entry.live(now)));
        if let Some(old) = self.hosts.insert(info.id.clone(), entry) {
            self.ends.remove(&(old.ends, info.id.clone()));
        }
        self.ends.insert((ends, info.id.clone()));
    }

    fn forget_long_buried(&mut self, now: Instant) {
        self.buried.retain(|_, at| now.duration_since(*at) < FORGET_BURIED_AFTER);
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
            (Some(current), None) => !current.agent.state.is_live() || self.is_buried(&current.lease),
        };
        if let (false, Some(current)) = (granted, current) {
            return Ok(ClaimOutcome::Held(Box::new(current.agent.clone())));
        }
        Ok(self.grant(agent, lease))
    }

    pub(super) fn accept(
        &mut self,
        agent: &AgentInfo,
        lease: &LeaseId,
        launch: &Launch,
    ) -> Result<ClaimOutcome, RegistryError> {
        let outcome = self.claim(agent, lease, None)?;
        if let (ClaimOutcome::Claimed(_), Some(guild)) = (&outcome, self.guilds.get_mut(&agent.key.guild)) {
            guild.launches.insert(agent.key.agent.clone(), launch.clone());
        }
        Ok(outcome)
    }

    pub(super) fn adopt(
        &mut self,
        agent: &AgentInfo,
        lease: &LeaseId,
        epoch: Epoch,
    ) -> Result<ClaimOutcome, RegistryError> {
        let Some(current) = self.agent(&agent.key) else { return Err(self.missing(&agent.key, epoch)) };
        let free = current.agent.state.is_live() && self.is_buried(&current.lease);
        if current.agent.epoch != epoch || !free {
            return Ok(ClaimOutcome::Held(Box::new(current.agent.clone())));
        }
        Ok(self.grant(agent, lease))
    }

    fn grant(&mut self, agent: &AgentInfo, lease: &LeaseId) -> ClaimOutcome {
        let guild = self.guilds.entry(agent.key.guild.clone()).or_default();
        if guild.epoch < agent.epoch.0 {
            (guild.epoch, guild.since) = (agent.epoch.0, agent.epoch.0);
        }
        guild.epoch += 1;
        let agent = AgentInfo { epoch: Epoch(guild.epoch), ..agent.clone() };
        guild.changes.publish(|| AgentEvent::Changed(agent.clone()));
        let epoch = agent.epoch;
        guild.agents.insert(agent.key.agent.clone(), Claimed { agent, lease: lease.clone() });
        ClaimOutcome::Claimed(epoch)
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

    pub(super) fn hand_over(&mut self, agent: &AgentInfo) -> Result<(), RegistryError> {
        let (claimed, changes) = self.fenced(&agent.key, agent.epoch)?;
        *claimed = Claimed { agent: agent.clone(), lease: LeaseId::none() };
        changes.publish(|| AgentEvent::Changed(agent.clone()));
        Ok(())
    }

    pub(super) fn launch(&self, key: &AgentKey, epoch: Epoch) -> Option<Launch> {
        self.agent(key).filter(|claimed| claimed.agent.epoch == epoch)?;
        self.guilds.get(&key.guild)?.launches.get(&key.agent).cloned()
    }

    pub(super) fn orphans(&self) -> Vec<Claimed> {
        let all = self.guilds.values().flat_map(|guild| guild.agents.values());
        all.filter(|it| it.agent.state.is_live() && self.is_buried(&it.lease)).cloned().collect()
    }

    pub(super) fn release(&mut self, key: &AgentKey, epoch: Epoch) -> Result<(), RegistryError> {
        if self.agent(key).is_none() {
            return Ok(());
        }
        self.fenced(key, epoch)?;
        if let Some(guild) = self.guilds.get_mut(&key.guild) {
            guild.agents.remove(&key.agent);
            guild.launches.remove(&key.agent);
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
