//! Hosts join, drain, die and return, and agents move to those that joined.

use std::time::Duration;

use guildhall::placement::{FleetChange, Placed};
use rand::RngExt;

use super::{
    super::{host::State, seconds, trace::exponential},
    Event, Host, World,
};

/// From a host's death to its agents being placed again: the lease.
const LEASE: Duration = Duration::from_secs(10);

/// From a host's death to its return.
const AWAY: Duration = Duration::from_secs(60);

/// From the order to drain to the host's end.
const DRAIN: Duration = Duration::from_secs(30);

/// From one question for moves to the next.
const REBALANCE_EVERY: Duration = Duration::from_secs(60);

/// Agents, on the fullest hosts, that the policy is asked about at once.
const MOVABLE: usize = 1000;

impl World<'_> {
    /// Adds hosts that nobody knows of yet.
    pub(super) fn join(&mut self, hosts: usize) -> anyhow::Result<()> {
        for _ in 0..hosts {
            let nth = self.hosts.len();
            self.hosts.push(Host::new(nth, self.fleet)?);
            let group = self.chance.random_range(0..self.groups.len());
            self.groups[group].push(nth);
        }
        Ok(())
    }

    /// Hosts join the fleet.
    pub(super) fn joins(&mut self, hosts: usize) -> anyhow::Result<()> {
        let known = self.hosts.len();
        self.join(hosts)?;
        self.tell(&(known..self.hosts.len()).collect::<Vec<_>>());
        self.planned -= 1;
        if self.fleet.moves > 0 {
            self.agenda.note(self.now + REBALANCE_EVERY, Event::Rebalances);
        }
        Ok(())
    }

    /// Asks for moves, and makes them, as long as there are any to be made.
    pub(super) fn rebalances(&mut self) {
        if self.moves() > 0 {
            self.agenda.note(self.now + REBALANCE_EVERY, Event::Rebalances);
        }
    }

    /// Makes the moves that the policy of the first engine proposes. Answers how many.
    fn moves(&mut self) -> usize {
        let agents = self.movable();
        let placed: Vec<Placed> = agents
            .iter()
            .map(|(agent, host)| Placed { request: self.request(*agent), host: self.hosts[*host].id.clone() })
            .collect();
        let moves = match self.engines[0].propose_moves(&placed, self.fleet.moves) {
            Ok(moves) => moves,
            Err(error) => {
                self.notes.failed(&error);
                return 0;
            }
        };
        for one in &moves {
            let ((agent, _), Some(to)) = (agents[one.agent], Host::nth(&one.to)) else { continue };
            match self.hosts[to].accept(agent, self.trace.get(agent).size) {
                Ok(()) => {
                    self.let_go(agent);
                    self.started(agent, to);
                    self.notes.moves += 1;
                }
                Err(why) => self.notes.host_refused(why),
            }
        }
        moves.len()
    }

    /// Agents on the fullest hosts, each with its host.
    fn movable(&self) -> Vec<(usize, usize)> {
        let sized = self.trace.is_sized();
        let mut hosts: Vec<usize> =
            (0..self.hosts.len()).filter(|host| self.hosts[*host].is_open()).collect();
        hosts.sort_by(|one, other| self.hosts[*other].load(sized).total_cmp(&self.hosts[*one].load(sized)));
        let agents =
            hosts.into_iter().flat_map(|host| self.hosts[host].agents.iter().map(move |one| (*one, host)));
        agents.take(MOVABLE).collect()
    }

    /// Hosts are told to drain: their agents are placed elsewhere.
    pub(super) fn drains(&mut self, hosts: usize) {
        let open = (0..self.hosts.len()).rev().filter(|host| self.hosts[*host].is_open());
        let hosts: Vec<usize> = open.take(hosts).collect();
        for host in &hosts {
            self.hosts[*host].state = State::Draining;
            self.agenda.note(self.now + DRAIN, Event::Ends(*host));
        }
        self.tell(&hosts);
        for host in hosts {
            self.notes.drained += self.displace(host);
        }
        self.planned -= 1;
    }

    /// A host that drained leaves the fleet.
    pub(super) fn ends(&mut self, host: usize) {
        self.hosts[host].state = State::Gone;
        self.observe(&[FleetChange::Remove(self.hosts[host].id.clone())]);
    }

    pub(super) fn dies(&mut self) {
        let host = self.chance.random_range(0..self.hosts.len());
        if self.hosts[host].is_open() {
            self.hosts[host].state = State::Dead;
            self.agenda.note(self.now + LEASE, Event::IsMissed(host));
            self.agenda.note(self.now + AWAY, Event::Returns(host));
        }
        self.die_later();
    }

    pub(super) fn die_later(&mut self) {
        if let Some(mean) = self.fleet.deaths_every {
            let next = self.now + seconds(exponential(&mut self.chance, mean));
            self.agenda.note(next, Event::Dies);
        }
    }

    pub(super) fn is_missed(&mut self, host: usize) {
        self.observe(&[FleetChange::Remove(self.hosts[host].id.clone())]);
        self.notes.restarted += self.displace(host);
    }

    pub(super) fn returns(&mut self, host: usize) {
        self.hosts[host].state = State::Open;
        self.tell(&[host]);
    }

    /// All agents of a host need another one. Answers how many there were.
    fn displace(&mut self, host: usize) -> u64 {
        let agents: Vec<usize> = self.hosts[host].agents.iter().copied().collect();
        for agent in &agents {
            self.let_go(*agent);
            self.wait_from_now(*agent);
        }
        agents.len() as u64
    }
}
