//! What engines and operators ask of a host over gRPC: each call checked, turned into a
//! call of the supervisor, the engine or the mover, and its answer turned back. What hosts
//! ask of each other is in `peer_service.rs`.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future, stream};
use guildhall::{
    agent::{AgentEvent, AgentInfo},
    engine::{ExecutionEngine, GrpcEngine},
    fault::{Fault, FaultReason},
    host::HostInfo,
    ids::{AgentKey, Epoch, GuildId, HostId, InvalidId},
    launch::{InvalidLaunch, Launch},
    registry::Registry,
    wire,
};
use guildhall_proto::v1::{self, agent_host_service_server::AgentHostService};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Request, Response, Status};

use crate::{
    fault,
    load::LoadMeter,
    moving::{Drained, Mover},
    replies::Replies,
    server::{
        Caller, CallerKey,
        overload::{Call, Overload},
    },
    supervisor::Supervisor,
};

/// Messages of a drain's progress that wait for their reader.
const PROGRESS: usize = 16;

/// What the calls need.
pub(crate) struct Service {
    pub(crate) supervisor: Supervisor,
    pub(crate) engine: GrpcEngine,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) mover: Mover,
    pub(crate) info: watch::Sender<HostInfo>,
    pub(crate) drain_timeout: Duration,
    pub(crate) overload: Overload,
    pub(crate) stops: Replies<AgentInfo>,
    pub(crate) moves: Replies<AgentInfo>,
    pub(crate) lease_in_force: watch::Receiver<bool>,
    pub(crate) meter: Arc<std::sync::Mutex<LoadMeter>>,
    /// Ends the streams when the server ends.
    pub(crate) ending: CancellationToken,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AgentHostService for Service {
    async fn create_agent(
        &self,
        request: Request<v1::CreateAgentRequest>,
    ) -> Answer<v1::CreateAgentResponse> {
        let _call = self.enter(request.extensions())?;
        let request = request.into_inner();
        let launch = launch(request.launch)?;
        let created = self.supervisor.create(launch, request.request_id).await;
        let agent = created.map_err(|error| refuse(fault::of_create(error)))?;
        Ok(Response::new(v1::CreateAgentResponse { agent: Some(wire::agent_to_wire(agent)) }))
    }

    async fn run_agent(&self, request: Request<v1::RunAgentRequest>) -> Answer<v1::RunAgentResponse> {
        let _call = self.enter(request.extensions())?;
        let request = request.into_inner();
        let launch = launch(request.launch)?;
        let ran = match request.request_id.as_str() {
            "" => self.engine.run_agent(launch).await,
            request_id => self.engine.run_agent_as(launch, request_id).await,
        };
        let agent = ran.map_err(|error| refuse(fault::of_run(error)))?;
        Ok(Response::new(v1::RunAgentResponse { agent: Some(wire::agent_to_wire(agent)) }))
    }

    async fn stop_agent(&self, request: Request<v1::StopAgentRequest>) -> Answer<v1::StopAgentResponse> {
        let request = request.into_inner();
        let key = key(&request.guild_id, &request.agent_id)?;
        let grace = request.grace_ms.map(|ms| Duration::from_millis(ms.into()));
        let supervisor = self.supervisor.clone();
        let stop = async move { supervisor.stop(&key, grace).await.map_err(fault::of_stop) };
        let agent = self.stops.once(&request.request_id, stop).await.map_err(refuse)?;
        Ok(Response::new(v1::StopAgentResponse { agent: Some(wire::agent_to_wire(agent)) }))
    }

    async fn get_agent_info(
        &self,
        request: Request<v1::GetAgentInfoRequest>,
    ) -> Answer<v1::GetAgentInfoResponse> {
        let request = request.into_inner();
        let key = key(&request.guild_id, &request.agent_id)?;
        let agent = self.supervisor.get(&key).ok_or_else(|| {
            refuse(Fault::new(FaultReason::AgentNotFound, format!("this host has no agent {key}")))
        })?;
        Ok(Response::new(v1::GetAgentInfoResponse { agent: Some(wire::agent_to_wire(agent)) }))
    }

    async fn get_launch(&self, request: Request<v1::GetLaunchRequest>) -> Answer<v1::GetLaunchResponse> {
        let request = request.into_inner();
        let key = key(&request.guild_id, &request.agent_id)?;
        let launch = self.registry.launch(&key, Epoch(request.epoch)).await;
        let launch = launch
            .map_err(|error| refuse(Fault::new(FaultReason::RegistryUnavailable, error.to_string())))?;
        Ok(Response::new(v1::GetLaunchResponse { launch: launch.as_ref().map(wire::launch_to_wire) }))
    }

    async fn list_agents(&self, request: Request<v1::ListAgentsRequest>) -> Answer<v1::ListAgentsResponse> {
        let request = request.into_inner();
        let guild = optional_guild(&request.guild_id)?;
        let mut agents = self.supervisor.list(guild.as_ref());
        if !request.page_token.is_empty() {
            let after = page_key(&request.page_token)?;
            agents.retain(|agent| agent.key > after);
        }
        let page = match request.page_size as usize {
            0 => wire::AGENTS_PER_MESSAGE,
            size => size.min(wire::AGENTS_PER_MESSAGE),
        };
        let more = agents.len() > page;
        agents.truncate(page);
        let last = agents.last().filter(|_| more).map(|agent| page_token(&agent.key));
        let agents = agents.into_iter().map(wire::agent_to_wire).collect();
        let next_page_token = last.unwrap_or_default();
        Ok(Response::new(v1::ListAgentsResponse { agents, next_page_token }))
    }

    async fn health(&self, _: Request<v1::HealthRequest>) -> Answer<v1::HealthResponse> {
        let mut info = self.info.borrow().clone();
        let mut meter = self.meter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        info.load = meter.measure(self.supervisor.counts());
        let policy = self.engine.policy_status();
        info.policy = (*policy.in_charge).clone();
        Ok(Response::new(v1::HealthResponse {
            deciding_policy: Some(wire::policy_to_wire(&policy.deciding)),
            policy_failure: policy.last_failure.unwrap_or_default(),
            ..wire::host_to_wire(info, *self.lease_in_force.borrow())
        }))
    }

    async fn move_agent(&self, request: Request<v1::MoveAgentRequest>) -> Answer<v1::MoveAgentResponse> {
        let request = request.into_inner();
        let key = key(&request.guild_id, &request.agent_id)?;
        let to = match request.to_host_id.as_str() {
            "" => None,
            id => Some(HostId::new(id).map_err(|error| invalid(error.to_string()))?),
        };
        let (mover, at_most) = (self.mover.clone(), self.drain_timeout);
        let moving =
            async move { mover.move_agent(&key, to.as_ref(), at_most).await.map_err(fault::of_move) };
        let agent = self.moves.once(&request.request_id, moving).await.map_err(refuse)?;
        Ok(Response::new(v1::MoveAgentResponse { agent: Some(wire::agent_to_wire(agent)) }))
    }

    // Cordoning twice is as cordoning once, so the request id has nothing to tell apart.
    async fn cordon(&self, _: Request<v1::CordonRequest>) -> Answer<v1::CordonResponse> {
        self.set_cordoned(true);
        Ok(Response::new(v1::CordonResponse {}))
    }

    async fn uncordon(&self, _: Request<v1::UncordonRequest>) -> Answer<v1::UncordonResponse> {
        self.set_cordoned(false);
        Ok(Response::new(v1::UncordonResponse {}))
    }

    type DrainStream = Pin<Box<dyn Stream<Item = Result<v1::DrainResponse, Status>> + Send>>;

    // A second drain finds the agents that are left, so it joins the first.
    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answer<Self::DrainStream> {
        let within = match request.into_inner().within_ms {
            0 => self.drain_timeout,
            ms => Duration::from_millis(ms.into()),
        };
        self.set_cordoned(true);
        let (progress, told) = mpsc::channel(PROGRESS);
        let mover = self.mover.clone();
        // It goes on when its caller is gone.
        let drain = tokio::spawn(async move { mover.drain(within, Some(progress)).await });
        let steps = ReceiverStream::new(told).map(|drained| Ok(drain_to_wire(drained, false)));
        let last = stream::once(async move {
            match drain.await {
                Ok(drained) => Ok(drain_to_wire(drained, true)),
                Err(_) => Err(refuse(Fault::new(FaultReason::Internal, "the drain was cut off"))),
            }
        });
        Ok(Response::new(steps.chain(last).boxed()))
    }

    type WatchAgentsStream = Pin<Box<dyn Stream<Item = Result<v1::WatchAgentsResponse, Status>> + Send>>;

    async fn watch_agents(
        &self,
        request: Request<v1::WatchAgentsRequest>,
    ) -> Answer<Self::WatchAgentsStream> {
        let guild = optional_guild(&request.into_inner().guild_id)?;
        let events =
            self.supervisor.watch().filter_map(move |event| future::ready(only(event, guild.as_ref())));
        let messages = events.flat_map(|event| stream::iter(wire::event_to_wire(event))).map(Ok);
        Ok(Response::new(messages.take_until(self.ending.clone().cancelled_owned()).boxed()))
    }
}

impl Service {
    fn enter(&self, of: &Extensions) -> Result<Call, Status> {
        let caller = of.get().map_or(CallerKey::Unknown, Caller::key);
        self.overload.enter(caller).map_err(refuse)
    }

    fn set_cordoned(&self, cordoned: bool) {
        match cordoned {
            true => self.supervisor.cordon(),
            false => self.supervisor.uncordon(),
        }
        tracing::info!(cordoned, "told whether to take new agents");
        self.info.send_modify(|info| info.draining = cordoned);
    }
}

fn drain_to_wire(drained: Drained, done: bool) -> v1::DrainResponse {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::DrainResponse {
        total: count(drained.total),
        moved: count(drained.moved),
        waiting: count(drained.waiting),
        done,
    }
}

/// The part of an event that is about this guild.
fn only(event: AgentEvent, guild: Option<&GuildId>) -> Option<AgentEvent> {
    let Some(guild) = guild else { return Some(event) };
    match event {
        AgentEvent::Snapshot(mut agents) => {
            agents.retain(|agent| agent.key.guild == *guild);
            Some(AgentEvent::Snapshot(agents))
        }
        AgentEvent::Changed(ref agent) => (agent.key.guild == *guild).then_some(event),
        AgentEvent::Removed { ref key, .. } => (key.guild == *guild).then_some(event),
        other => Some(other),
    }
}

fn launch(launch: Option<v1::Launch>) -> Result<Launch, Status> {
    let launch = launch.ok_or_else(|| invalid("the request has no launch".to_owned()))?;
    wire::launch_from_wire(launch).map_err(|error: InvalidLaunch| invalid(error.to_string()))
}

pub(crate) fn key(guild_id: &str, agent_id: &str) -> Result<AgentKey, Status> {
    wire::agent_key(guild_id, agent_id).map_err(|error: InvalidId| invalid(error.to_string()))
}

fn optional_guild(guild_id: &str) -> Result<Option<GuildId>, Status> {
    if guild_id.is_empty() {
        return Ok(None);
    }
    GuildId::new(guild_id).map(Some).map_err(|error| invalid(error.to_string()))
}

/// Control characters are in no id, so one keeps the two apart.
const BETWEEN_IDS: char = '\u{1f}';

/// Where the next page begins. Public for the fuzzer alone, as is [`page_key`].
pub fn page_token(key: &AgentKey) -> String {
    format!("{}{BETWEEN_IDS}{}", key.guild, key.agent)
}

/// Where the page before ended.
///
/// # Errors
/// A status that refuses the call.
pub fn page_key(token: &str) -> Result<AgentKey, Status> {
    let (guild, agent) = token
        .split_once(BETWEEN_IDS)
        .ok_or_else(|| invalid("page_token is not one of this service".to_owned()))?;
    key(guild, agent)
}

pub(crate) fn invalid(message: String) -> Status {
    refuse(Fault::new(FaultReason::InvalidLaunch, message))
}

pub(crate) fn refuse(fault: Fault) -> Status {
    tracing::info!(reason = %fault.reason, %fault, "refused");
    wire::fault_to_status(fault)
}
