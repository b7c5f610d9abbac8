//! One launch: ask the policy for a host, ask the host to start the agent, and
//! when it refuses or cannot be reached tell the policy and ask again.
//!
//! A host that breaks off half way may or may not have started the agent. The
//! registry decides: as long as the identity is claimed under this request's id,
//! the launch waits for that claim's fate instead of starting a second agent.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use guildhall_proto::v1;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, info};

use super::Shared;
use crate::{
    agent::{AgentInfo, AgentState},
    engine::{EngineError, Tried},
    fault::{Fault, FaultReason, Holder},
    host::HostInfo,
    ids::{AgentKey, GuildId, HostId},
    launch::Launch,
    placement::{
        Decision, GuildDecision, GuildMode, GuildRequest, Kind, Peer, PlaceError, PlacementRequest,
        PolicyIdentity,
    },
    resources::Amounts,
    wire,
};

/// Time that the answer needs on its way: a host is told to give up this much
/// before the caller does, so that its reason arrives.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);

/// Least time before a policy that had an agent wait is asked again.
const LEAST_WAIT: Duration = Duration::from_millis(10);

/// A host, and the policy that chose it.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) host: HostId,
    pub(super) policy: Arc<PolicyIdentity>,
}

/// What to do after a host did not answer with a started agent.
enum Next {
    /// Nothing: an earlier attempt of this launch did start it.
    Done(Box<AgentInfo>),
    /// Ask another host, which may take it.
    Elsewhere,
    /// Wait and ask again: a claim is in the way that a host made which cannot be
    /// reached, and its lease may be about to end; or the registry has just changed.
    Wait,
}

impl Shared {
    /// Launches an agent. `chosen` is a host that the policy has chosen already, with the
    /// agent's guild.
    #[tracing::instrument(
        name = "run_agent", skip_all, fields(guild = %launch.key.guild, agent = %launch.key.agent)
    )]
    pub(super) async fn run(
        &self,
        launch: Launch,
        request_id: &str,
        chosen: Option<Chosen>,
    ) -> Result<AgentInfo, EngineError> {
        launch.check()?;
        let deadline = Instant::now() + self.timeouts.create;
        let late = |_| EngineError::Timeout { what: "starting an agent", after: self.timeouts.create };
        timeout_at(deadline, self.place_and_create(launch, request_id, chosen, deadline))
            .await
            .map_err(late)?
    }

    async fn place_and_create(
        &self,
        launch: Launch,
        request_id: &str,
        chosen: Option<Chosen>,
        deadline: Instant,
    ) -> Result<AgentInfo, EngineError> {
        match self.ask_hosts(&launch, request_id, chosen, deadline).await {
            Err(EngineError::NoHost { key, reason, tried }) if tried.iter().any(is_unreachable) => {
                let started = self.started_all_the_same(&launch.key, request_id).await;
                started.ok_or(EngineError::NoHost { key, reason, tried })
            }
            result => result,
        }
    }

    /// A host that broke off may have started the agent all the same: waits until
    /// that is known, as long as there is a claim of this launch.
    async fn started_all_the_same(&self, key: &AgentKey, request_id: &str) -> Option<AgentInfo> {
        let mut pauses = self.retries.pauses();
        loop {
            // Where nobody answers, the error at hand says the most.
            let agent = self.directory.agent(key).await.ok().flatten();
            let agent = agent.filter(|agent| agent.request_id == request_id && agent.state.is_live())?;
            if agent.state == AgentState::Running {
                return Some(agent);
            }
            sleep(pauses.next().unwrap_or_default()).await;
        }
    }

    async fn ask_hosts(
        &self,
        launch: &Launch,
        request_id: &str,
        chosen: Option<Chosen>,
        deadline: Instant,
    ) -> Result<AgentInfo, EngineError> {
        let mut request = placement_request(launch);
        let mut create = v1::CreateAgentRequest {
            launch: Some(wire::launch_to_wire(launch)),
            request_id: request_id.to_owned(),
        };
        let mut tried: Vec<Tried> = Vec::new();
        let mut pauses = self.retries.pauses();
        // Hosts that the policy has named and that were not asked yet, the best one first.
        let mut named: VecDeque<Chosen> = chosen.into_iter().collect();
        loop {
            let Some(Chosen { host, policy }) = named.pop_front() else {
                named = self.place(&mut request, &tried, deadline).await?;
                continue;
            };
            let Some(info) = self.fleet.get(&host) else {
                // It went between the decision and now.
                request.excluded.push(host);
                continue;
            };
            if let Some(launch) = &mut create.launch {
                launch.placed_by = Some(wire::policy_to_wire(&policy));
            }
            let fault = match self.create(&info.info, create.clone(), deadline).await {
                Ok(agent) if agent.state == AgentState::Running => return Ok(agent),
                // An earlier attempt's agent, which this host took over and is starting.
                Ok(_) => match self.started_all_the_same(&request.key, request_id).await {
                    Some(agent) => return Ok(agent),
                    None => continue,
                },
                Err(fault) => fault,
            };
            match self.judge(&request.key, request_id, &host, &fault, &tried).await? {
                Next::Done(agent) => return Ok(*agent),
                Next::Elsewhere => {
                    info!(%host, reason = %fault.reason, %fault, "host does not take the agent; asking another");
                    request.excluded.push(host.clone());
                    tried.push(Tried { host, fault });
                    if tried.len() >= self.retries.hosts {
                        let reason = format!("{} hosts were asked, and that is the limit", tried.len());
                        return Err(EngineError::NoHost { key: request.key, reason, tried });
                    }
                }
                Next::Wait => {
                    debug!(%host, reason = %fault.reason, "the launch waits");
                    // The same one again: whether it may go on by now, it knows.
                    named.push_front(Chosen { host, policy });
                }
            }
            // The pauses never run out; the deadline does.
            sleep(pauses.next().unwrap_or_default()).await;
        }
    }

    /// Asks the policy, again and again as long as it has the agent wait. Answers at least
    /// one host.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) async fn place(
        &self,
        request: &mut PlacementRequest,
        tried: &[Tried],
        deadline: Instant,
    ) -> Result<VecDeque<Chosen>, EngineError> {
        let mut needs = self.placement.needs();
        loop {
            if needs.ticket {
                let counter = &self.placement.identity().name;
                request.ticket = Some(self.directory.tickets(counter, 1).await?);
            }
            if needs.peers {
                self.recall(request).await?;
            }
            match self.decide(request).await? {
                Ok(Decision { host, reason, others, policy, .. }) => {
                    debug!(%host, %policy, reason, "placed");
                    let chosen = |host| Chosen { host, policy: Arc::clone(&policy) };
                    return Ok([host]
                        .into_iter()
                        .chain(others.into_iter().map(|one| one.host))
                        .map(chosen)
                        .collect());
                }
                // Another policy has just taken over.
                Err(PlaceError::NeedsTicket { .. }) if !needs.ticket => needs = self.placement.needs(),
                Err(PlaceError::Refused { refusal, .. }) => match refusal.retry_after {
                    Some(wait) if Instant::now() + wait < deadline => {
                        debug!(?wait, reason = refusal.reason, "the policy has the agent wait");
                        sleep(wait.max(LEAST_WAIT)).await;
                    }
                    _ => {
                        let (key, reason) = (request.key.clone(), refusal.reason);
                        return Err(EngineError::NoHost { key, reason, tried: tried.to_vec() });
                    }
                },
                Err(error) => return Err(EngineError::Policy(error)),
            }
        }
    }

    /// Has the request say what became of the agent and of its guild so far.
    async fn recall(&self, request: &mut PlacementRequest) -> Result<(), EngineError> {
        let known = self.directory.agents_in_guild(&request.key.guild).await?;
        request.peers.clear();
        for agent in known {
            if agent.key != request.key {
                request.peers.extend(peer(agent));
            } else if matches!(agent.state, AgentState::Failed | AgentState::Lost) {
                (request.restarts, request.failed_on) = (agent.restarts, vec![agent.host]);
            }
        }
        request.guild_size = u32::try_from(request.peers.len() + 1).unwrap_or(u32::MAX);
        Ok(())
    }

    /// Asks the policy for hosts for all agents of a guild at once: one for each launch,
    /// or none where it left the agent out.
    pub(super) async fn place_guild(
        &self,
        guild: &GuildId,
        launches: &[Launch],
        mode: GuildMode,
    ) -> Result<Vec<Option<Chosen>>, EngineError> {
        let mut request = GuildRequest::new(guild.clone(), mode);
        for launch in launches {
            let kind = Kind {
                class_name: launch.class_name.clone(),
                labels: launch.labels.clone(),
                resources: Amounts::from(&launch.resources),
            };
            request.add(launch.key.agent.clone(), launch.name.as_str(), kind);
        }
        let mut needs = self.placement.needs();
        loop {
            if needs.ticket {
                let count = u32::try_from(launches.len()).unwrap_or(u32::MAX);
                let counter = &self.placement.identity().name;
                request.first_ticket = Some(self.directory.tickets(counter, count).await?);
            }
            if needs.peers {
                let known = self.directory.agents_in_guild(guild).await?;
                request.peers = known.into_iter().filter_map(peer).collect();
            }
            let (placement, asked) = (Arc::clone(&self.placement), request.clone());
            // A thousand agents take a millisecond.
            let placed = spawn_blocking(move || placement.place_guild(&asked)).await;
            match placed.map_err(|_| EngineError::ShutDown)? {
                Ok(GuildDecision { hosts, reason, policy, .. }) => {
                    debug!(%guild, %policy, reason, "guild placed");
                    let chosen =
                        |host: Option<HostId>| host.map(|host| Chosen { host, policy: Arc::clone(&policy) });
                    return Ok(hosts.into_iter().map(chosen).collect());
                }
                Err(PlaceError::NeedsTicket { .. }) if !needs.ticket => needs = self.placement.needs(),
                Err(error) => return Err(EngineError::Policy(error)),
            }
        }
    }

    async fn decide(&self, request: &PlacementRequest) -> Result<Result<Decision, PlaceError>, EngineError> {
        if self.placement.is_well() {
            return Ok(self.placement.place(request));
        }
        // A policy that fails may do so again, at the cost of all the time it may use;
        // that must not be the time of others on this runtime.
        let (placement, request) = (self.placement.clone(), request.clone());
        spawn_blocking(move || placement.place(&request)).await.map_err(|_| EngineError::ShutDown)
    }

    /// Asks the host.
    #[tracing::instrument(level = "debug", skip_all, fields(host = %host.id))]
    async fn create(
        &self,
        host: &HostInfo,
        create: v1::CreateAgentRequest,
        deadline: Instant,
    ) -> Result<AgentInfo, Fault> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut call = tonic::Request::new(create);
        call.set_timeout(left - ANSWER_MARGIN.min(left / 10));
        let answer = self.channels.client(host)?.create_agent(call).await;
        let agent = answer.map_err(|status| self.cut_off(&status, deadline))?.into_inner().agent;
        agent
            .and_then(|agent| wire::agent_from_wire(agent).ok())
            .ok_or_else(|| Fault::new(FaultReason::Internal, "the answer makes no sense"))
    }

    /// The fault of a create. One that was cancelled before its time was cut off with
    /// the connection.
    fn cut_off(&self, status: &tonic::Status, deadline: Instant) -> Fault {
        let fault = wire::fault_from_status(status);
        let in_time = Instant::now() + 2 * ANSWER_MARGIN < deadline;
        if fault.reason == FaultReason::TimedOut && in_time {
            return Fault { reason: FaultReason::HostUnreachable, ..fault };
        }
        fault
    }

    /// Says what a fault means for this launch.
    async fn judge(
        &self,
        key: &AgentKey,
        request_id: &str,
        host: &HostId,
        fault: &Fault,
        tried: &[Tried],
    ) -> Result<Next, EngineError> {
        if let Some(holder) = fault.holder() {
            return self.judge_holder(key, request_id, holder, tried).await;
        }
        match fault.reason {
            FaultReason::TimedOut => {
                Err(EngineError::Timeout { what: "starting an agent", after: self.timeouts.create })
            }
            FaultReason::NotSettled => Ok(Next::Wait),
            reason if reason.another_host_may() => Ok(Next::Elsewhere),
            _ => Err(EngineError::NotStarted { key: key.clone(), host: host.clone(), fault: fault.clone() }),
        }
    }

    async fn judge_holder(
        &self,
        key: &AgentKey,
        request_id: &str,
        holder: Holder,
        tried: &[Tried],
    ) -> Result<Next, EngineError> {
        let ours = holder.request_id == request_id;
        if ours {
            let agent = self.directory.agent(key).await?.filter(|agent| agent.epoch == holder.epoch);
            if let Some(agent) = agent.filter(|agent| agent.state == AgentState::Running) {
                return Ok(Next::Done(Box::new(agent)));
            }
            return Ok(Next::Wait);
        }
        // Somebody else's agent, but on a host that this launch could not reach
        // either: it may be dead, and its lease about to end.
        if tried.iter().any(|tried| is_unreachable(tried) && tried.host == holder.host) {
            return Ok(Next::Wait);
        }
        Err(EngineError::AlreadyRunning { key: key.clone(), holder })
    }
}

fn is_unreachable(tried: &Tried) -> bool {
    tried.fault.reason == FaultReason::HostUnreachable
}

/// An agent as those of its guild know it, if it has a host.
fn peer(agent: AgentInfo) -> Option<Peer> {
    let AgentInfo { key, name, class_name, host, .. } = agent;
    agent.state.is_live().then_some(Peer { agent: key.agent, name, class_name, host })
}

pub(super) fn placement_request(launch: &Launch) -> PlacementRequest {
    PlacementRequest {
        name: launch.name.clone(),
        class_name: launch.class_name.clone(),
        labels: launch.labels.clone(),
        resources: Amounts::from(&launch.resources),
        qos: launch.qos.clone(),
        ..PlacementRequest::new(launch.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_told_all_that_the_launch_says_of_the_agent() {
        let spec = br#"{"id":"a","name":"Ann","description":"An agent","class_name":"demo.Echo",
            "resources":{"num_cpus":2},"qos":{"retry_count":3}}"#;
        let mut launch = Launch::from_agent_spec(GuildId::new("g").expect("an id"), spec).expect("a launch");
        launch.labels.insert("zone".to_owned(), "b".to_owned());
        let request = placement_request(&launch);
        assert_eq!((request.name.as_str(), request.class_name.as_str()), ("Ann", "demo.Echo"));
        assert_eq!(request.labels["zone"], "b");
        assert_eq!(request.resources.cpu_millis, 2000);
        assert_eq!(request.qos.retry_count, Some(3));
    }
}
