//! An engine, and what it stands on: a registry, a discovery, or a fleet in this process.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use guildhall::{
    discovery::StaticDiscovery,
    engine::{EngineError, ExecutionEngine, GrpcEngine, GrpcEngineBuilder},
    registry::{RedisOptions, RedisRegistry, RegistryError},
    transport::{Dialer, Tls, TlsError, TlsFiles},
};
use guildhall_host::{
    Fleet, FleetError, HostConfig,
    runner::{RunnerTable, RunnerTableError, Template},
};
use tokio::sync::OnceCell;

use crate::settings::{Place, Settings};

/// The variable by which agents of an embedded fleet find it, so that an agent which starts
/// agents (Rustic AI's guild manager does) starts them on the fleet that it runs on.
const URL_VARIABLE: &str = "GUILDHALL_URL";

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Settings(String),
    #[error(transparent)]
    Runners(#[from] RunnerTableError),
    #[error("the embedded fleet did not start: {0}")]
    Fleet(#[from] FleetError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[cfg(feature = "kubernetes")]
    #[error(transparent)]
    Kubernetes(#[from] guildhall::discovery::KubernetesError),
}

/// A session that is made by the first who needs it.
#[derive(Debug)]
pub(crate) struct Slot {
    settings: Settings,
    session: OnceCell<Session>,
}

impl Slot {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, session: OnceCell::new() }
    }

    /// The session; whoever comes while it is being made waits for it.
    pub(crate) async fn session(&self) -> Result<&Session, ConnectError> {
        self.session.get_or_try_init(|| Session::begin(&self.settings)).await
    }

    /// The session, if it was made.
    pub(crate) fn made(&self) -> Option<&Session> {
        self.session.get()
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) engine: GrpcEngine,
    /// The fleet in this process, until it ends.
    fleet: Mutex<Option<Fleet>>,
}

impl Session {
    async fn begin(settings: &Settings) -> Result<Self, ConnectError> {
        let within = Duration::from_millis(settings.connect_within);
        match settings.place().map_err(ConnectError::Settings)? {
            Place::Embedded => Self::embedded(settings, within).await,
            Place::Redis(url) => {
                let mut options = RedisOptions { connect_within: within, ..RedisOptions::default() };
                if let Some(prefix) = &settings.redis_prefix {
                    options.prefix.clone_from(prefix);
                }
                let registry = Arc::new(RedisRegistry::connect(&url, options).await?);
                let builder = GrpcEngine::builder().registry(registry);
                Self::engine(settings, builder, within, 0).await
            }
            Place::Static(addresses) => {
                let hosts = StaticDiscovery::new(&addresses)
                    .map_err(|error| ConnectError::Settings(error.to_string()))?;
                let hosts = Arc::new(hosts.dialer(dialer(settings)?));
                let builder = GrpcEngine::builder().discovery(hosts);
                Self::engine(settings, builder, within, 1).await
            }
            #[cfg(feature = "kubernetes")]
            Place::Kubernetes { namespace, service } => {
                use guildhall::discovery::KubernetesDiscovery;
                let pods = KubernetesDiscovery::infer(service).await?.namespace(namespace);
                let builder = GrpcEngine::builder().discovery(Arc::new(pods.dialer(dialer(settings)?)));
                Self::engine(settings, builder, within, 0).await
            }
            #[cfg(not(feature = "kubernetes"))]
            Place::Kubernetes { namespace, service } => Err(ConnectError::Settings(format!(
                "kubernetes://{namespace}/{service}: this build of guildhall finds no hosts by Kubernetes; \
                 build it with the feature \"kubernetes\", or give the URL of the fleet's Redis"
            ))),
        }
    }

    async fn embedded(settings: &Settings, within: Duration) -> Result<Self, ConnectError> {
        let runners = RunnerTable::parse(&settings.runners)?;
        // The table is set when it is known where the hosts listen: agents are told.
        let fleet = Fleet::builder(RunnerTable::default())
            .hosts(settings.hosts.max(1))
            .capacity(settings.capacity)
            .policy(settings.policy())
            .configure(inherit_environment)
            .start()
            .await?;
        let endpoints: Vec<String> = fleet.hosts().iter().map(|host| host.endpoint()).collect();
        let runners = told_of_the_fleet(&runners, &endpoints.join(","));
        for host in fleet.hosts() {
            host.supervisor().set_runners(runners.clone());
        }
        let hosts = fleet.hosts().len();
        match Self::engine(settings, fleet.engine(), within, hosts).await {
            Ok(session) => {
                *session.fleet.lock().unwrap_or_else(PoisonError::into_inner) = Some(fleet);
                Ok(session)
            }
            Err(error) => {
                fleet.stop().await;
                Err(error)
            }
        }
    }

    /// Makes the engine, and waits for that many hosts.
    async fn engine(
        settings: &Settings,
        mut builder: GrpcEngineBuilder,
        within: Duration,
        hosts: usize,
    ) -> Result<Self, ConnectError> {
        if let Some(json) = &settings.policy_settings {
            let json = serde_json::from_str(json)
                .map_err(|error| ConnectError::Settings(format!("policy_settings: {error}")))?;
            builder = builder.policy_settings(json);
        }
        let builder = builder.policy(settings.policy()).dialer(dialer(settings)?);
        let engine = builder.build().await?;
        if hosts > 0
            && let Err(error) = engine.wait_for_hosts(hosts, within).await
        {
            engine.shutdown().await;
            return Err(error.into());
        }
        Ok(Self { engine, fleet: Mutex::default() })
    }

    /// Closes the engine. Agents of an embedded fleet end with it, others go on.
    pub(crate) async fn end(&self) {
        self.engine.shutdown().await;
        let fleet = self.fleet.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(fleet) = fleet {
            fleet.stop().await;
        }
    }
}

/// Agents of an embedded fleet are the app's own: they get its whole environment, as
/// processes that Python itself starts do.
fn inherit_environment(config: &mut HostConfig) {
    config.supervisor.env_allow = vec!["*".to_owned()];
}

/// The same runners, whose agents learn where the fleet is.
fn told_of_the_fleet(runners: &RunnerTable, url: &str) -> RunnerTable {
    let told = runners.iter().cloned().map(|mut runner| {
        // An address has no braces, so it is always a template.
        if let Ok(url) = Template::parse(url) {
            runner.env.entry(URL_VARIABLE.to_owned()).or_insert(url);
        }
        runner
    });
    told.collect()
}

fn dialer(settings: &Settings) -> Result<Dialer, ConnectError> {
    let Some((certificate, key, ca)) = settings.tls.clone() else { return Ok(Dialer::plain()) };
    let files = TlsFiles { certificate, key, ca };
    Ok(Dialer::tls(Tls::load(files, guildhall_host::server::Roles::default().hosts)?))
}
