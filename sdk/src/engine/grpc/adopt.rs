//! Finding another host for an agent that has none any more: the policy chooses, the
//! host claims.

use std::{collections::VecDeque, time::Duration};

use guildhall_proto::v1;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};

use super::{
    GrpcEngine, Shared,
    run::{Chosen, placement_request},
};
use crate::{
    agent::AgentInfo,
    engine::{EngineError, Tried},
    fault::{Fault, FaultReason},
    host::HostInfo,
    ids::HostId,
    launch::Launch,
    wire,
};

/// How long a host may take to claim an agent.
const ADOPT_WITHIN: Duration = Duration::from_secs(10);

/// What an agent that is to be adopted has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// No process: its host's lease is buried, or it was handed over.
    Ended,
    /// A process on the host that asks, which goes on until its successor is ready.
    Overlapping,
}

impl GrpcEngine {
    /// Has another host take over an agent that was accepted and has no host any more, or
    /// whose host asks for a successor. The policy chooses among the hosts that
    /// are not `excluded` and on which the agent did not fail already. Answers when it is
    /// claimed there, and being started; where its predecessor still runs, when it is
    /// ready or its first start there has failed.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when the agent is not what `record` says any more: it was
    /// stopped, or has a host again. [`EngineError::NoHost`] when no host takes it; it is
    /// left as it is then.
    pub async fn adopt_agent(
        &self,
        record: &AgentInfo,
        launch: &Launch,
        predecessor: Predecessor,
        excluded: &[HostId],
    ) -> Result<AgentInfo, EngineError> {
        self.unless_shut_down(self.shared.find_host(record, launch, predecessor, excluded)).await
    }

    /// Like [`adopt_agent`](Self::adopt_agent), on the host that is named.
    ///
    /// # Errors
    /// As there; [`EngineError::Host`] when that host does not take it.
    pub async fn adopt_agent_on(
        &self,
        record: &AgentInfo,
        predecessor: Predecessor,
        to: &HostId,
    ) -> Result<AgentInfo, EngineError> {
        let unknown = || Fault::new(FaultReason::HostUnreachable, "this engine does not know the host");
        let failed = |fault| EngineError::Host { host: to.clone(), fault };
        let host = self.shared.fleet.get(to).ok_or_else(|| failed(unknown()))?;
        let adopting = self.shared.ask_to_adopt(&host.info, record, predecessor, None);
        self.unless_shut_down(async { adopting.await.map_err(failed) }).await
    }
}

impl Shared {
    async fn find_host(
        &self,
        record: &AgentInfo,
        launch: &Launch,
        predecessor: Predecessor,
        excluded: &[HostId],
    ) -> Result<AgentInfo, EngineError> {
        let deadline = Instant::now() + self.timeouts.create;
        let mut request = placement_request(launch);
        request.excluded = excluded.iter().chain(&record.failed_on).cloned().collect();
        request.restarts = record.restarts;
        let mut tried: Vec<Tried> = Vec::new();
        let mut named: VecDeque<Chosen> = VecDeque::new();
        loop {
            let Some(Chosen { host, policy }) = named.pop_front() else {
                named = self.place(&mut request, &tried, deadline).await?;
                continue;
            };
            let Some(info) = self.fleet.get(&host) else {
                request.excluded.push(host);
                continue;
            };
            let placed_by = Some(wire::policy_to_wire(&policy));
            let fault = match self.ask_to_adopt(&info.info, record, predecessor, placed_by).await {
                Ok(agent) => {
                    info!(agent = %record.key, %host, epoch = %agent.epoch, "the agent has another host");
                    return Ok(agent);
                }
                Err(fault) => fault,
            };
            match fault.reason {
                FaultReason::AgentNotFound | FaultReason::AlreadyRunning => {
                    return Err(EngineError::NotFound { key: record.key.clone() });
                }
                _ => debug!(%host, %fault, "host does not take the agent over; asking another"),
            }
            request.excluded.push(host.clone());
            tried.push(Tried { host, fault });
            if tried.len() >= self.retries.hosts {
                let reason = format!("{} hosts were asked, and that is the limit", tried.len());
                return Err(EngineError::NoHost { key: record.key.clone(), reason, tried });
            }
        }
    }

    async fn ask_to_adopt(
        &self,
        host: &HostInfo,
        record: &AgentInfo,
        predecessor: Predecessor,
        placed_by: Option<v1::Policy>,
    ) -> Result<AgentInfo, Fault> {
        let request = v1::AdoptAgentRequest {
            guild_id: record.key.guild.to_string(),
            agent_id: record.key.agent.to_string(),
            epoch: record.epoch.0,
            request_id: record.request_id.clone(),
            placed_by,
            overlap: predecessor == Predecessor::Overlapping,
        };
        let mut peer = self.channels.peer(host)?;
        let late = |_| Fault::new(FaultReason::HostUnreachable, "the host did not answer in time");
        let within = match predecessor {
            Predecessor::Ended => ADOPT_WITHIN,
            Predecessor::Overlapping => self.timeouts.create,
        };
        let answer = timeout_at(Instant::now() + within, peer.adopt_agent(request)).await.map_err(late)?;
        let agent = answer.map_err(|status| wire::fault_from_status(&status))?.into_inner().agent;
        agent
            .and_then(|agent| wire::agent_from_wire(agent).ok())
            .ok_or_else(|| Fault::new(FaultReason::Internal, "the answer makes no sense"))
    }
}
