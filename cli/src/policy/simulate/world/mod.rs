//! Hosts, engines and time.
//!
//! As in a real fleet, an engine knows of a host what that last reported, and what its own
//! policy has placed there since; the host alone knows whether it has room, and refuses
//! when it has none. A host that dies is known to be dead when its lease is over, and its
//! agents are placed again then.
//!
//! `placing.rs` finds hosts for agents, `scaling.rs` has hosts come and go.

mod placing;
mod scaling;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use guildhall::placement::{FleetChange, PlacementService, Policy};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    Span,
    agenda::{Agenda, Event},
    host::Host,
    look::Look,
    notes::Notes,
    options::Fleet,
    seconds,
    trace::Trace,
};

/// Groups of hosts that report at one moment: enough that reports are spread over the time
/// between two, few enough that an engine learns of many hosts in one call.
const REPORT_GROUPS: usize = 200;

pub(super) struct World<'a> {
    fleet: &'a Fleet,
    trace: &'a Trace,
    span: Span,
    now: Duration,
    hosts: Vec<Host>,
    /// The hosts that report at one moment.
    groups: Vec<Vec<usize>>,
    /// One placement service for each engine.
    engines: Vec<PlacementService>,
    lives: Vec<Life>,
    /// The next agent to come.
    coming: usize,
    /// Agents that have come, and have no host.
    waiting: usize,
    /// Changes of the fleet's size that are to come.
    planned: usize,
    /// The agents of each guild that have a host, if the policy wants to know.
    peers: Option<Vec<BTreeSet<usize>>>,
    tickets: u64,
    agenda: Agenda,
    chance: StdRng,
    notes: Notes,
}

/// One agent's life.
#[derive(Clone, Copy, Default)]
struct Life {
    host: Option<usize>,
    /// How often it was started.
    lives: u32,
    /// When it came, or lost its host.
    since: Duration,
    leaves: Duration,
}

impl<'a> World<'a> {
    pub(super) fn new(
        fleet: &'a Fleet,
        trace: &'a Trace,
        span: Span,
        (policy, settings): (&Policy, &serde_json::Value),
        seed: u64,
    ) -> anyhow::Result<Self> {
        let engine = |_| PlacementService::new(policy.clone(), settings, Default::default());
        let engines: Vec<_> = (0..fleet.engines).map(engine).collect::<Result<_, _>>()?;
        let peers = engines[0].needs().peers.then(|| vec![BTreeSet::new(); trace.guilds().len()]);
        let mut world = Self {
            fleet,
            trace,
            span,
            now: Duration::ZERO,
            hosts: Vec::new(),
            groups: vec![Vec::new(); fleet.hosts.min(REPORT_GROUPS)],
            engines,
            lives: vec![Life::default(); trace.len()],
            coming: trace.warm(),
            waiting: 0,
            planned: fleet.scale_out.len() + fleet.scale_in.len(),
            peers,
            tickets: 0,
            agenda: Agenda::default(),
            chance: StdRng::seed_from_u64(seed ^ 0x5eed),
            notes: Notes::default(),
        };
        world.join(fleet.hosts)?;
        world.warm_up();
        world.plan();
        Ok(world)
    }

    /// What is known to happen from the beginning.
    fn plan(&mut self) {
        self.tell((0..self.hosts.len()).collect::<Vec<_>>().as_slice());
        let every = seconds(self.fleet.report_every);
        for group in 0..self.groups.len() {
            let share = (group + 1) as f64 / self.groups.len() as f64;
            self.agenda.note(every.mul_f64(share), Event::Reports(group));
        }
        for scale in &self.fleet.scale_out {
            self.agenda.note(scale.at, Event::Joins(scale.hosts));
        }
        for scale in &self.fleet.scale_in {
            self.agenda.note(scale.at, Event::Drains(scale.hosts));
        }
        self.agenda.note(self.span.look_every, Event::Look);
        self.die_later();
    }

    /// Lays the agents that are there at the beginning evenly on the hosts.
    fn warm_up(&mut self) {
        let slots: u64 = self.hosts.iter().map(|host| u64::from(host.capacity())).sum();
        let warm = self.trace.warm();
        let (mut host, mut before) = (0, 0);
        for agent in 0..warm {
            // The slot that is as far among all slots as the agent is among the agents.
            let slot = (agent as u128 * u128::from(slots) / warm as u128) as u64;
            while slot >= before + u64::from(self.hosts[host].capacity()) && host + 1 < self.hosts.len() {
                before += u64::from(self.hosts[host].capacity());
                host += 1;
            }
            match self.hosts[host].accept(agent, self.trace.get(agent).size) {
                Ok(()) => self.started(agent, host),
                Err(_) => self.wait_from_now(agent),
            }
        }
    }

    /// Has everything happen, until the end.
    pub(super) fn live(mut self) -> anyhow::Result<Notes> {
        while !self.is_over() {
            let event = self.agenda.next_at();
            let arrival = (self.coming < self.trace.len()).then(|| self.trace.get(self.coming).arrives);
            let next = arrival.into_iter().chain(event).min().unwrap_or_default();
            if self.span.until.is_some_and(|until| next > until) {
                break;
            }
            self.now = next;
            if arrival == Some(next) {
                self.coming += 1;
                self.comes(self.coming - 1)?;
            } else if let Some((_, event)) = self.agenda.next() {
                self.happens(event)?;
            }
        }
        let mut loads = self.open_loads();
        loads.sort_by(f64::total_cmp);
        self.notes.ended(self.now, loads);
        Ok(self.notes)
    }

    /// Unless told how long to go on: until everyone has come and nobody waits.
    fn is_over(&self) -> bool {
        self.span.until.is_none() && self.coming == self.trace.len() && self.waiting == 0 && self.planned == 0
    }

    fn happens(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Leaves { agent, life } => {
                if self.lives[agent].lives == life {
                    self.let_go(agent);
                }
            }
            Event::Asks(agent) => self.asks(agent)?,
            Event::Reports(group) => {
                let hosts = std::mem::take(&mut self.groups[group]);
                self.tell(&hosts);
                self.groups[group] = hosts;
                self.agenda.note(self.now + seconds(self.fleet.report_every), Event::Reports(group));
            }
            Event::Dies => self.dies(),
            Event::IsMissed(host) => self.is_missed(host),
            Event::Returns(host) => self.returns(host),
            Event::Joins(hosts) => self.joins(hosts)?,
            Event::Drains(hosts) => self.drains(hosts),
            Event::Ends(host) => self.ends(host),
            Event::Rebalances => self.rebalances(),
            Event::Look => {
                let look = Look::at(self.now, &self.open_loads(), self.waiting);
                let look = look.with_fragmentation(&self.hosts, self.trace.typical());
                self.notes.looked(look, self.now >= self.span.warm_up);
                if self.now + self.span.look_every <= self.span.last_look {
                    self.agenda.note(self.now + self.span.look_every, Event::Look);
                }
            }
        }
        Ok(())
    }

    fn open_loads(&self) -> Vec<f64> {
        let sized = self.trace.is_sized();
        self.hosts.iter().filter(|host| host.is_open()).map(|host| host.load(sized)).collect()
    }

    /// All engines learn what these hosts, or those of them that live, say of themselves.
    fn tell(&mut self, hosts: &[usize]) {
        let sized = self.trace.is_sized();
        let reports: Vec<_> = hosts
            .iter()
            .map(|host| &self.hosts[*host])
            .filter(|host| host.reports())
            .map(|host| FleetChange::Upsert(host.report(sized)))
            .collect();
        self.observe(&reports);
    }

    /// All engines learn of it at once, as from the registry.
    fn observe(&mut self, changes: &[FleetChange]) {
        for engine in &self.engines {
            let changes = changes.to_vec();
            let (begun, reports) = (Instant::now(), changes.len());
            engine.observe(changes);
            self.notes.learned(begun.elapsed(), reports);
        }
    }
}
