//! Answers from the registry's records, read in the light of which leases are in
//! force: a record whose host's lease ended says `lost`.

mod watch;

use std::sync::Arc;

use futures::stream::BoxStream;

use crate::{
    agent::{AgentEvent, AgentInfo, AgentState},
    engine::EngineError,
    fault::{Fault, FaultReason},
    fleet::Fleet,
    ids::{AgentKey, GuildId},
    launch::Launch,
    registry::{Claimed, Registry},
};

#[derive(Clone, Debug)]
pub(crate) struct Records {
    registry: Arc<dyn Registry>,
    fleet: Arc<Fleet>,
}

impl Records {
    pub(super) fn new(registry: Arc<dyn Registry>, fleet: Arc<Fleet>) -> Self {
        Self { registry, fleet }
    }

    pub(super) async fn agent(&self, key: &AgentKey) -> Result<Option<AgentInfo>, EngineError> {
        let Some(claimed) = self.registry.agent(key).await? else { return Ok(None) };
        Ok(self.judge(vec![claimed]).await?.pop())
    }

    pub(super) async fn agents_in_guild(&self, guild: &GuildId) -> Result<Vec<AgentInfo>, EngineError> {
        let claimed = self.registry.agents_in_guild(guild).await?;
        self.judge(claimed).await
    }

    pub(super) async fn launch(&self, agent: &AgentInfo) -> Result<Option<Launch>, EngineError> {
        Ok(self.registry.launch(&agent.key, agent.epoch).await?)
    }

    /// Marks as lost what is claimed under a lease that is not in force. This
    /// engine may not have heard of a new lease yet, so before it says so it asks
    /// the registry once.
    async fn judge(&self, claimed: Vec<Claimed>) -> Result<Vec<AgentInfo>, EngineError> {
        let doubtful = |claimed: &Claimed| {
            claimed.agent.state.needs_host()
                && !self.fleet.lease_in_force(&claimed.agent.host, &claimed.lease)
        };
        let in_force = match claimed.iter().any(doubtful) {
            true => self.registry.hosts().await?,
            false => Vec::new(),
        };
        let judged = claimed.into_iter().map(|claimed| {
            let lost = doubtful(&claimed) && !in_force.iter().any(|host| host.lease == claimed.lease);
            let state = if lost { AgentState::Lost } else { claimed.agent.state };
            AgentInfo { state, ..claimed.agent }
        });
        Ok(judged.collect())
    }

    pub(super) fn watch(&self, guild: &GuildId) -> BoxStream<'static, AgentEvent> {
        watch::watch(self.clone(), guild.clone())
    }

    /// Removes the record of an agent whose host is gone, or, with `host_denies`, says that
    /// it does not have it. A host whose lease is overdue is not gone: it may run the agent,
    /// under the promises of its peers, until its lease is buried.
    pub(super) async fn forget(&self, agent: AgentInfo, host_denies: bool) -> Result<AgentInfo, EngineError> {
        if let Some(claimed) = self.registry.agent(&agent.key).await?
            && claimed.agent.epoch == agent.epoch
            && claimed.agent.state.needs_host()
        {
            let may_run = self.registry.overdue().await?.iter().any(|it| it.lease == claimed.lease)
                || (!host_denies && self.registry.hosts().await?.iter().any(|it| it.lease == claimed.lease));
            if may_run {
                let message = "its host cannot be reached, and may still run it";
                let fault = Fault::new(FaultReason::HostUnreachable, message);
                return Err(EngineError::Host { host: agent.host, fault });
            }
        }
        self.registry.release(&agent.key, agent.epoch).await?;
        Ok(agent)
    }

    pub(super) async fn tickets(&self, counter: &str, count: u32) -> Result<u64, EngineError> {
        Ok(self.registry.tickets(counter, count).await?)
    }
}
