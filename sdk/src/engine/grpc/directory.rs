//! Questions about agents: to the registry where there is one, else to the hosts
//! themselves.

mod hosts;
mod records;

use std::{sync::Arc, time::Duration};

use futures::stream::BoxStream;

use self::{hosts::Hosts, records::Records};
use super::channels::Channels;
use crate::{
    agent::{AgentEvent, AgentInfo},
    engine::EngineError,
    fleet::Fleet,
    ids::{AgentKey, GuildId},
    launch::Launch,
    registry::Registry,
};

/// Who is asked.
#[derive(Debug)]
pub(super) enum Directory {
    /// The registry's records.
    Records(Records),
    /// The hosts, all of them.
    Hosts(Hosts),
}

impl Directory {
    pub(super) fn new(
        registry: Option<Arc<dyn Registry>>,
        fleet: Arc<Fleet>,
        channels: Arc<Channels>,
        limit: Duration,
    ) -> Self {
        match registry {
            Some(registry) => Self::Records(Records::new(registry, fleet)),
            None => Self::Hosts(Hosts::new(fleet, channels, limit)),
        }
    }

    pub(super) async fn agent(&self, key: &AgentKey) -> Result<Option<AgentInfo>, EngineError> {
        match self {
            Self::Records(records) => records.agent(key).await,
            Self::Hosts(hosts) => hosts.agent(key).await,
        }
    }

    pub(super) async fn agents_in_guild(&self, guild: &GuildId) -> Result<Vec<AgentInfo>, EngineError> {
        match self {
            Self::Records(records) => records.agents_in_guild(guild).await,
            Self::Hosts(hosts) => hosts.agents_in_guild(guild).await,
        }
    }

    /// What an agent was launched with; `None` when it has another epoch by now.
    pub(super) async fn launch(&self, agent: &AgentInfo) -> Result<Option<Launch>, EngineError> {
        match self {
            Self::Records(records) => records.launch(agent).await,
            Self::Hosts(hosts) => hosts.launch(agent).await,
        }
    }

    pub(super) fn watch(&self, guild: &GuildId) -> BoxStream<'static, AgentEvent> {
        match self {
            Self::Records(records) => records.watch(guild),
            Self::Hosts(hosts) => hosts.watch(guild),
        }
    }

    /// Removes what is left of an agent whose host is gone, or denies that it has it.
    pub(super) async fn forget(&self, agent: AgentInfo, host_denies: bool) -> Result<AgentInfo, EngineError> {
        match self {
            Self::Records(records) => records.forget(agent, host_denies).await,
            // The hosts are all there is, so nothing is left of it.
            Self::Hosts(_) => Err(EngineError::NotFound { key: agent.key }),
        }
    }

    /// The next so many numbers of a counter, by the first: all engines' where there is a
    /// registry, else this engine's own.
    pub(super) async fn tickets(&self, counter: &str, count: u32) -> Result<u64, EngineError> {
        match self {
            Self::Records(records) => records.tickets(counter, count).await,
            Self::Hosts(hosts) => Ok(hosts.tickets(count)),
        }
    }
}
