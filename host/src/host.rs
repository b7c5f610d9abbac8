//! One host: its listener, policy, lease, supervisor, service, keeper and failover,
//! started in an order in which each may rely on those before, and ended in the
//! reverse.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::OptionFuture};
use guildhall::{
    engine::{EngineError, ExecutionEngine, GrpcEngine},
    host::{HostInfo, LeaseId, LeaseTerms},
    ids::HostId,
    placement::PolicyIdentity,
    registry::{Registry, RegistryError},
    transport::{Dialer, Tls, TlsError},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

#[cfg(feature = "kubernetes")]
use crate::deletion_cost;
use crate::{
    config::HostConfig,
    failover::Failover,
    load::LoadMeter,
    moving::{self, Drained, Mover},
    peer_service::Peer,
    rebalance::Rebalance,
    replies::Replies,
    runner::reload,
    server::{self, Health, metrics::Metrics, overload::Overload},
    service::Service,
    state_dir::{self, StateDirError},
    supervisor::{Supervisor, SupervisorError},
    tenure::{self, Ballot, Ballots, GrpcPeers, Keeper, Tenure},
};

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says, such as that the address is in use.
        #[source]
        source: std::io::Error,
    },
    /// Another process holds a lease under this host's id, and goes on renewing it.
    #[error("the host id {id} is in use by another process")]
    IdInUse {
        /// The host's id.
        id: HostId,
    },
    /// A setting cannot be.
    #[error("{0}")]
    Setting(&'static str),
    /// The registry cannot be reached.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The engine for `RunAgent` cannot be made; mostly the policy is wrong.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The supervisor cannot be made.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// What the host remembers across its processes cannot be used.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// The host's certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Reflection cannot be served.
    #[error("server reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A running host.
#[derive(Debug)]
pub struct Host {
    info: watch::Sender<HostInfo>,
    lease_in_force: watch::Receiver<bool>,
    registry: Arc<dyn Registry>,
    supervisor: Supervisor,
    engine: GrpcEngine,
    /// Told to probes: it takes no more agents.
    closing: CancellationToken,
    /// Told to the server, its streams included.
    server_ending: CancellationToken,
    server: JoinHandle<()>,
    mover: Mover,
    failover_ending: CancellationToken,
    failover: JoinHandle<()>,
    keeper_ending: CancellationToken,
    keeper: JoinHandle<()>,
    failed: CancellationToken,
    drain_timeout: Duration,
}

impl Host {
    /// Starts a host on this registry. When it answers, the host is in the registry
    /// and serves.
    ///
    /// # Errors
    /// [`HostError`]; nothing is left running then.
    pub async fn start(mut config: HostConfig, registry: Arc<dyn Registry>) -> Result<Self, HostError> {
        if config.heartbeat.is_zero() || config.lease.is_zero() {
            return Err(HostError::Setting("the interval of load reports and the lease must not be zero"));
        }
        let tls = config.tls.clone().map(|files| Tls::load(files, config.roles.hosts.clone()));
        let tls = tls.transpose()?;
        let dialer = tls.clone().map_or_else(Dialer::plain, Dialer::tls);
        let (listener, bound) = listen(config.listen).await?;
        let health_listener = match config.health_listen {
            Some(address) => Some(listen(address).await?.0),
            None => None,
        };
        let metrics_listener = match config.metrics_listen {
            Some(address) => Some(listen(address).await?.0),
            None => None,
        };

        let engine = GrpcEngine::builder()
            .registry(registry.clone())
            .dialer(dialer.clone())
            .policy(config.policy.clone())
            .policy_settings(config.policy_settings.clone())
            .compiled_cache(config.policy_cache.clone())
            .trust(config.trust.clone())
            .fallback(config.policy_fallback)
            .policy_imports(config.policy_imports)
            .shadow(config.shadow_policy.clone())
            .record(config.record_decisions.clone())
            .build()
            .await?;

        let mut meter = LoadMeter::new();
        let info = HostInfo {
            id: config.id().clone(),
            endpoint: config.advertise.clone().unwrap_or_else(|| format!("{}://{bound}", dialer.scheme())),
            labels: config.labels.clone(),
            capacity: config.supervisor.capacity,
            allocatable: config.allocatable.clone().or_else(|| meter.allocatable()),
            draining: false,
            load: meter.measure(Default::default()),
            policy: PolicyIdentity::clone(&engine.policy()),
            terms: LeaseTerms {
                length: config.lease,
                consistency: config.consistency,
                outage_patience: config.outage_patience,
            },
        };
        let terms = info.terms;
        let clock = config.clock;
        // Whoever has the lock knows that the process before has ended with all its agents:
        // what it held is free at once.
        let state = match &config.state_dir {
            Some(folder) => {
                let state = state_dir::lock(folder, config.id(), config.registry_patience).await?;
                if let Some(lease) = state.predecessor() {
                    info!(host = %info.id, lease = lease.as_str(), "the process before has ended; its agents are free");
                    registry.leave(&info.id, lease).await?;
                }
                config.supervisor.hold = Some(Arc::new(state.hold().map_err(SupervisorError::Fence)?));
                Some(state)
            }
            None => None,
        };
        // Nothing is claimed before the lease is there: the service comes last.
        let lease = watch::Sender::new(LeaseId::default());
        let tenure = Arc::new(Tenure::new(clock));
        let supervisor = Supervisor::new(
            config.supervisor,
            config.runners,
            registry.clone(),
            lease.subscribe(),
            tenure.clone(),
        )?;
        let registered = tenure::register(&*registry, &info, clock);
        let registered = match timeout(config.registry_patience, registered).await {
            Ok(registered) => registered.map_err(HostError::from),
            Err(_) => Err(HostError::IdInUse { id: info.id.clone() }),
        };
        let registered = match registered {
            Ok((fresh, asked)) => {
                if let Some(state) = &state {
                    state.note(&fresh);
                }
                lease.send_replace(fresh);
                asked
            }
            Err(error) => {
                supervisor.shutdown().await;
                engine.shutdown().await;
                return Err(error);
            }
        };
        let id = info.id.clone();
        let info = watch::Sender::new(info);
        let in_force = watch::Sender::new(true);
        let contact = watch::Sender::new(None);
        let (probe, probes) = tenure::probes(terms.length);
        let ballots: Arc<Mutex<Ballots>> = Arc::default();
        let ballot = Ballot { ballots: ballots.clone(), probe, clock };
        let peers = Arc::new(GrpcPeers::new(id.clone(), ballot.clone(), dialer));

        let keeper = Keeper {
            registry: registry.clone(),
            supervisor: supervisor.clone(),
            info: info.clone(),
            policy: engine.policy_changes(),
            lease,
            registered,
            in_force: in_force.clone(),
            contact: contact.clone(),
            terms,
            interval: config.heartbeat,
            clock,
            tenure: tenure.clone(),
            ballots,
            peers: peers.clone(),
            note: Box::new(move |lease| state.iter().for_each(|state| state.note(lease))),
        };
        let keeper_ending = CancellationToken::new();
        // Cancelled by the end of any of the tasks, whatever way it ends.
        let failed = CancellationToken::new();
        let guard = failed.clone().drop_guard();
        let keeper = keeper.run(probes, keeper_ending.clone());
        let keeper = tokio::spawn(keeper.inspect(move |()| drop(guard)));

        let mover = Mover {
            host: id.clone(),
            supervisor: supervisor.clone(),
            engine: engine.clone(),
            grace: config.drain_timeout,
        };
        supervisor.set_elsewhere(moving::elsewhere(&mover));
        let failover = Failover {
            host: id.clone(),
            registry: registry.clone(),
            engine: Arc::new(engine.clone()),
            peers,
            probe: ballot.probe.clone(),
            contact: contact.subscribe(),
            tenure,
            terms,
            clock,
        };
        let rebalance = Rebalance {
            registry: registry.clone(),
            supervisor: supervisor.clone(),
            engine: engine.clone(),
            mover: mover.clone(),
            a_minute: config.rebalance,
            grace: config.drain_timeout,
        };
        let failover_ending = CancellationToken::new();
        let guard = failed.clone().drop_guard();
        let failover = failover.run(failover_ending.clone());
        let rebalance = rebalance.run(failover_ending.clone());
        let runners =
            config.runners_file.map(|file| reload::follow(file, supervisor.clone(), failover_ending.clone()));
        #[cfg(feature = "kubernetes")]
        let cost =
            config.own_pod.map(|pod| deletion_cost::keep(pod, supervisor.clone(), failover_ending.clone()));
        #[cfg(not(feature = "kubernetes"))]
        let cost: Option<std::future::Ready<()>> = None;
        let failover = async move {
            tokio::join!(failover, rebalance, OptionFuture::from(runners), OptionFuture::from(cost));
        };
        let failover = tokio::spawn(failover.inspect(move |()| drop(guard)));

        let server_ending = CancellationToken::new();
        let service = Service {
            supervisor: supervisor.clone(),
            engine: engine.clone(),
            registry: registry.clone(),
            mover: mover.clone(),
            info: info.clone(),
            drain_timeout: config.drain_timeout,
            overload: Overload::default(),
            stops: Replies::default(),
            moves: Replies::default(),
            lease_in_force: in_force.subscribe(),
            meter: Arc::new(Mutex::new(meter)),
            ending: server_ending.clone(),
        };
        let peer = Peer { supervisor: supervisor.clone(), registry: registry.clone(), ballot };
        let guard = failed.clone().drop_guard();
        let health = Health::new().await;
        let closing = CancellationToken::new();
        let tls = tls.map(|tls| (tls, config.roles));
        let serving = server::serve(
            listener,
            tls,
            config.calls_a_second,
            service,
            peer,
            health.clone(),
            server_ending.clone(),
        )?;
        let probed = health_listener
            .map(|listener| server::serve_health(listener, health.clone(), server_ending.clone()));
        let metrics = Metrics { supervisor: supervisor.clone(), lease_in_force: in_force.subscribe() };
        let measured =
            metrics_listener.map(|listener| server::metrics::serve(listener, metrics, server_ending.clone()));
        let following = health.follow(in_force.subscribe(), closing.clone());
        let server = async move {
            tokio::join!(serving, OptionFuture::from(probed), OptionFuture::from(measured), following);
        };
        let server = tokio::spawn(server.inspect(move |()| drop(guard)));

        let host = Self {
            lease_in_force: in_force.subscribe(),
            info,
            registry,
            supervisor,
            engine,
            closing,
            server_ending,
            server,
            mover,
            failover_ending,
            failover,
            keeper_ending,
            keeper,
            failed,
            drain_timeout: config.drain_timeout,
        };
        info!(host = %host.id(), endpoint = host.endpoint(), policy = %host.engine.policy(), "host is ready");
        Ok(host)
    }

    /// The host's id.
    pub fn id(&self) -> HostId {
        self.info.borrow().id.clone()
    }

    /// Where the host is reached.
    pub fn endpoint(&self) -> String {
        self.info.borrow().endpoint.clone()
    }

    /// Its agents.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The registry that it uses.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// Waits until a part of the host ends that should not: the host is then of no
    /// more use, and best drained.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Follows whether its lease was in force when the registry last answered.
    pub fn lease_in_force(&self) -> watch::Receiver<bool> {
        self.lease_in_force.clone()
    }

    /// Drains and ends: takes no new agents, says so to the fleet, moves its agents to
    /// other hosts, leaves the registry. Agents that no host takes end too, and wait for
    /// one. Answers whether every agent ended in peace and in time.
    pub async fn drain(self) -> bool {
        info!(host = %self.id(), "draining");
        self.supervisor.cordon();
        self.info.send_modify(|info| info.draining = true);
        self.closing.cancel();
        let Drained { total, moved, waiting, left } = self.mover.drain(self.drain_timeout, None).await;
        info!(total, moved, waiting, left, "drained");
        if left > 0 {
            error!(left, "agents did not end in time, or the registry has not heard of it; they are killed");
        }
        self.end().await;
        left == 0
    }

    /// Ends at once the way a crash would: its agents are killed, and its lease and
    /// its claims are left to end by themselves.
    pub async fn crash(mut self) {
        // Aborted rather than told to end, so that it does not give back the lease.
        self.keeper.abort();
        self.failover.abort();
        self.supervisor.abort().await;
        self.closing.cancel();
        self.server_ending.cancel();
        let _ = (&mut self.server).await;
        self.engine.shutdown().await;
    }

    async fn end(mut self) {
        self.failover_ending.cancel();
        let _ = (&mut self.failover).await;
        self.engine.shutdown().await;
        self.closing.cancel();
        self.server_ending.cancel();
        let _ = (&mut self.server).await;
        self.supervisor.shutdown().await;
        self.keeper_ending.cancel();
        let _ = (&mut self.keeper).await;
        info!(host = %self.id(), "host has ended");
    }
}

/// A host that is dropped without a drain is told to end, but nobody waits for it.
impl Drop for Host {
    fn drop(&mut self) {
        self.closing.cancel();
        self.server_ending.cancel();
        self.failover_ending.cancel();
        self.keeper_ending.cancel();
    }
}

/// Listens there, and says where that is when any port will do.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), HostError> {
    let failed = |source| HostError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
