//! One host: its listener, policy, lease, supervisor, service, keeper and failover,
//! started in an order in which each may rely on those before, and ended in the
//! reverse.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use guildhall::{
    engine::{EngineError, ExecutionEngine, GrpcEngine},
    host::{HostInfo, LeaseId, LeaseTerms},
    ids::HostId,
    launch::MAX_LAUNCH_BYTES,
    placement::PolicyIdentity,
    registry::{Registry, RegistryError},
};
use guildhall_proto::{
    DESCRIPTORS,
    v1::{agent_host_service_server::AgentHostServiceServer, peer_service_server::PeerServiceServer},
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    service::LayerExt,
    transport::{Server, server::Router},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tower::util::MapResponseLayer;
use tracing::{error, info};

use crate::{
    config::HostConfig,
    failover::Failover,
    load::LoadMeter,
    moving::{self, Drained, Mover},
    overload::Overload,
    peer_service::Peer,
    rebalance::Rebalance,
    replies::Replies,
    service::Service,
    state_dir::{self, StateDirError},
    supervisor::{Supervisor, SupervisorError},
    tenure::{self, Ballot, Ballots, GrpcPeers, Keeper, Tenure},
    unreadable,
};

/// Largest request of another host, bytes: ids, leases and a policy's name.
const MAX_PEER_REQUEST_BYTES: usize = 64 * 1024;

/// Calls that one connection may have under way.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// How long a connection may be silent before it is probed, and then to answer.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(10);

/// How long calls under way may take to end after the server was told to.
const SERVER_ENDS_WITHIN: Duration = Duration::from_secs(5);

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
    health: HealthReporter,
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
        let reflection = reflection()?;
        let address = config.listen;
        let not_listening = |source| HostError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(not_listening)?;
        let bound = listener.local_addr().map_err(not_listening)?;

        let engine = GrpcEngine::builder()
            .registry(registry.clone())
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
            endpoint: config.advertise.clone().unwrap_or_else(|| format!("http://{bound}")),
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
        let peers = Arc::new(GrpcPeers::new(id.clone(), ballot.clone()));

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
        let failover = async { tokio::join!(failover, rebalance) }.map(|((), ())| ());
        let failover = tokio::spawn(failover.inspect(move |()| drop(guard)));

        let server_ending = CancellationToken::new();
        let service = Service {
            supervisor: supervisor.clone(),
            engine: engine.clone(),
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
        let service = AgentHostServiceServer::new(service).max_decoding_message_size(MAX_LAUNCH_BYTES);
        let peer = Peer { supervisor: supervisor.clone(), registry: registry.clone(), ballot };
        let peer = PeerServiceServer::new(peer).max_decoding_message_size(MAX_PEER_REQUEST_BYTES);
        let (health, health_service) = tonic_health::server::health_reporter();
        set_health(&health, ServingStatus::Serving).await;
        let router = server()
            .add_service(health_service)
            .add_service(reflection)
            .add_service(peer)
            .add_service(MapResponseLayer::new(unreadable::explain).named_layer(service));
        let guard = failed.clone().drop_guard();
        let server = serve(router, listener, server_ending.clone());
        let server = tokio::spawn(server.inspect(move |()| drop(guard)));

        let host = Self {
            lease_in_force: in_force.subscribe(),
            info,
            registry,
            supervisor,
            engine,
            health,
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
        set_health(&self.health, ServingStatus::NotServing).await;
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
        self.server_ending.cancel();
        let _ = (&mut self.server).await;
        self.engine.shutdown().await;
    }

    async fn end(mut self) {
        self.failover_ending.cancel();
        let _ = (&mut self.failover).await;
        self.engine.shutdown().await;
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
        self.server_ending.cancel();
        self.failover_ending.cancel();
        self.keeper_ending.cancel();
    }
}

/// Says it of the service, and of the host as a whole: under no name, which is what
/// probes ask for unless they are told otherwise.
async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in [AgentHostServiceServer::<Service>::NAME, ""] {
        health.set_service_status(service, status).await;
    }
}

fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_WITHIN))
        .max_concurrent_streams(Some(STREAMS_PER_CONNECTION))
}

fn reflection() -> Result<ServerReflectionServer<impl ServerReflection>, tonic_reflection::server::Error> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
}

/// Serves until it is told to end, and then until calls under way have ended.
async fn serve(router: Router, listener: TcpListener, ending: CancellationToken) {
    let told = ending.clone().cancelled_owned();
    let serving = router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), told);
    let overdue = async {
        ending.cancelled().await;
        sleep(SERVER_ENDS_WITHIN).await;
    };
    tokio::select! {
        result = serving => {
            if let Err(error) = result {
                error!(%error, "the gRPC server failed");
            }
        }
        // A connection that stays open does not hold up the end for ever.
        () = overdue => info!("connections were cut"),
    }
}
