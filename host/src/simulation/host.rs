//! One host: the product's own parts, wired as `Host::start` does, on a simulated machine.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use guildhall::{
    agent::AgentInfo,
    engine::EngineError,
    host::{HostEvent, HostInfo, LeaseId, LeaseTerms, LiveHost},
    ids::{AgentKey, HostId},
    launch::Launch,
    placement::{PolicyIdentity, Sha256Digest},
    registry::Registry,
};
use guildhall_proto::v1::{self, peer_service_server::PeerService};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::{
    processes::Machine,
    registry::FarRegistry,
    world::{Gate, Planted, Reached, World, machine_of},
};
use crate::{
    clock::{BootInstant, Clock},
    failover::{Failover, HostFinder},
    fence::{Fence, FenceBy},
    peer_service::Peer,
    runner::{Runner, RunnerTable},
    supervisor::{Supervisor, SupervisorConfig},
    tenure::{self, Asked, Ballot, Ballots, Keeper, Peers, Tenure},
};

/// Hosts that an agent without one is offered to at most.
const OFFERS: usize = 3;

/// How long a drain may take.
const DRAINS_WITHIN: Duration = Duration::from_secs(20);

/// What a machine is, for the whole run.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) world: Arc<World>,
    pub(super) machine: usize,
    pub(super) clock: Clock,
    pub(super) terms: LeaseTerms,
    /// The lease of the host that ran here last, where it keeps a state.
    pub(super) noted: Option<Arc<Mutex<LeaseId>>>,
}

/// A host that runs.
pub(super) struct SimulatedHost {
    pub(super) supervisor: Supervisor,
    pub(super) machine: Arc<Machine>,
    pub(super) gate: Gate,
    info: watch::Sender<HostInfo>,
    lease: watch::Receiver<LeaseId>,
    finder: Arc<Finder>,
    dead: CancellationToken,
    ending: CancellationToken,
    keeper: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
    site: Site,
}

impl SimulatedHost {
    /// Starts one, however long that takes.
    pub(super) async fn start(site: Site) -> Self {
        let Site { world, machine, clock, terms, noted } = site.clone();
        let (gate, dead) = (Gate::new(), CancellationToken::new());
        let registry: Arc<dyn Registry> = Arc::new(FarRegistry {
            world: Arc::clone(&world),
            machine,
            gate: gate.clone(),
            dead: dead.clone(),
        });
        let policy =
            PolicyIdentity { name: "none".to_owned(), sha256: Sha256Digest::of(b"there is no policy") };
        let id = HostId::new(format!("h{machine}")).expect("a valid id");
        let info = HostInfo {
            id: id.clone(),
            endpoint: format!("http://{id}:1"),
            labels: Default::default(),
            capacity: 100,
            allocatable: None,
            draining: false,
            load: Default::default(),
            policy: policy.clone(),
            terms,
        };
        let lock = |noted: &Mutex<LeaseId>| noted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(before) = noted.as_deref().map(lock).filter(|lease| *lease != LeaseId::none()) {
            while registry.leave(&id, &before).await.is_err() {
                sleep(Duration::from_secs(1)).await;
            }
            world.book().note(&format!("{id} has buried its predecessor's lease"));
            world.book().count("predecessors buried");
        }
        let (fresh, registered) = loop {
            if let Ok(Ok(registered)) =
                timeout(Duration::from_secs(30), tenure::register(&*registry, &info, clock)).await
            {
                break registered;
            }
            sleep(Duration::from_secs(1)).await;
        };
        world.book().note(&format!("{id} starts"));
        let note = move |lease: &LeaseId| {
            if let Some(noted) = &noted {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = lease.clone();
            }
        };
        note(&fresh);
        let lease = watch::Sender::new(fresh);
        let tenure = Arc::new(Tenure::new(clock));
        let processes = Arc::new(Machine {
            world: Arc::clone(&world),
            machine,
            gate: gate.clone(),
            dead: dead.clone(),
            clock,
            tenure: Arc::clone(&tenure),
            live: Mutex::default(),
        });
        let heard = match world.planted {
            Planted::NoFence => {
                let deaf = Tenure::new(clock);
                deaf.extend(BootInstant::from_nanos(u64::MAX));
                Arc::new(deaf)
            }
            _ => Arc::clone(&tenure),
        };
        let mut config = SupervisorConfig::new(id.clone(), "/");
        config.fence = FenceBy::Nothing;
        config.stop_grace = Duration::from_secs(5);
        let fence = Arc::new(Fence::start(FenceBy::Nothing, None).expect("no fence needs nothing"));
        let supervisor = Supervisor::with_processes(
            config,
            RunnerTable::from_iter([Runner::new("any", "/none")]),
            Arc::clone(&registry),
            lease.subscribe(),
            heard,
            fence,
            Arc::clone(&processes) as _,
        );
        let info = watch::Sender::new(info);
        let held = lease.subscribe();
        let contact = watch::Sender::new(None);
        let (probe, probes) = tenure::probes(terms.length);
        let ballots: Arc<Mutex<Ballots>> = Arc::default();
        let ballot = Ballot { ballots: Arc::clone(&ballots), probe, clock };
        let peers: Arc<dyn Peers> =
            Arc::new(FarPeers { world: Arc::clone(&world), machine, own: ballot.clone() });
        let keeper = Keeper {
            registry: Arc::clone(&registry),
            supervisor: supervisor.clone(),
            info: info.clone(),
            policy: watch::Sender::new(Arc::new(policy)).subscribe(),
            lease,
            registered,
            in_force: watch::Sender::new(true),
            contact: contact.clone(),
            terms,
            // Nobody looks at the load.
            interval: Duration::from_secs(24 * 3600),
            clock,
            tenure: Arc::clone(&tenure),
            ballots,
            peers: Arc::clone(&peers),
            note: Box::new(note),
        };
        let ending = CancellationToken::new();
        let keeper = tokio::spawn(gate.clone().through(keeper.run(probes, ending.clone())));
        let finder = Arc::new(Finder { world: Arc::clone(&world), machine, hosts: Mutex::default() });
        let mut tasks = Vec::new();
        tasks.push(tokio::spawn(gate.clone().through(Arc::clone(&finder).follow(registry.watch_hosts()))));
        let failover = Failover {
            host: id,
            registry: Arc::clone(&registry),
            engine: Arc::clone(&finder) as _,
            peers,
            probe: ballot.probe.clone(),
            contact: contact.subscribe(),
            tenure,
            terms,
            clock,
        };
        tasks.push(tokio::spawn(gate.clone().through(failover.run(ending.clone()))));
        if world.planted != Planted::NoFence {
            tasks.push(tokio::spawn(Arc::clone(&processes).fence()));
        }
        let peer = Arc::new(Peer { supervisor: supervisor.clone(), registry, ballot });
        world.set_reached(machine, Reached { gate: gate.clone(), peer: Some(peer) });
        Self {
            supervisor,
            machine: processes,
            gate,
            info,
            lease: held,
            finder,
            dead,
            ending,
            keeper,
            tasks,
            site,
        }
    }

    /// The lease that it holds.
    pub(super) fn lease(&self) -> LeaseId {
        self.lease.borrow().clone()
    }

    /// What it runs on.
    pub(super) fn site(&self) -> Site {
        self.site.clone()
    }

    /// Whether it goes on although its lease is over.
    pub(super) fn outlives_its_lease(&self, overdue: &[HostId]) -> bool {
        overdue.contains(&self.info.borrow().id)
            && self.machine.tenure.is_held()
            && self.machine.has_processes()
    }

    /// Ends it and all its agents at once.
    pub(super) fn crash(self) {
        self.site.world.book().note(&format!("h{} crashes", self.site.machine));
        self.vanish();
        self.keeper.abort();
        self.tasks.iter().for_each(JoinHandle::abort);
        self.machine.end_all("its host has crashed");
        self.gate.hold(false);
        tokio::spawn(async move { self.supervisor.abort().await });
    }

    fn vanish(&self) {
        self.dead.cancel();
        self.site.world.set_reached(self.site.machine, Reached { gate: self.gate.clone(), peer: None });
    }

    /// Drains and leaves.
    pub(super) async fn drain(self) {
        let Self { supervisor, finder, site, info, .. } = &self;
        site.world.book().note(&format!("h{} drains", site.machine));
        supervisor.cordon();
        info.send_modify(|info| info.draining = true);
        let keys = supervisor.live_keys();
        let moved = futures::future::join_all(keys.into_iter().map(async |key| {
            if let Ok(handed) = supervisor.hand_over(&key, Duration::from_secs(3)).await {
                site.world.book().count("handed over");
                let _ = finder.adopt_agent(&handed.record, &handed.launch).await;
            }
        }));
        // What is left then is an orphan when the lease ends.
        let _ = timeout(DRAINS_WITHIN, moved).await;
        supervisor.shutdown().await;
        self.ending.cancel();
        let _ = self.keeper.await;
        self.dead.cancel();
        self.site.world.set_reached(self.site.machine, Reached { gate: self.gate, peer: None });
        self.tasks.iter().for_each(JoinHandle::abort);
        self.machine.end_all("its host has ended");
        self.site.world.book().note(&format!("h{} has left", self.site.machine));
    }
}

/// Other machines, through the network.
#[derive(Debug)]
struct FarPeers {
    world: Arc<World>,
    machine: usize,
    own: Ballot,
}

#[async_trait]
impl Peers for FarPeers {
    async fn promise(&self, asked: &Asked) -> Result<(), String> {
        let request = v1::PromiseRequest {
            member_lease: asked.member.lease.as_str().to_owned(),
            holder_host_id: asked.holder.to_string(),
            holder_lease: asked.lease.as_str().to_owned(),
            term_ms: u64::try_from(asked.term.as_millis()).unwrap_or(u64::MAX),
        };
        let ask = |peer: Arc<Peer>| async move { peer.promise(Request::new(request)).await };
        let answer = self.world.call(self.machine, &asked.member.host, ask).await?;
        let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
        if answer.granted {
            self.world.book().count("promises");
            Ok(())
        } else {
            Err(answer.refusal)
        }
    }

    async fn vote(&self, asked: &Asked) -> Result<(), String> {
        let loose = self.world.planted == Planted::LooseVotes;
        if machine_of(&asked.member.host) == self.machine {
            let own = self.own.vote(&asked.member.lease, &asked.lease, asked.term);
            return if loose { Ok(()) } else { own.map_err(|refusal| refusal.to_string()) };
        }
        let request = v1::VoteRequest {
            member_lease: asked.member.lease.as_str().to_owned(),
            holder_host_id: asked.holder.to_string(),
            holder_lease: asked.lease.as_str().to_owned(),
            term_ms: u64::try_from(asked.term.as_millis()).unwrap_or(u64::MAX),
        };
        let ask = |peer: Arc<Peer>| async move { peer.vote(Request::new(request)).await };
        let answer = self.world.call(self.machine, &asked.member.host, ask).await?;
        let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
        match answer.granted || loose {
            true => {
                self.world.book().count("votes");
                Ok(())
            }
            false => {
                if answer.refusal.starts_with("bound") {
                    self.world.book().count("votes bound by a promise");
                }
                Err(answer.refusal)
            }
        }
    }
}

/// Offers agents to hosts in no particular order, as an engine does by its policy.
pub(super) struct Finder {
    world: Arc<World>,
    machine: usize,
    hosts: Mutex<Vec<Arc<LiveHost>>>,
}

impl Finder {
    async fn follow(self: Arc<Self>, mut events: futures::stream::BoxStream<'static, HostEvent>) {
        while let Some(event) = events.next().await {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                HostEvent::Snapshot(all) => *hosts = all.into_iter().map(Arc::new).collect(),
                HostEvent::Changed(host) => {
                    hosts.retain(|known| known.info.id != host.info.id);
                    hosts.push(Arc::new(host));
                }
                HostEvent::Removed(gone) => hosts.retain(|known| known.info.id != gone),
                _ => {}
            }
        }
    }
}

#[async_trait]
impl HostFinder for Finder {
    fn hosts(&self) -> Vec<Arc<LiveHost>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn adopt_agent(&self, record: &AgentInfo, _: &Launch) -> Result<(), EngineError> {
        let AgentKey { guild, agent } = &record.key;
        let mut hosts = self.hosts();
        hosts.retain(|host| !host.info.draining);
        for _ in 0..OFFERS.min(hosts.len()) {
            let at = self.world.between(0, hosts.len() as u64 - 1) as usize;
            let host = hosts.swap_remove(at);
            let request = v1::AdoptAgentRequest {
                guild_id: guild.to_string(),
                agent_id: agent.to_string(),
                epoch: record.epoch.0,
                request_id: record.request_id.clone(),
                placed_by: None,
                overlap: false,
            };
            let ask = |peer: Arc<Peer>| async move { peer.adopt_agent(Request::new(request)).await };
            let answer = timeout(Duration::from_secs(10), self.world.call(self.machine, &host.info.id, ask));
            match answer.await {
                Ok(Ok(Ok(_))) => return Ok(()),
                Ok(Ok(Err(status))) if status.code() == tonic::Code::NotFound => {
                    return Err(EngineError::NotFound { key: record.key.clone() });
                }
                _ => {}
            }
        }
        let reason = "no host takes it".to_owned();
        Err(EngineError::NoHost { key: record.key.clone(), reason, tried: Vec::new() })
    }
}
