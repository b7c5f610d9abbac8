//! One state of everything: machines, registry, messages, clocks.

use crate::{
    configuration::Configuration,
    host::{Holding, Host, Pledge},
    message::Message,
    registry::{AGENTS, CURRENT, Epoch, HOSTS, LEASES, Lease, LeaseId, Leases, Registry},
    time::Clocks,
};

/// How many messages can be late at the same time at most.
pub const MESSAGES: usize = 2;

/// One state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct World {
    /// Which clocks are ahead.
    pub clocks: Clocks,
    /// The registry.
    pub registry: Registry,
    /// The machines.
    pub hosts: [Host; HOSTS],
    /// Which hosts can't reach each other: place `h` is for host `h` and the next.
    pub apart: [bool; HOSTS],
    /// What is under way, in order, the empty places first.
    pub messages: [Option<Message>; MESSAGES],
    /// How many more things may go wrong.
    pub faults_left: u8,
    /// How often a host may still register.
    pub registrations_left: u8,
    /// By agent, the highest epoch under which a process was started.
    pub started: [Epoch; AGENTS],
    /// A process was started under an epoch that was not higher than all before.
    pub epoch_did_not_grow: bool,
    /// A write was accepted from a process that is not the newest.
    pub stale_write_accepted: bool,
}

impl World {
    /// All hosts have registered and are well, and agent `a` runs on host `placement[a]`.
    /// Where one joined just now, the others have not heard of the last host yet.
    pub fn new(placement: &[usize], to: &Configuration) -> Self {
        let mut registry = Registry::default();
        let mut hosts: [Host; HOSTS] = std::array::from_fn(|host| Host::off(LeaseId::new(host, 0)));
        for host in &mut hosts {
            let view = registry.register(host.lease, to.rules);
            *host = Host { up: true, tenure: to.rules.tenure(), view, ..*host };
        }
        let heard = if to.joined { HOSTS - 2 } else { HOSTS - 1 };
        let view = hosts[heard].view;
        for host in &mut hosts[..heard] {
            host.view = view;
            if let Lease::Live { acked, offered, .. } = &mut registry.leases[host.lease.index()] {
                (*acked, *offered) = (view, view);
            }
        }
        let mut started = [0; AGENTS];
        for (agent, &host) in placement.iter().enumerate() {
            let lease = hosts[host].lease;
            started[agent] = registry.claim(agent, lease, 0, false).unwrap_or_default();
            hosts[host].agents[agent] = Holding::Running(started[agent]);
        }
        Self {
            clocks: Clocks::default(),
            registry,
            hosts,
            apart: [false; HOSTS],
            messages: [None; MESSAGES],
            faults_left: to.faults_at_most,
            registrations_left: to.registrations,
            started,
            epoch_did_not_grow: false,
            stale_write_accepted: false,
        }
    }

    /// Whether these two hosts can reach each other.
    pub fn together(&self, one: usize, other: usize) -> bool {
        one == other || !self.apart[pair(one, other)]
    }

    /// How many processes of this agent there are.
    pub fn incarnations(&self, agent: usize) -> usize {
        self.hosts.iter().filter(|host| host.agents[agent].runs()).count()
    }

    /// Whether somebody will care for this agent: it waits, or its lease is buried or its
    /// holder gone and it can be adopted by and by, or the holder of its lease knows of it.
    pub fn is_cared_for(&self, agent: usize) -> bool {
        let claim = self.registry.claims[agent];
        let Some(lease) = claim.lease else {
            return claim.epoch > 0;
        };
        let host = &self.hosts[lease.host()];
        let gone = !host.up || host.lease != lease;
        self.registry.lease(lease) == Lease::Buried || gone || host.agents[agent].epoch() == Some(claim.epoch)
    }

    /// Forgets what can make no difference any more, and gives hosts and agents that are
    /// in the same situation the same names.
    pub fn settled(mut self, to: &Configuration) -> Self {
        self.lower_epochs();
        for host in &mut self.hosts {
            // Until it has renewed it can claim nothing.
            let claims = |m: &Message| matches!(m, Message::Claim { lease, .. } if *lease == host.lease);
            if !host.reaches_registry() && host.is_idle() && !self.messages.iter().flatten().any(claims) {
                host.tenure = 0;
            }
            for lease in LeaseId::all() {
                if !self.registry.lease(lease).is_live() {
                    host.pledges[lease.index()] = Pledge::None;
                }
            }
            for (agent, claim) in self.registry.claims.iter().enumerate() {
                if matches!(host.agents[agent], Holding::Held(epoch) if epoch != claim.epoch) {
                    host.agents[agent] = Holding::Nothing;
                }
            }
        }
        if !to.idle_burials {
            let idle = self.idle_leases();
            for lease in LeaseId::all().filter(|&lease| idle.contains(lease)) {
                if let Lease::Live { left, revived, .. } = &mut self.registry.leases[lease.index()] {
                    (*left, *revived) = (to.rules.lease, false);
                }
            }
        }
        for host in 0..HOSTS {
            if self.rests(host, to) {
                self.clocks.rest(host);
            }
        }
        self.messages.sort_unstable();
        if to.symmetric { self.representative(to.agents) } else { self }
    }

    /// Whether nothing is measured by this host's clock.
    pub fn rests(&self, host: usize, to: &Configuration) -> bool {
        let Host { lease, pledges, .. } = &self.hosts[host];
        let waits = |message: &Message| message.holder() == Some(*lease);
        to.resting_clocks
            && self.hosts[host].is_idle()
            && (!to.idle_burials || !self.registry.lease(*lease).is_live())
            && self
                .registry
                .claims
                .iter()
                .all(|claim| claim.lease != Some(*lease) || !self.registry.lease(*lease).is_live())
            && pledges.iter().all(|pledge| *pledge == Pledge::None)
            && !self.messages.iter().flatten().any(waits)
    }

    /// The clocks by which nothing is measured, one bit each.
    pub fn resting(&self, to: &Configuration) -> u8 {
        (0..HOSTS).filter(|&host| self.rests(host, to)).map(|host| 1 << host).sum()
    }

    /// The leases that no claim was made under.
    fn idle_leases(&self) -> Leases {
        let claimed = |lease: &LeaseId| self.registry.claims.iter().any(|c| c.lease == Some(*lease));
        self.registry.view().and(LeaseId::all().filter(|lease| !claimed(lease)).collect())
    }

    /// Keeps the current epoch of each agent at [`CURRENT`].
    fn lower_epochs(&mut self) {
        for agent in 0..AGENTS {
            let by = self.registry.claims[agent].epoch.saturating_sub(CURRENT);
            if by == 0 {
                continue;
            }
            let lower = |epoch: &mut Epoch| *epoch = epoch.saturating_sub(by);
            lower(&mut self.registry.claims[agent].epoch);
            lower(&mut self.started[agent]);
            for host in &mut self.hosts {
                if let Some(mut epoch) = host.agents[agent].epoch() {
                    lower(&mut epoch);
                    host.agents[agent] = host.agents[agent].with_epoch(epoch);
                }
            }
            for (of, epoch) in self.messages.iter_mut().flatten().filter_map(Message::epoch) {
                if of == agent {
                    lower(epoch);
                }
            }
        }
    }

    /// The least of all worlds that differ from this one in nothing but names, among
    /// those where hosts come in the order of their [`World::situation`].
    fn representative(self, agents: usize) -> Self {
        const NAMES: [[usize; HOSTS]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let situations: [u64; HOSTS] = std::array::from_fn(|host| self.situation(host));
        let mut least: Option<Self> = None;
        for names in &NAMES {
            let mut ordered = [0; HOSTS];
            for host in 0..HOSTS {
                ordered[names[host]] = situations[host];
            }
            if !ordered.is_sorted() {
                continue;
            }
            for agents in &[[0, 1], [1, 0]][..agents] {
                let renamed = self.renamed(names, agents);
                if least.as_ref().is_none_or(|least| renamed < *least) {
                    least = Some(renamed);
                }
            }
        }
        least.unwrap_or(self)
    }

    /// What can be told of a host without the name of any other.
    fn situation(&self, host: usize) -> u64 {
        let Host { up, paused, cut, lease, tenure, agents, view, pledges } = &self.hosts[host];
        let left = match self.registry.lease(*lease) {
            Lease::Unused => 0,
            Lease::Buried => 1,
            Lease::Live { left, .. } => 2 + u64::from(left),
        };
        let pledge = |pledge: &Pledge| match *pledge {
            Pledge::None => 0,
            Pledge::Promise(left) => u64::from(left),
            Pledge::Vote(left) => 16 * u64::from(left),
        };
        let holding = |holding: &Holding| match *holding {
            Holding::Nothing => 0,
            Holding::Held(epoch) => 1 + u64::from(epoch),
            Holding::Granted(epoch) => 8 + u64::from(epoch),
            Holding::Running(epoch) => 16 + u64::from(epoch),
        };
        let flags = u64::from(*up) | u64::from(*paused) << 1 | u64::from(*cut) << 2;
        let flags = flags | u64::from(self.clocks.ahead(host)) << 3;
        let generation = u64::from(lease.next().is_some());
        [
            left,
            u64::from(*tenure),
            generation,
            u64::from(view.len()),
            agents.iter().map(holding).sum::<u64>(),
            pledges.iter().map(pledge).sum::<u64>(),
        ]
        .iter()
        .fold(flags, |all, part| all << 9 | part)
    }

    fn renamed(&self, names: &[usize; HOSTS], agents: &[usize; AGENTS]) -> Self {
        let mut to = self.clone();
        to.clocks = self.clocks.renamed(names);
        for lease in LeaseId::all() {
            let mut of = self.registry.lease(lease);
            if let Lease::Live { acked, offered, .. } = &mut of {
                *acked = acked.renamed(names);
                *offered = offered.renamed(names);
            }
            to.registry.leases[lease.renamed(names).index()] = of;
        }
        for (agent, &name) in agents.iter().enumerate() {
            let mut claim = self.registry.claims[agent];
            claim.lease = claim.lease.map(|lease| lease.renamed(names));
            to.registry.claims[name] = claim;
            to.started[name] = self.started[agent];
        }
        for (host, from) in self.hosts.iter().enumerate() {
            let mut at = *from;
            at.lease = from.lease.renamed(names);
            at.view = from.view.renamed(names);
            let mut pledges = [Pledge::None; LEASES];
            for lease in LeaseId::all() {
                pledges[lease.renamed(names).index()] = from.pledges[lease.index()];
            }
            at.pledges = pledges;
            for (agent, &name) in agents.iter().enumerate() {
                at.agents[name] = from.agents[agent];
            }
            to.hosts[names[host]] = at;
        }
        for host in 0..HOSTS {
            to.apart[pair(names[host], names[(host + 1) % HOSTS])] = self.apart[host];
        }
        to.messages = self.messages.map(|message| message.map(|message| message.renamed(names, agents)));
        to.messages.sort_unstable();
        to
    }
}

/// The place of two of three hosts in [`World::apart`].
fn pair(one: usize, other: usize) -> usize {
    if (one + 1) % HOSTS == other { one } else { other }
}
