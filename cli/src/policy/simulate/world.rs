//! Hosts, engines and time.
//!
//! As in a real fleet, an engine knows of a host what that last reported, and what its own
//! policy has placed there since; the host alone knows whether it has room, and refuses
//! when it has none. A host that dies is known to be dead when its lease is over, and its
//! agents are placed again then.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    time::{Duration, Instant},
};

use guildhall::{
    ids::HostId,
    placement::{Candidate, FleetChange, Load, PlaceError, PlacementRequest, PlacementService, Policy},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Fleet,
    outcome::{Notes, Outcome},
    seconds,
    trace::{Trace, exponential},
};

/// From a host's death to its agents being placed again: the lease.
const LEASE: Duration = Duration::from_secs(10);

/// From a host's death to its return.
const AWAY: Duration = Duration::from_secs(60);

/// From one attempt to find a host for a waiting agent to the next, and until it is given up.
const RETRY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(600);

/// Hosts that are asked in one attempt.
const HOSTS_ASKED: usize = 5;

/// From one look at the loads to the next.
const LOOK: Duration = Duration::from_secs(10);

pub(super) struct World {
    hosts: Vec<Host>,
    /// One placement service for each engine.
    engines: Vec<PlacementService>,
    policy: Policy,
    report_every: Duration,
    deaths_every: Option<f64>,
    chance: StdRng,
    tickets: u64,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    /// Events so far: of those of one moment, the first comes first.
    numbered: u64,
    notes: Notes,
}

struct Host {
    id: HostId,
    capacity: u32,
    agents: BTreeSet<usize>,
    alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(usize),
    /// Of its `life`th life, since a host's death begins another.
    Leaves {
        agent: usize,
        life: u32,
    },
    Waits(usize),
    Reports(usize),
    Dies,
    IsMissed(usize),
    Returns(usize),
    Look,
}

/// One agent's life.
#[derive(Clone, Copy, Default)]
struct Life {
    host: Option<usize>,
    lives: u32,
    /// When it came, or lost its host.
    since: Duration,
    leaves: Duration,
}

impl World {
    pub(super) fn new(
        fleet: &Fleet,
        policy: &Policy,
        settings: &serde_json::Value,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let host = |nth: usize| {
            let capacity = match (fleet.mixed, nth % 3) {
                (true, 1) => fleet.capacity / 2,
                (true, 2) => fleet.capacity * 2,
                _ => fleet.capacity,
            };
            let id = HostId::new(format!("host-{nth:05}"))?;
            Ok(Host { id, capacity, agents: BTreeSet::new(), alive: true })
        };
        let engine = |_| PlacementService::new(policy.clone(), settings, Default::default());
        Ok(Self {
            hosts: (0..fleet.hosts).map(host).collect::<anyhow::Result<_>>()?,
            engines: (0..fleet.engines).map(engine).collect::<Result<_, _>>()?,
            policy: policy.clone(),
            report_every: seconds(fleet.report_every),
            deaths_every: fleet.deaths_every,
            chance: StdRng::seed_from_u64(seed ^ 0x5eed),
            tickets: 0,
            events: BinaryHeap::new(),
            numbered: 0,
            notes: Notes::default(),
        })
    }

    /// What comes of these agents.
    pub(super) fn live_through(mut self, trace: &Trace) -> anyhow::Result<Outcome> {
        let mut lives = vec![Life::default(); trace.len()];
        let mut open = trace.len();
        for (agent, coming) in trace.iter().enumerate() {
            self.at(coming.arrives, Event::Arrives(agent));
        }
        for host in 0..self.hosts.len() {
            self.tell(FleetChange::Upsert(self.hosts[host].report()));
            // Not all at once, as in a real fleet.
            let first = self.report_every.mul_f64(self.chance.random());
            self.at(first, Event::Reports(host));
        }
        self.at(LOOK, Event::Look);
        self.die_later(Duration::ZERO);
        while open > 0
            && let Some(Reverse((now, _, event))) = self.events.pop()
        {
            match event {
                Event::Arrives(agent) => {
                    lives[agent].since = now;
                    lives[agent].leaves = now + trace.get(agent).stays;
                    open -= usize::from(!self.place(now, agent, trace, &mut lives[agent])?);
                }
                Event::Waits(agent) => {
                    open -= usize::from(!self.place(now, agent, trace, &mut lives[agent])?);
                }
                Event::Leaves { agent, life } => {
                    if lives[agent].lives == life
                        && let Some(host) = lives[agent].host.take()
                    {
                        self.hosts[host].agents.remove(&agent);
                        open -= 1;
                    }
                }
                Event::Reports(host) => {
                    if self.hosts[host].alive {
                        self.tell(FleetChange::Upsert(self.hosts[host].report()));
                    }
                    self.at(now + self.report_every, Event::Reports(host));
                }
                Event::Dies => {
                    let host = self.chance.random_range(0..self.hosts.len());
                    if std::mem::replace(&mut self.hosts[host].alive, false) {
                        self.at(now + LEASE, Event::IsMissed(host));
                        self.at(now + AWAY, Event::Returns(host));
                    }
                    self.die_later(now);
                }
                Event::IsMissed(host) => {
                    self.tell(FleetChange::Remove(self.hosts[host].id.clone()));
                    for agent in std::mem::take(&mut self.hosts[host].agents) {
                        lives[agent].host = None;
                        lives[agent].since = now;
                        self.notes.moved += 1;
                        self.at(now, Event::Waits(agent));
                    }
                }
                Event::Returns(host) => {
                    self.hosts[host].alive = true;
                    self.tell(FleetChange::Upsert(self.hosts[host].report()));
                }
                Event::Look => {
                    self.notes.look(self.hosts.iter().filter(|host| host.alive).map(Host::load));
                    self.at(now + LOOK, Event::Look);
                }
            }
        }
        Ok(self.notes.outcome((**self.policy.identity()).clone()))
    }

    /// Finds a host for an agent, or lets it wait. Answers whether it is still to be
    /// reckoned with.
    fn place(&mut self, now: Duration, agent: usize, trace: &Trace, life: &mut Life) -> anyhow::Result<bool> {
        if now >= life.leaves {
            // Its time passed while it waited for another host.
            return Ok(false);
        }
        let mut request = PlacementRequest::new(trace.get(agent).key.clone());
        for _ in 0..HOSTS_ASKED {
            request.ticket = Some(self.tickets);
            self.tickets += 1;
            let begun = Instant::now();
            let placed = self.engines[agent % self.engines.len()].place(&request);
            self.notes.deciding += begun.elapsed();
            self.notes.decisions += 1;
            let chosen = match placed {
                Ok(decision) => decision.host,
                Err(PlaceError::Refused { .. }) => {
                    self.notes.refused_by_policy += 1;
                    break;
                }
                Err(_) => {
                    self.notes.failed += 1;
                    break;
                }
            };
            let Ok(at) = self.hosts.binary_search_by(|host| host.id.cmp(&chosen)) else { break };
            if self.hosts[at].accept(agent) {
                life.lives += 1;
                life.host = Some(at);
                self.notes.placed += u64::from(life.lives == 1);
                self.notes.waited(now - life.since);
                self.at(life.leaves, Event::Leaves { agent, life: life.lives });
                return Ok(true);
            }
            self.notes.refused_by_hosts += 1;
            request.excluded.push(chosen);
        }
        if now - life.since > PATIENCE {
            self.notes.given_up += 1;
            return Ok(false);
        }
        if life.lives == 0 {
            // It stays as long as it wanted to, from its start on.
            life.leaves += RETRY;
        }
        self.at(now + RETRY, Event::Waits(agent));
        Ok(true)
    }

    fn die_later(&mut self, now: Duration) {
        if let Some(mean) = self.deaths_every {
            let next = now + seconds(exponential(&mut self.chance, mean));
            self.at(next, Event::Dies);
        }
    }

    /// All engines learn of it at once, as from the registry.
    fn tell(&self, change: FleetChange) {
        for engine in &self.engines {
            engine.observe([change.clone()]);
        }
    }

    fn at(&mut self, when: Duration, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((when, self.numbered, event)));
    }
}

impl Host {
    /// Takes an agent, if it lives and has room.
    fn accept(&mut self, agent: usize) -> bool {
        let takes = self.alive && self.agents.len() < self.capacity as usize;
        takes && self.agents.insert(agent)
    }

    fn load(&self) -> f64 {
        self.agents.len() as f64 / f64::from(self.capacity.max(1))
    }

    /// What it says of itself: an agent uses its share of CPU and memory.
    fn report(&self) -> Candidate {
        let running = u32::try_from(self.agents.len()).unwrap_or(u32::MAX);
        Candidate {
            running,
            load: Load {
                cpu_fraction: self.load().min(1.0),
                memory_used: u64::from(running) << 20,
                memory_total: u64::from(self.capacity) << 20,
                ..Load::default()
            },
            ..Candidate::new(self.id.clone(), self.capacity)
        }
    }
}
