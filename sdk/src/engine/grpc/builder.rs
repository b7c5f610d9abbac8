//! Settings of the gRPC engine, and its birth.

use std::{path::PathBuf, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::StreamExt;
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use super::{
    GrpcEngine, Shared,
    channels::Channels,
    directory::Directory,
    policy::{self, Preparation},
};
use crate::{
    discovery::{Discovery, RegistryDiscovery},
    engine::EngineError,
    fleet::Fleet,
    placement::{
        BuiltIn, CompiledCache, Imports, PolicyArtifact, PolicyChoice, PolicyFiles, PolicyLimits,
        PolicySource, Trust,
    },
    registry::{FleetPolicy, Registry},
    transport::Dialer,
};

/// How long calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Starting one agent, all hosts that are asked included: 60 s.
    pub create: Duration,
    /// Stopping one agent: 30 s.
    pub stop: Duration,
    /// One question to the hosts, where there is no registry to ask: 10 s.
    pub list: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { create: Duration::from_secs(60), stop: Duration::from_secs(30), list: Duration::from_secs(10) }
    }
}

/// How a launch goes on after a host refused or could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Hosts that are asked at most, the first included: 5.
    pub hosts: usize,
    /// The first pause, of which up to as much again is random: 20 ms.
    pub min_pause: Duration,
    /// The longest pause: 1 s.
    pub max_pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { hosts: 5, min_pause: Duration::from_millis(20), max_pause: Duration::from_secs(1) }
    }
}

impl Retries {
    /// Pauses that double and are jittered, without end.
    pub(super) fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.min_pause)
            .with_max_delay(self.max_pause)
            .without_max_times()
            .with_jitter()
            .build()
    }
}

/// Describes a [`GrpcEngine`]. Needs a registry, a discovery, or both.
#[derive(Debug)]
#[must_use]
pub struct GrpcEngineBuilder {
    registry: Option<Arc<dyn Registry>>,
    discovery: Option<Arc<dyn Discovery>>,
    dialer: Dialer,
    policy: PolicyChoice,
    preparation: Preparation,
    shadow: Option<PolicyArtifact>,
    record: Option<PathBuf>,
    timeouts: Timeouts,
    retries: Retries,
    concurrency: usize,
}

impl Default for GrpcEngineBuilder {
    fn default() -> Self {
        Self {
            registry: None,
            discovery: None,
            dialer: Dialer::plain(),
            policy: PolicyChoice::default(),
            preparation: Preparation {
                settings: serde_json::Value::Null,
                cache: CompiledCache::default(),
                limits: PolicyLimits::default(),
                imports: Imports::default(),
                trust: Trust::default(),
                fallback: Some(BuiltIn::RoundRobin.into()),
            },
            shadow: None,
            record: None,
            timeouts: Timeouts::default(),
            retries: Retries::default(),
            concurrency: 64,
        }
    }
}

impl GrpcEngineBuilder {
    /// The registry that the hosts use. Without one the engine asks the hosts
    /// themselves, and nothing keeps two of them from running the same identity.
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// How hosts are found; unless told, by their heartbeats in the registry.
    pub fn discovery(mut self, discovery: Arc<dyn Discovery>) -> Self {
        self.discovery = Some(discovery);
        self
    }

    /// How hosts are spoken to; unless told, in plain text.
    pub fn dialer(mut self, dialer: Dialer) -> Self {
        self.dialer = dialer;
        self
    }

    /// The policy that decides; unless told, the one that the registry names for the
    /// fleet, or round-robin when that cannot be used. A source that can change is
    /// followed: what it has anew takes over while decisions go on, unless it proves to
    /// be of no use.
    pub fn policy(mut self, policy: impl Into<PolicyChoice>) -> Self {
        self.policy = policy.into();
        self
    }

    /// The settings of a policy that brings none along, a JSON object; unless told, none.
    pub fn policy_settings(mut self, settings: serde_json::Value) -> Self {
        self.preparation.settings = settings;
        self
    }

    /// Which policies may decide; unless told, every one.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.preparation.trust = trust;
        self
    }

    /// What decides when the policy has failed three times in a row; unless told,
    /// round-robin. With `None` each decision fails until the policy works.
    pub fn fallback(mut self, policy: Option<BuiltIn>) -> Self {
        self.preparation.fallback = policy.map(Into::into);
        self
    }

    /// A policy that decides in the shadow of the one in charge and changes nothing: see
    /// [`GrpcEngine::shadow`]. Its settings are those that come with it.
    pub fn shadow(mut self, policy: Option<PolicyArtifact>) -> Self {
        self.shadow = policy;
        self
    }

    /// A folder in which everything that the policy is told and asked is written down, to
    /// be replayed: see [`RecordedDecisions`](crate::placement::RecordedDecisions).
    pub fn record(mut self, folder: Option<PathBuf>) -> Self {
        self.record = folder;
        self
    }

    /// Where compiled policies are kept; unless told, in the user's cache folder.
    pub fn compiled_cache(mut self, cache: CompiledCache) -> Self {
        self.preparation.cache = cache;
        self
    }

    /// What the policy may use.
    pub fn policy_limits(mut self, limits: PolicyLimits) -> Self {
        self.preparation.limits = limits;
        self
    }

    /// What the policy may import; unless told, nothing.
    pub fn policy_imports(mut self, imports: Imports) -> Self {
        self.preparation.imports = imports;
        self
    }

    /// How long calls may take.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How a launch goes on after a host refused or could not be reached.
    pub fn retries(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    /// Agents of a guild that are started or stopped at the same time: 64.
    pub fn concurrency(mut self, agents: usize) -> Self {
        self.concurrency = agents.max(1);
        self
    }

    /// Loads the policy and begins to follow the fleet. Waits for the first
    /// snapshot of it, but not longer than a question may take.
    ///
    /// # Errors
    /// [`EngineError`] when the policy cannot be used, or when there is neither a
    /// registry nor a discovery.
    pub async fn build(self) -> Result<GrpcEngine, EngineError> {
        let discovery = match (self.discovery, &self.registry) {
            (Some(discovery), _) => discovery,
            (None, Some(registry)) => {
                Arc::new(RegistryDiscovery::new(registry.clone())) as Arc<dyn Discovery>
            }
            (None, None) => return Err(EngineError::NoSource),
        };
        let follows_fleet = matches!(self.policy, PolicyChoice::Fleet);
        let source: Arc<dyn PolicySource> = match (self.policy, &self.registry) {
            (PolicyChoice::Fleet, Some(registry)) => Arc::new(FleetPolicy::new(registry.clone())),
            (PolicyChoice::Fleet, None) => Arc::new(BuiltIn::RoundRobin),
            (PolicyChoice::BuiltIn(policy), _) => Arc::new(policy),
            (PolicyChoice::Path(path), _) => Arc::new(PolicyFiles::new(path)),
            (PolicyChoice::Source(source), _) => source,
        };
        let (placement, seen) = match self.preparation.service(&*source).await {
            // What somebody published must not keep engines and hosts from starting.
            Err(error) if follows_fleet => {
                error!(%error, "the fleet's policy cannot be used; round-robin decides until there is another");
                (self.preparation.service(&BuiltIn::RoundRobin).await?.0, String::new())
            }
            made => made?,
        };
        let record = self.record.map(|folder| {
            placement.record(&folder).map_err(|source| EngineError::NotRecorded { folder, source })
        });
        let record = record.transpose()?;
        let shadow = match self.shadow {
            Some(artifact) => Some(self.preparation.shadow(&placement, artifact).await?),
            None => None,
        };
        let placement = Arc::new(placement);
        let fleet = Arc::new(Fleet::new());
        let channels = Arc::new(Channels::new(self.dialer));
        let shared = Arc::new(Shared {
            policy: watch::Sender::new(placement.identity()),
            placement,
            directory: Directory::new(self.registry, fleet.clone(), channels.clone(), self.timeouts.list),
            fleet: fleet.clone(),
            channels,
            timeouts: self.timeouts,
            retries: self.retries,
            concurrency: self.concurrency,
            shadow,
            _record: record,
            cancelled: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let mut size = fleet.size();
        let (weak, cancelled) = (Arc::downgrade(&shared), &shared.cancelled);
        shared.tasks.spawn(follow(weak.clone(), discovery, cancelled.clone()));
        shared.tasks.spawn(policy::tell_of_shadow(weak.clone(), cancelled.clone()));
        shared.tasks.spawn(policy::follow(weak, source, seen, self.preparation, cancelled.clone()));
        if timeout(self.timeouts.list, size.wait_for(Option::is_some)).await.is_err() {
            warn!("no snapshot of the fleet yet; the engine goes on waiting for one");
        }
        info!(policy = %shared.placement.identity(), hosts = fleet.hosts().len(), "engine is ready");
        Ok(GrpcEngine { shared })
    }
}

/// Takes in what discovery tells until the engine is shut down or dropped.
async fn follow(
    shared: std::sync::Weak<Shared>,
    discovery: Arc<dyn Discovery>,
    cancelled: CancellationToken,
) {
    let mut events = discovery.watch().take_until(cancelled.cancelled_owned()).boxed();
    while let Some(event) = events.next().await {
        let Some(shared) = shared.upgrade() else { return };
        let applied = shared.fleet.apply(event);
        for host in &applied.gone {
            info!(%host, "host is gone");
            shared.channels.close(host);
        }
        shared.placement.observe(applied.changes);
        shared.fleet.announce();
    }
}
