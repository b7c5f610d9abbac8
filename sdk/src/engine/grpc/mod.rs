//! The engine that runs agents on `agent-host` processes over gRPC.
//!
//! | file | what it does |
//! | --- | --- |
//! | `builder.rs` | settings, and the engine's birth |
//! | `policy.rs` | the policy that decides, and the one that takes its place |
//! | `adopt.rs` | another host for an agent that has none any more |
//! | `operate.rs` | what operators do: move, cordon, drain |
//! | `run.rs` | one launch: place, ask, and on a refusal place again |
//! | `directory.rs` | questions: from the registry, or from the hosts themselves |
//! | `channels.rs` | one pooled connection a host |

mod adopt;
mod builder;
mod channels;
mod directory;
mod operate;
mod policy;
mod run;

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use guildhall_proto::v1;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;
use uuid::Uuid;

pub use self::{
    adopt::Predecessor,
    builder::{GrpcEngineBuilder, Retries, Timeouts},
    operate::DrainProgress,
};
use self::{channels::Channels, directory::Directory};
use super::{AgentOutcome, EngineError, ExecutionEngine};
use crate::{
    agent::{AgentEvent, AgentInfo, AgentState},
    fault::{Fault, FaultReason},
    fleet::Fleet,
    host::LiveHost,
    ids::{AgentKey, GuildId, HostId},
    launch::{Launch, LaunchOptions},
    placement::{DecisionLog, GuildMode, PlacementService, PolicyIdentity, PolicyStatus, Shadow},
    registry::RegistryError,
    spec::GuildSpec,
    wire,
};

/// How long it waits to hear of a host that has an agent: longer than discoveries take
/// between two looks.
const HEARD_OF_WITHIN: Duration = Duration::from_secs(5);

/// Runs agents on `agent-host` processes. Cheap to clone; all clones are one engine.
#[derive(Clone, Debug)]
pub struct GrpcEngine {
    shared: Arc<Shared>,
}

/// What all clones and calls of one engine share.
#[derive(Debug)]
struct Shared {
    placement: Arc<PlacementService>,
    /// The policy in charge.
    policy: watch::Sender<Arc<PolicyIdentity>>,
    directory: Directory,
    fleet: Arc<Fleet>,
    channels: Arc<Channels>,
    timeouts: Timeouts,
    retries: Retries,
    concurrency: usize,
    shadow: Option<Shadow>,
    /// Writes until the engine is gone.
    _record: Option<DecisionLog>,
    cancelled: CancellationToken,
    tasks: TaskTracker,
}

/// An engine that is dropped without `shutdown` still ends its tasks.
impl Drop for Shared {
    fn drop(&mut self) {
        self.cancelled.cancel();
    }
}

impl GrpcEngine {
    /// Begins to describe an engine.
    pub fn builder() -> GrpcEngineBuilder {
        GrpcEngineBuilder::default()
    }

    /// The hosts that this engine knows of, sorted by id.
    pub fn hosts(&self) -> Vec<Arc<LiveHost>> {
        self.shared.fleet.hosts()
    }

    /// The policy that this engine decides with.
    pub fn policy(&self) -> Arc<PolicyIdentity> {
        self.shared.placement.identity()
    }

    /// The policy that this engine decides with, and whether it does its work.
    pub fn policy_status(&self) -> PolicyStatus {
        self.shared.placement.status()
    }

    /// The policy that decides in the shadow of the one in charge, if there is one.
    pub fn shadow(&self) -> Option<&Shadow> {
        self.shared.shadow.as_ref()
    }

    /// Follows which policy is in charge.
    pub fn policy_changes(&self) -> watch::Receiver<Arc<PolicyIdentity>> {
        self.shared.policy.subscribe()
    }

    /// Waits until the engine knows of at least `count` hosts.
    ///
    /// # Errors
    /// [`EngineError::Timeout`] when they did not come within `limit`.
    pub async fn wait_for_hosts(&self, count: usize, limit: Duration) -> Result<(), EngineError> {
        let mut size = self.shared.fleet.size();
        let enough = size.wait_for(|size| size.is_some_and(|size| size >= count));
        let late = |_| EngineError::Timeout { what: "waiting for hosts", after: limit };
        self.unless_shut_down(async { timeout(limit, enough).await.map(drop).map_err(late) }).await
    }

    /// Runs an agent under a request id of the caller's, 1 to 256 bytes that no other
    /// request has. Called again with the same id, because an answer was lost, it gives
    /// the agent that the earlier call started, instead of
    /// [`EngineError::AlreadyRunning`].
    ///
    /// # Errors
    /// Those of [`run_agent`](ExecutionEngine::run_agent).
    pub async fn run_agent_as(&self, launch: Launch, request_id: &str) -> Result<AgentInfo, EngineError> {
        self.unless_shut_down(self.shared.run(launch, request_id, None)).await
    }

    /// What an agent was launched with, its specs included; `None` when it was stopped or
    /// started again since `agent` was read.
    ///
    /// # Errors
    /// [`EngineError`] when it cannot be known.
    pub async fn launch(&self, agent: &AgentInfo) -> Result<Option<Launch>, EngineError> {
        self.unless_shut_down(self.shared.directory.launch(agent)).await
    }

    /// Runs `call`, and ends it when the engine is shut down.
    async fn unless_shut_down<T>(
        &self,
        call: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        tokio::select! {
            biased;
            () = self.shared.cancelled.cancelled() => Err(EngineError::ShutDown),
            result = call => result,
        }
    }
}

#[async_trait]
impl ExecutionEngine for GrpcEngine {
    async fn run_agent(&self, launch: Launch) -> Result<AgentInfo, EngineError> {
        self.run_agent_as(launch, &Uuid::new_v4().simple().to_string()).await
    }

    async fn run_guild(&self, guild: &GuildSpec, options: &LaunchOptions) -> Vec<AgentOutcome> {
        let launches: Vec<_> =
            guild.agents().iter().map(|agent| Launch::new(guild, agent, options)).collect();
        let placed = self.shared.place_guild(guild.id(), &launches, options.mode);
        let chosen = match self.unless_shut_down(placed).await {
            Ok(chosen) => chosen,
            Err(error) if options.mode == GuildMode::AllOrNothing => {
                let error = Arc::new(error);
                let refused = |launch: Launch| {
                    let error = EngineError::GuildNotPlaced { source: Arc::clone(&error) };
                    AgentOutcome { key: launch.key, result: Err(error) }
                };
                return launches.into_iter().map(refused).collect();
            }
            Err(error) => {
                debug!(%error, "the guild was not placed at once; its agents are placed one by one");
                vec![None; launches.len()]
            }
        };
        stream::iter(launches.into_iter().zip(chosen))
            .map(|(launch, chosen)| async move {
                let (key, request_id) = (launch.key.clone(), Uuid::new_v4().simple().to_string());
                let run = self.shared.run(launch, &request_id, chosen);
                AgentOutcome { key, result: self.unless_shut_down(run).await }
            })
            .buffered(self.shared.concurrency)
            .collect()
            .await
    }

    async fn stop_agent(&self, key: &AgentKey) -> Result<AgentInfo, EngineError> {
        self.unless_shut_down(self.shared.stop(key)).await
    }

    async fn stop_guild(&self, guild: &GuildId) -> Result<Vec<AgentOutcome>, EngineError> {
        let agents = self.get_agents_in_guild(guild).await?;
        let outcomes = stream::iter(agents)
            .map(|agent| async move {
                let result = self.stop_agent(&agent.key).await;
                AgentOutcome { key: agent.key, result }
            })
            .buffered(self.shared.concurrency);
        Ok(outcomes.collect().await)
    }

    async fn get_agent(&self, key: &AgentKey) -> Result<Option<AgentInfo>, EngineError> {
        self.unless_shut_down(self.shared.directory.agent(key)).await
    }

    async fn get_agents_in_guild(&self, guild: &GuildId) -> Result<Vec<AgentInfo>, EngineError> {
        self.unless_shut_down(self.shared.directory.agents_in_guild(guild)).await
    }

    async fn find_agents_by_name(&self, guild: &GuildId, name: &str) -> Result<Vec<AgentInfo>, EngineError> {
        let mut agents = self.get_agents_in_guild(guild).await?;
        agents.retain(|agent| agent.name == name);
        Ok(agents)
    }

    async fn is_agent_running(&self, key: &AgentKey) -> Result<bool, EngineError> {
        Ok(self.get_agent(key).await?.is_some_and(|agent| agent.state == AgentState::Running))
    }

    fn watch(&self, guild: &GuildId) -> BoxStream<'static, AgentEvent> {
        let cancelled = self.shared.cancelled.clone();
        let events = self.shared.directory.watch(guild);
        events.take_until(cancelled.cancelled_owned()).boxed()
    }

    async fn shutdown(&self) {
        self.shared.cancelled.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.channels.clear();
    }
}

impl Shared {
    async fn stop(&self, key: &AgentKey) -> Result<AgentInfo, EngineError> {
        let deadline = Instant::now() + self.timeouts.stop;
        let late = |_| EngineError::Timeout { what: "stopping an agent", after: self.timeouts.stop };
        let not_found = || EngineError::NotFound { key: key.clone() };
        tokio::time::timeout_at(deadline, async {
            loop {
                let agent = self.directory.agent(key).await?.ok_or_else(not_found)?;
                match self.stop_found(agent).await {
                    // It was claimed anew since it was looked up, so it is elsewhere now.
                    Err(EngineError::Registry(RegistryError::Fenced { .. })) => {}
                    result => return result,
                }
            }
        })
        .await
        .map_err(late)?
    }

    /// Waits for a host to be heard of: agents may be known to be on it before it is.
    async fn heard_of(&self, host: &HostId) -> Option<Arc<LiveHost>> {
        let mut changes = self.fleet.lease_changes();
        let heard = async {
            loop {
                if let Some(host) = self.fleet.get(host) {
                    return Some(host);
                }
                changes.changed().await.ok()?;
            }
        };
        timeout(HEARD_OF_WITHIN, heard).await.ok().flatten()
    }

    /// Stops an agent where it was found.
    async fn stop_found(&self, agent: AgentInfo) -> Result<AgentInfo, EngineError> {
        let host = match self.fleet.get(&agent.host) {
            Some(host) => host,
            // Its host is gone, so there is nobody to ask; what is left of it is its
            // record.
            None if !agent.state.needs_host() => return self.directory.forget(agent, false).await,
            // Its host holds a lease, so the process is there: nothing may be forgotten.
            None => match self.heard_of(&agent.host).await {
                Some(host) => host,
                None => return Err(EngineError::Host { host: agent.host, fault: unknown_host() }),
            },
        };
        let request = v1::StopAgentRequest {
            guild_id: agent.key.guild.to_string(),
            agent_id: agent.key.agent.to_string(),
            grace_ms: None,
            request_id: uuid::Uuid::new_v4().simple().to_string(),
        };
        let failed = |fault| EngineError::Host { host: host.info.id.clone(), fault };
        let mut client = self.channels.client(&host.info).map_err(failed)?;
        match client.stop_agent(request).await {
            Ok(answer) => {
                let agent = answer.into_inner().agent.and_then(|agent| wire::agent_from_wire(agent).ok());
                agent.ok_or_else(|| failed(Fault::new(FaultReason::Internal, "the answer makes no sense")))
            }
            Err(status) => match wire::fault_from_status(&status) {
                // The host no longer knows it: its record is all that is left.
                fault if fault.reason == FaultReason::AgentNotFound => {
                    self.directory.forget(agent, true).await
                }
                fault => Err(failed(fault)),
            },
        }
    }
}

fn unknown_host() -> Fault {
    Fault::new(FaultReason::HostUnreachable, "this engine does not know the host")
}
