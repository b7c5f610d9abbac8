//! One run: a fleet, its clients, what goes wrong, and what must be so at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use guildhall::{
    agent::AgentState,
    host::{Consistency, LeaseId, LeaseTerms},
    ids::{AgentId, AgentKey, GuildId},
    launch::{Json, Launch},
    registry::Registry,
};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    book::Word,
    chance::seed_thread,
    host::{SimulatedHost, Site},
    world::{Cut, Planted, World},
};
use crate::clock::Clock;

/// The length of a lease, as shipped.
const LEASE: Duration = Duration::from_secs(10);

/// Machines at most, those included that are added.
const MOST_MACHINES: usize = 6;

/// How unlike clocks run, in thousandths: the slowest and the fastest differ by less than a
/// tenth, and a hundredth is left for the fence.
const PACES: (u64, u64) = (953, 1047);

/// What is allowed beside the patience of leases that nobody can vote about: restarts and
/// retries that wait.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

/// What a run came to.
pub(super) struct Outcome {
    pub(super) violations: Vec<String>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) digest: u64,
    /// Simulated time from the end of all faults until all agents ran.
    pub(super) took: Duration,
}

/// Runs a seed. To be called on a thread of its own.
pub(super) fn simulate(seed: u64, planted: Planted, aloud: bool) -> Outcome {
    seed_thread(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let run = Run::new(World::new(seed, planted, aloud));
        let took = run.whole().await;
        let mut book = run.world.book();
        Outcome {
            violations: std::mem::take(&mut book.violations),
            counts: std::mem::take(&mut book.counts),
            digest: book.digest,
            took,
        }
    })
}

#[derive(Clone)]
struct Run {
    world: Arc<World>,
    terms: LeaseTerms,
    sites: Arc<Mutex<Vec<Site>>>,
    hosts: Arc<Mutex<BTreeMap<usize, SimulatedHost>>>,
    /// Starts and stops of hosts, and calls of clients.
    busy: TaskTracker,
    agents: Arc<Mutex<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run {
    fn new(world: Arc<World>) -> Self {
        let patience = [0, 20, 40, 40, 60][world.between(0, 4) as usize];
        let terms = LeaseTerms {
            length: LEASE,
            consistency: Consistency::Strict,
            outage_patience: Duration::from_secs(patience),
        };
        let (sites, hosts, agents) = Default::default();
        Self { world, terms, sites, hosts, busy: TaskTracker::new(), agents }
    }

    async fn whole(&self) -> Duration {
        for _ in 0..self.world.between(3, 5) {
            self.add_machine();
        }
        sleep(Duration::from_secs(2)).await;
        for _ in 0..self.world.between(3, 7) {
            self.create();
        }
        sleep(Duration::from_secs(10)).await;
        let watch = tokio::spawn(self.clone().watch());
        let end = Instant::now() + self.world.millis(60_000, 180_000);
        while Instant::now() < end && self.world.book().violations.is_empty() {
            self.harm();
            sleep(self.world.millis(100, 9_000)).await;
        }
        let took = self.heal().await;
        watch.abort();
        took
    }

    fn add_machine(&self) {
        let machine = lock(&self.sites).len();
        let pace = u32::try_from(self.world.between(PACES.0, PACES.1)).unwrap_or(1000);
        let site = Site {
            world: Arc::clone(&self.world),
            machine,
            clock: Clock::Paced { start: Instant::now(), pace },
            terms: self.terms,
            noted: self.world.permille(500).then(|| Arc::new(Mutex::new(LeaseId::none()))),
        };
        lock(&self.sites).push(site.clone());
        self.start(site, Duration::ZERO);
    }

    fn start(&self, site: Site, after: Duration) {
        let hosts = Arc::clone(&self.hosts);
        self.busy.spawn(async move {
            sleep(after).await;
            let machine = site.machine;
            let host = SimulatedHost::start(site).await;
            lock(&hosts).insert(machine, host);
        });
    }

    /// A machine on which a host runs now.
    fn any(&self) -> Option<usize> {
        let running: Vec<_> = lock(&self.hosts).keys().copied().collect();
        let last = running.len().checked_sub(1)? as u64;
        Some(running[self.world.between(0, last) as usize])
    }

    /// Some of the machines: one mostly, now and then more, or all.
    fn some(&self) -> Vec<usize> {
        let all = lock(&self.sites).len();
        let share = [0, 0, 500, 1000][self.world.between(0, 3) as usize];
        let one = self.world.between(0, all as u64 - 1) as usize;
        (0..all).filter(|machine| *machine == one || self.world.permille(share)).collect()
    }

    fn how_long(&self) -> Duration {
        match self.world.between(0, 3) {
            0 => self.world.millis(200, 4_000),
            1 => self.world.millis(4_000, 12_000),
            2 => self.world.millis(8_000, 25_000),
            _ => self.world.millis(20_000, 70_000),
        }
    }

    fn later(&self, after: Duration, what: impl FnOnce(&World) + Send + 'static) {
        let world = Arc::clone(&self.world);
        tokio::spawn(async move {
            sleep(after).await;
            what(&world);
        });
    }

    /// Does one thing that goes wrong, or that clients and operators do.
    fn harm(&self) {
        let world = &self.world;
        let lasts = self.how_long();
        match world.between(0, 99) {
            0..20 => {
                let machines = self.some();
                let cut = [Cut::Whole, Cut::Whole, Cut::Answers, Cut::Late][world.between(0, 3) as usize];
                world.book().note(&format!("registry cut off ({cut:?}) from {machines:?} for {lasts:?}"));
                world.net(|net| net.cut.extend(machines.iter().map(|machine| (*machine, cut))));
                self.later(lasts, move |world| {
                    world.book().note(&format!("registry back for {machines:?}"));
                    world.net(|net| net.cut.retain(|machine, _| !machines.contains(machine)));
                });
            }
            20..35 => {
                let all = lock(&self.sites).len();
                let side = self.some();
                let (out, back) = [(true, true), (true, false), (false, true)][world.between(0, 2) as usize];
                let mut links = BTreeSet::new();
                for (a, b) in side.iter().flat_map(|a| (0..all).map(move |b| (*a, b))) {
                    if !side.contains(&b) || side.len() == all {
                        links.extend(out.then_some((a, b)));
                        links.extend(back.then_some((b, a)));
                    }
                }
                world.book().note(&format!("links {links:?} cut for {lasts:?}"));
                world.net(|net| net.links.extend(links.iter().copied()));
                self.later(lasts, move |world| world.net(|net| net.links.retain(|it| !links.contains(it))));
            }
            35..50 => {
                let Some(machine) = self.any() else { return };
                let Some(gate) = lock(&self.hosts).get(&machine).map(|host| host.gate.clone()) else {
                    return;
                };
                let lasts = lasts.min(Duration::from_secs(30));
                world.book().note(&format!("h{machine} is held for {lasts:?}"));
                gate.hold(true);
                self.later(lasts, move |world| {
                    world.book().note(&format!("h{machine} goes on"));
                    gate.hold(false);
                });
            }
            50..60 => {
                let Some(host) = self.any().and_then(|machine| lock(&self.hosts).remove(&machine)) else {
                    return;
                };
                let site = host.site();
                host.crash();
                self.start(site, lasts.min(Duration::from_secs(40)));
            }
            60..64 => {
                let Some(host) = self.any().and_then(|machine| lock(&self.hosts).remove(&machine)) else {
                    return;
                };
                let (run, back) = (self.clone(), lasts.min(Duration::from_secs(20)));
                self.busy.spawn(async move {
                    let site = host.site();
                    host.drain().await;
                    run.start(site, back);
                });
            }
            64..70 => {
                let (noise, slow) = (world.between(0, 200), world.between(10, 3_000));
                world.book().note(&format!("noise {noise}, delays {slow} ms, for {lasts:?}"));
                world.net(|net| (net.noise, net.slow) = (noise, slow));
                self.later(lasts, |world| world.net(|net| (net.noise, net.slow) = (0, 10)));
            }
            70..74 if lock(&self.sites).len() < MOST_MACHINES => self.add_machine(),
            70..85 => self.create(),
            _ => self.stop(),
        }
    }

    fn create(&self) {
        let Some(machine) = self.any() else { return };
        let number = {
            let mut agents = lock(&self.agents);
            *agents += 1;
            *agents
        };
        let guild = GuildId::new("g").expect("a valid id");
        let key = AgentKey::new(guild, AgentId::new(format!("a{number}")).expect("a valid id"));
        let Some(supervisor) = lock(&self.hosts).get(&machine).map(|host| host.supervisor.clone()) else {
            return;
        };
        let world = Arc::clone(&self.world);
        self.busy.spawn(async move {
            let creating = supervisor.create(launch(&key), format!("request-{number}"));
            let word = match timeout(Duration::from_secs(20), creating).await {
                Ok(Ok(_)) => Word::Accepted,
                _ => Word::InDoubt,
            };
            world.book().told(&key, word);
        });
    }

    fn stop(&self) {
        let accepted = self.world.book().accepted();
        // Enough are left to be lost.
        if accepted.len() < 3 {
            return;
        }
        let key = accepted[self.world.between(0, accepted.len() as u64 - 1) as usize].clone();
        let hosts: Vec<_> = lock(&self.hosts).values().map(|host| host.supervisor.clone()).collect();
        self.world.book().told(&key, Word::InDoubt);
        let world = Arc::clone(&self.world);
        self.busy.spawn(async move {
            let Ok(Some(claimed)) = world.memory.agent(&key).await else { return };
            let there = hosts.into_iter().find(|host| {
                host.get(&key)
                    .is_some_and(|agent| agent.epoch == claimed.agent.epoch && agent.state.is_live())
            });
            let Some(there) = there else { return };
            let stopped = timeout(Duration::from_secs(20), there.stop(&key, None)).await;
            // Released, and not only forgotten by one that was not the holder any more.
            if let (Ok(Ok(_)), Ok(None)) = (stopped, world.memory.agent(&key).await) {
                world.book().told(&key, Word::Stopped);
            }
        });
    }

    /// Counts the hosts that go on without the registry.
    async fn watch(self) {
        loop {
            sleep(Duration::from_secs(1)).await;
            let overdue = self.world.memory.overdue().await.unwrap_or_default();
            let overdue: Vec<_> = overdue.into_iter().map(|overdue| overdue.host.id).collect();
            if !overdue.is_empty() {
                let hosts = lock(&self.hosts);
                let beyond = hosts.values().filter(|host| host.outlives_its_lease(&overdue)).count();
                (0..beyond).for_each(|_| self.world.book().count("beyond a lease"));
            }
        }
    }

    /// Ends all faults, waits until all is well, and judges.
    async fn heal(&self) -> Duration {
        let Self { world, terms, .. } = self;
        // Those that still begin to be held, or cut off, were to be healed by now.
        sleep(Duration::from_secs(1)).await;
        world.book().note("all is healed");
        world.failing.send_replace(false);
        world.net(|net| *net = super::world::Net { slow: 10, ..Default::default() });
        lock(&self.hosts).values().for_each(|host| host.gate.hold(false));
        let began = Instant::now();
        let within = (terms.outage_patience + terms.length).mul_f64(1.3) + SETTLES_WITHIN;
        self.busy.close();
        let mut excused = BTreeSet::new();
        while began.elapsed() < within && world.book().violations.is_empty() {
            sleep(Duration::from_millis(500)).await;
            excused = self.recorded_as_ended().await;
            let book = world.book();
            let all = book.accepted().iter().all(|key| book.is_live(key) || excused.contains(key));
            if all && self.busy.is_empty() {
                break;
            }
        }
        let took = began.elapsed();
        self.explain(&excused).await;
        world.book().judge(&excused);
        // What was late may still do harm.
        sleep(Duration::from_secs(30)).await;
        took
    }

    /// Notes what the registry and the hosts know of agents that should run and do not.
    async fn explain(&self, excused: &BTreeSet<AgentKey>) {
        let accepted = self.world.book().accepted();
        for key in accepted {
            if self.world.book().is_live(&key) || excused.contains(&key) {
                continue;
            }
            let record = self.world.memory.agent(&key).await;
            self.world.book().note(&format!("the registry has {record:?}"));
            for (machine, host) in &*lock(&self.hosts) {
                let agent = host.supervisor.get(&key).map(|agent| (agent.epoch, agent.state));
                let lease = host.lease();
                self.world.book().note(&format!("h{machine} under {lease:?} has {agent:?}"));
            }
        }
    }

    /// Those that have failed, and are recorded so.
    async fn recorded_as_ended(&self) -> BTreeSet<AgentKey> {
        let guild = GuildId::new("g").expect("a valid id");
        let all = self.world.memory.agents_in_guild(&guild).await.unwrap_or_default();
        let ended = all.into_iter().map(|claimed| claimed.agent);
        ended
            .filter(|agent| matches!(agent.state, AgentState::Failed | AgentState::Finished))
            .map(|agent| agent.key)
            .collect()
    }
}

fn launch(key: &AgentKey) -> Launch {
    Launch {
        key: key.clone(),
        name: "an agent".to_owned(),
        class_name: "examples.Echo".to_owned(),
        agent_spec: Json::empty(),
        guild_spec: Json::empty(),
        messaging: Json::empty(),
        client_type: String::new(),
        client_properties: Json::empty(),
        organization_id: String::new(),
        machine_id: 1,
        default_topic: String::new(),
        runner: None,
        labels: Default::default(),
        resources: Default::default(),
        qos: Default::default(),
        placed_by: None,
    }
}
