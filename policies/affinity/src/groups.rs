//! All hosts, in groups that no rule tells apart, kept in step with the fleet.
//!
//! Groups are put together anew when a decision is asked for after hosts came, went or
//! changed their labels; a host that reports changes its own number only.

use alloc::vec::Vec;

use guildhall_policy::{Candidate, Fleet, Observed, Standing};

use crate::{
    group::{FULL, Group},
    positions::Positions,
    rules::{About, Rules},
    values::Values,
};

/// Groups and values beyond those that hosts can have now: kept, so that few hosts that
/// come and go do not make everything be read again.
const SPARE: usize = 64;

/// The hosts, by position, and their groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    hosts: Vec<Host>,
    groups: Vec<Group>,
    /// The groups' places in `groups`, sorted by their keys.
    by_key: Vec<u32>,
    values: Values,
    positions: Positions,
    /// Hosts are not in their groups' lists as they should be.
    stale: bool,
    /// The key that was last looked up.
    key: Vec<u32>,
}

/// A host.
#[derive(Clone, Debug)]
struct Host {
    /// Of its id.
    hash: u32,
    group: u32,
    slot: u32,
    open: bool,
    /// Agents on it, those placed since it reported included.
    agents: u32,
    capacity: u32,
}

impl Groups {
    pub(crate) fn observe(&mut self, rules: &Rules, fleet: &Fleet, observed: &Observed) {
        match *observed {
            Observed::Added(at) => {
                let host = self.read(rules, &fleet[at]);
                self.hosts.insert(at, host);
                self.stale = true;
            }
            Observed::Updated(at) => {
                let host = self.read(rules, &fleet[at]);
                let old = &mut self.hosts[at];
                self.stale |= old.group != host.group;
                let (slot, was_open) = (old.slot, old.open);
                *old = Host { slot, ..host };
                if !self.stale {
                    let group = &mut self.groups[old.group as usize];
                    group.open = group.open + usize::from(old.open) - usize::from(was_open);
                    group.set(slot as usize, old.load());
                }
            }
            Observed::Removed(at) => {
                self.hosts.remove(at);
                self.stale = true;
            }
        }
    }

    /// Puts the groups together anew if need be.
    pub(crate) fn refresh(&mut self, rules: &Rules, fleet: &Fleet) {
        if !core::mem::take(&mut self.stale) {
            return;
        }
        let hosts = self.hosts.len();
        if self.groups.len() > SPARE + 2 * hosts
            || self.values.len() > SPARE + 2 * hosts * rules.columns.len()
        {
            self.forget(rules, fleet);
        }
        self.groups.iter_mut().for_each(Group::clear);
        for (at, host) in self.hosts.iter_mut().enumerate() {
            let group = &mut self.groups[host.group as usize];
            host.slot = group.push(at, host.load());
            group.open += usize::from(host.open);
        }
        self.positions.fill(hosts, self.hosts.iter().map(|host| host.hash));
    }

    /// The position of the host of this id.
    pub(crate) fn position(&self, fleet: &Fleet, id: &str) -> Option<usize> {
        self.positions.find(fleet, id)
    }

    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// The groups; some may be without hosts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// The group of the host at this position.
    pub(crate) fn of(&self, at: usize) -> &Group {
        &self.groups[self.hosts[at].group as usize]
    }

    /// The number of this value of a label.
    pub(crate) fn value(&self, value: &str) -> u32 {
        self.values.find(value)
    }

    pub(crate) fn is_open(&self, at: usize) -> bool {
        self.hosts[at].open
    }

    /// Agents on the host at this position, or [`FULL`].
    pub(crate) fn agents(&self, at: usize) -> u32 {
        self.hosts[at].load()
    }

    /// Agents on the host at this position, however many it takes.
    pub(crate) fn taken(&self, at: usize) -> u32 {
        self.hosts[at].agents
    }

    /// Counts an agent that was placed on the host at this position.
    pub(crate) fn count(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        host.agents = host.agents.saturating_add(1);
        if !self.stale {
            self.groups[host.group as usize].set(host.slot as usize, host.load());
        }
    }

    /// Keeps these hosts from being found, or lets them be found again.
    pub(crate) fn hide(&mut self, positions: &[u32], hidden: bool) {
        for &at in positions {
            let host = &self.hosts[at as usize];
            let agents = if hidden { FULL } else { host.load() };
            self.groups[host.group as usize].set(host.slot as usize, agents);
        }
    }

    fn read(&mut self, rules: &Rules, host: &Candidate) -> Host {
        Host {
            hash: Positions::hash(&host.id),
            group: self.group_of(rules, host),
            slot: 0,
            open: host.standing == Standing::Open,
            agents: host.running,
            capacity: host.capacity,
        }
    }

    /// The group that the host belongs to, a new one when there is none.
    fn group_of(&mut self, rules: &Rules, host: &Candidate) -> u32 {
        let mut outcomes = 0;
        for (nth, rule) in rules.all.iter().enumerate() {
            if let About::Label(label) = &rule.about {
                outcomes |= u32::from(label.holds(host)) << nth;
            }
        }
        self.key.clear();
        self.key.push(outcomes);
        for label in &rules.columns {
            self.key.push(self.values.number(host.label(label)));
        }
        let Self { groups, key, .. } = self;
        match self.by_key.binary_search_by(|&group| groups[group as usize].key.cmp(key)) {
            Ok(at) => self.by_key[at],
            Err(at) => {
                let group = groups.len() as u32;
                groups.push(Group::new(key));
                self.by_key.insert(at, group);
                group
            }
        }
    }

    /// Forgets groups and values of hosts that are gone.
    fn forget(&mut self, rules: &Rules, fleet: &Fleet) {
        self.groups.clear();
        self.by_key.clear();
        self.values = Values::default();
        for at in 0..self.hosts.len() {
            self.hosts[at].group = self.group_of(rules, &fleet[at]);
        }
    }
}

impl Host {
    fn load(&self) -> u32 {
        match self.open && self.agents < self.capacity {
            true => self.agents,
            false => FULL,
        }
    }
}
