//! What operators do: move an agent, cordon a host, drain it.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use guildhall_proto::v1;
use tokio::sync::watch;
use uuid::Uuid;

use super::{GrpcEngine, run::placement_request, unknown_host};
use crate::{
    agent::AgentInfo,
    engine::EngineError,
    fault::{Fault, FaultReason},
    ids::{AgentKey, HostId},
    launch::Launch,
    placement::{Move, Placed},
    wire,
};

/// How far the drain of a host is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainProgress {
    /// Agents that had to be moved.
    pub total: u32,
    /// Agents that another host has taken.
    pub moved: u32,
    /// Agents that ended and wait for a host that can take them.
    pub waiting: u32,
    /// Whether it is over. What is neither moved nor waiting then is still on the host.
    pub done: bool,
}

impl GrpcEngine {
    /// Moves an agent to another host: the one that is named, or one that its present
    /// host's policy chooses. The old process has ended before the new one starts.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is no such agent, [`EngineError::Host`] when its
    /// host cannot be reached or no other host takes it; then it waits for one.
    pub async fn move_agent(&self, key: &AgentKey, to: Option<&HostId>) -> Result<AgentInfo, EngineError> {
        self.unless_shut_down(async {
            let agent = self.shared.directory.agent(key).await?;
            let agent = agent.ok_or_else(|| EngineError::NotFound { key: key.clone() })?;
            let request = v1::MoveAgentRequest {
                guild_id: key.guild.to_string(),
                agent_id: key.agent.to_string(),
                to_host_id: to.map(ToString::to_string).unwrap_or_default(),
                request_id: fresh_id(),
            };
            let mut client = self.client(&agent.host)?;
            let answer =
                client.move_agent(request).await.map_err(|status| host_failed(&agent.host, &status))?;
            let moved = answer.into_inner().agent.and_then(|agent| wire::agent_from_wire(agent).ok());
            moved.ok_or_else(|| {
                let fault = Fault::new(FaultReason::Internal, "the answer makes no sense");
                EngineError::Host { host: agent.host, fault }
            })
        })
        .await
    }

    /// Has a host take no new agents. Those it has stay.
    ///
    /// # Errors
    /// [`EngineError::Host`] when it cannot be reached.
    pub async fn cordon(&self, host: &HostId) -> Result<(), EngineError> {
        let request = v1::CordonRequest { request_id: fresh_id() };
        let cordon = async { self.client(host)?.cordon(request).await.map_err(|it| host_failed(host, &it)) };
        self.unless_shut_down(cordon).await.map(drop)
    }

    /// Has a host take new agents again.
    ///
    /// # Errors
    /// [`EngineError::Host`] when it cannot be reached.
    pub async fn uncordon(&self, host: &HostId) -> Result<(), EngineError> {
        let request = v1::UncordonRequest { request_id: fresh_id() };
        let uncordon =
            async { self.client(host)?.uncordon(request).await.map_err(|it| host_failed(host, &it)) };
        self.unless_shut_down(uncordon).await.map(drop)
    }

    /// Cordons a host and moves all its agents to others, within that time or the host's
    /// usual one. The drain goes on when the progress is not followed any more.
    ///
    /// # Errors
    /// [`EngineError::Host`] when it cannot be reached, also half way.
    pub async fn drain(
        &self,
        host: &HostId,
        within: Option<Duration>,
    ) -> Result<BoxStream<'static, Result<DrainProgress, EngineError>>, EngineError> {
        let within = within.map_or(0, |within| u32::try_from(within.as_millis()).unwrap_or(u32::MAX));
        let request = v1::DrainRequest { within_ms: within, request_id: fresh_id() };
        let begun = async { self.client(host)?.drain(request).await.map_err(|it| host_failed(host, &it)) };
        let progress = self.unless_shut_down(begun).await?.into_inner();
        let host = host.clone();
        let told = move |step: Result<v1::DrainResponse, tonic::Status>| {
            let v1::DrainResponse { total, moved, waiting, done } =
                step.map_err(|it| host_failed(&host, &it))?;
            Ok(DrainProgress { total, moved, waiting, done })
        };
        Ok(progress.map(told).boxed())
    }

    /// Asks the policy whether some of these agents should move: the launch of each, and
    /// the host it is on. A policy that proposes no moves proposes none.
    ///
    /// # Errors
    /// [`EngineError::Policy`] when the policy fails.
    pub fn propose_moves(&self, agents: &[(Launch, HostId)], most: usize) -> Result<Vec<Move>, EngineError> {
        let placed = |(launch, host): &(Launch, HostId)| Placed {
            request: placement_request(launch),
            host: host.clone(),
        };
        let placed: Vec<_> = agents.iter().map(placed).collect();
        self.shared.placement.propose_moves(&placed, most).map_err(EngineError::Policy)
    }

    /// Follows how many hosts this engine knows of; `None` before it knows of any fleet.
    pub fn host_count(&self) -> watch::Receiver<Option<usize>> {
        self.shared.fleet.size()
    }

    fn client(&self, host: &HostId) -> Result<super::channels::Client, EngineError> {
        let failed = |fault| EngineError::Host { host: host.clone(), fault };
        let found = self.shared.fleet.get(host).ok_or_else(|| failed(unknown_host()))?;
        self.shared.channels.client(&found.info).map_err(failed)
    }
}

fn fresh_id() -> String {
    Uuid::new_v4().simple().to_string()
}

fn host_failed(host: &HostId, status: &tonic::Status) -> EngineError {
    EngineError::Host { host: host.clone(), fault: wire::fault_from_status(status) }
}
