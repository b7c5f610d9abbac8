//! The agents of one guild as a watcher sees them. Each change is told by the script
//! that makes it, so there is nothing to look for in between.

use std::sync::Arc;

use futures::FutureExt;
use tokio::time::Instant;
use tracing::error;

use super::{Answer, Subject};
use crate::{
    agent::{AgentEvent, AgentInfo},
    ids::{AgentId, AgentKey, Epoch, GuildId},
    registry::{
        Claimed, RegistryError,
        redis::{
            entry,
            link::{Link, Question},
            schema::GuildKeys,
            scripts,
        },
    },
};

pub(super) struct Guild {
    guild: GuildId,
    keys: GuildKeys,
}

impl Guild {
    pub(super) fn new(guild: GuildId, keys: GuildKeys) -> Self {
        Self { guild, keys }
    }

    fn key(&self, agent: &str) -> Option<AgentKey> {
        AgentId::new(agent).ok().map(|agent| AgentKey::new(self.guild.clone(), agent))
    }

    fn listed(&self, agent: &str, entry: &str) -> Option<AgentInfo> {
        readable(entry::agent(&self.keys.agents, &self.key(agent)?, entry))
    }
}

impl Subject for Guild {
    type Event = AgentEvent;
    /// Agent and entry of each.
    type Listing = Vec<(String, String)>;
    type Check = ();

    fn channel(&self) -> &str {
        &self.keys.changes
    }

    fn fresh_mark(&self) -> String {
        self.keys.slot.fresh_mark()
    }

    fn list(&self, link: Arc<Link>, mark: String) -> Answer<Self::Listing> {
        let keys = self.keys.clone();
        async move {
            let mut script = scripts::AGENTS.key(&keys.agents);
            script.arg(mark);
            link.ask_once(&keys.agents, Question::Script(&script)).await
        }
        .boxed()
    }

    fn begin(&mut self, listing: Self::Listing) -> AgentEvent {
        let mut agents: Vec<_> =
            listing.iter().filter_map(|(agent, entry)| self.listed(agent, entry)).collect();
        agents.sort_by(|a, b| a.key.cmp(&b.key));
        AgentEvent::Snapshot(agents)
    }

    fn change(&mut self, message: &[u8]) -> Option<AgentEvent> {
        let message = String::from_utf8_lossy(message);
        if let Some(entry) = message.strip_prefix('+') {
            return readable(entry::any_agent(&self.keys.changes, entry)).map(AgentEvent::Changed);
        }
        let (epoch, agent) = message.strip_prefix('-')?.split_once(' ')?;
        Some(AgentEvent::Removed { key: self.key(agent)?, epoch: Epoch(epoch.parse().ok()?) })
    }

    fn next_check(&self) -> Option<Instant> {
        None
    }

    fn check(&self, _: Arc<Link>, _: String) -> Answer<()> {
        futures::future::ready(Ok(())).boxed()
    }

    fn checked(&mut self, (): ()) -> Option<Vec<AgentEvent>> {
        Some(Vec::new())
    }
}

/// A watcher goes on without what it cannot read, for one bad record must not hide the
/// guild.
fn readable(found: Result<Claimed, RegistryError>) -> Option<AgentInfo> {
    found
        .inspect_err(|error| error!(%error, "an agent is left out of a watch"))
        .ok()
        .map(|claimed| claimed.agent)
}
