//! One launch: ask the policy for a host, ask the host to start the agent, and
//! when it refuses or cannot be reached tell the policy and ask again.
//!
//! A host that breaks off half way may or may not have started the agent. The
//! registry decides: as long as the identity is claimed under this request's id,
//! the launch waits for that claim's fate instead of starting a second agent.

use std::time::Duration;

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
    ids::{AgentKey, HostId},
    launch::Launch,
    placement::{Decision, PlaceError, PlacementRequest},
    wire,
};

/// Time that the answer needs on its way: a host is told to give up this much
/// before the caller does, so that its reason arrives.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);

/// What to do after a host did not answer with a started agent.
enum Next {
    /// Nothing: an earlier attempt of this launch did start it.
    Done(Box<AgentInfo>),
    /// Ask another host, which may take it.
    Elsewhere,
    /// Wait and ask again: a claim is in the way that a host made which cannot be
    /// reached, and its lease may be about to end.
    Wait,
}

impl Shared {
    pub(super) async fn run(&self, launch: Launch, request_id: &str) -> Result<AgentInfo, EngineError> {
        launch.check()?;
        let deadline = Instant::now() + self.timeouts.create;
        let late = |_| EngineError::Timeout { what: "starting an agent", after: self.timeouts.create };
        timeout_at(deadline, self.place_and_create(launch, request_id, deadline)).await.map_err(late)?
    }

    async fn place_and_create(
        &self,
        launch: Launch,
        request_id: &str,
        deadline: Instant,
    ) -> Result<AgentInfo, EngineError> {
        match self.ask_hosts(&launch, request_id, deadline).await {
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
        deadline: Instant,
    ) -> Result<AgentInfo, EngineError> {
        let mut request = placement_request(launch);
        let create = v1::CreateAgentRequest {
            launch: Some(wire::launch_to_wire(launch)),
            request_id: request_id.to_owned(),
        };
        let mut tried: Vec<Tried> = Vec::new();
        let mut pauses = self.retries.pauses();
        loop {
            let host = self.place(&mut request, &tried).await?;
            let Some(info) = self.fleet.get(&host) else {
                // It went between the decision and now.
                request.excluded.push(host);
                continue;
            };
            let fault = match self.create(&info.info, create.clone(), deadline).await {
                Ok(agent) => return Ok(agent),
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
                Next::Wait => debug!(%host, "the claim of a host that cannot be reached is in the way"),
            }
            // The pauses never run out; the deadline does.
            sleep(pauses.next().unwrap_or_default()).await;
        }
    }

    /// Asks the policy.
    #[tracing::instrument(level = "debug", skip_all)]
    async fn place(&self, request: &mut PlacementRequest, tried: &[Tried]) -> Result<HostId, EngineError> {
        let mut needs_ticket = self.placement.needs_ticket();
        loop {
            if needs_ticket {
                let counter = &self.placement.identity().name;
                request.ticket = Some(self.directory.ticket(counter).await?);
            }
            match self.decide(request).await? {
                Ok(decision) => {
                    debug!(host = %decision.host, policy = %decision.policy, reason = decision.reason, "placed");
                    return Ok(decision.host);
                }
                // Another policy has just taken over.
                Err(PlaceError::NeedsTicket { .. }) if !needs_ticket => needs_ticket = true,
                Err(PlaceError::Refused { reason, .. }) => {
                    return Err(EngineError::NoHost {
                        key: request.key.clone(),
                        reason,
                        tried: tried.to_vec(),
                    });
                }
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

fn placement_request(launch: &Launch) -> PlacementRequest {
    PlacementRequest {
        name: launch.name.clone(),
        class_name: launch.class_name.clone(),
        labels: launch.labels.clone(),
        resources: launch.resources.clone(),
        qos: launch.qos.clone(),
        ..PlacementRequest::new(launch.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GuildId;

    #[test]
    fn a_policy_is_told_all_that_the_launch_says_of_the_agent() {
        let spec = br#"{"id":"a","name":"Ann","description":"An agent","class_name":"demo.Echo",
            "resources":{"num_cpus":2},"qos":{"retry_count":3}}"#;
        let mut launch = Launch::from_agent_spec(GuildId::new("g").expect("an id"), spec).expect("a launch");
        launch.labels.insert("zone".to_owned(), "b".to_owned());
        let request = placement_request(&launch);
        assert_eq!((request.name.as_str(), request.class_name.as_str()), ("Ann", "demo.Echo"));
        assert_eq!(request.labels["zone"], "b");
        assert_eq!(request.resources.num_cpus, Some(2.0));
        assert_eq!(request.qos.retry_count, Some(3));
    }
}
