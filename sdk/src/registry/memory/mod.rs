//! The registry of one process: for demos, tests and fleets that fit in it.
//!
//! Everything is in one table behind one lock, which is never held over an await.
//! Leases are measured with tokio's clock, so a paused clock drives them. Nothing
//! is kept on disk; when the last clone is gone, so is what it held.
//!
//! [`state`] holds the rules, [`watch`] tells them to watchers as they happen, and
//! [`topic`] is the channel between the two.

mod state;
mod topic;
mod watch;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::time::Instant;

use self::state::State;
use super::{Burial, ClaimOutcome, Claimed, Overdue, Registration, Registry, RegistryError, Renewed};
use crate::{
    agent::{AgentEvent, AgentInfo},
    host::{HostEvent, HostInfo, LeaseId, LiveHost},
    ids::{AgentKey, Epoch, GuildId, HostId},
    launch::Launch,
    placement::{PolicyArtifact, Sha256Digest},
};

/// A registry in memory. Clones share one table.
///
/// ```
/// use guildhall::registry::{MemoryRegistry, Registry};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = MemoryRegistry::new();
/// let same = registry.clone();
/// assert_eq!(registry.ticket("round-robin").await.unwrap(), 0);
/// assert_eq!(same.ticket("round-robin").await.unwrap(), 1);
/// # });
/// ```
#[derive(Clone, Default)]
pub struct MemoryRegistry {
    state: Arc<Mutex<State>>,
}

impl MemoryRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    // A panic under the lock can only come from a failed allocation, after which
    // the table is as whole as before it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryRegistry")
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn register(
        &self,
        host: &HostInfo,
        lease: &LeaseId,
        length: Duration,
    ) -> Result<Registration, RegistryError> {
        self.state().register(host, lease, length)
    }

    async fn renew(
        &self,
        host: &HostId,
        lease: &LeaseId,
        length: Duration,
        view: u64,
        report: Option<&HostInfo>,
    ) -> Result<Renewed, RegistryError> {
        self.state().renew(host, lease, length, view, report)
    }

    async fn leave(&self, host: &HostId, lease: &LeaseId) -> Result<(), RegistryError> {
        self.state().leave(host, lease);
        Ok(())
    }

    async fn overdue(&self) -> Result<Vec<Overdue>, RegistryError> {
        Ok(self.state().overdue())
    }

    async fn bury(&self, overdue: &Overdue, within: Duration) -> Result<Burial, RegistryError> {
        Ok(self.state().bury(overdue, within))
    }

    async fn hosts(&self) -> Result<Vec<LiveHost>, RegistryError> {
        Ok(self.state().live_hosts(Instant::now()))
    }

    fn watch_hosts(&self) -> BoxStream<'static, HostEvent> {
        watch::hosts(self.clone())
    }

    async fn claim(
        &self,
        agent: &AgentInfo,
        lease: &LeaseId,
        replaces: Option<Epoch>,
    ) -> Result<ClaimOutcome, RegistryError> {
        self.state().claim(agent, lease, replaces)
    }

    async fn accept(
        &self,
        agent: &AgentInfo,
        lease: &LeaseId,
        launch: &Launch,
    ) -> Result<ClaimOutcome, RegistryError> {
        self.state().accept(agent, lease, launch)
    }

    async fn adopt(
        &self,
        agent: &AgentInfo,
        lease: &LeaseId,
        epoch: Epoch,
    ) -> Result<ClaimOutcome, RegistryError> {
        self.state().adopt(agent, lease, epoch)
    }

    async fn hand_over(&self, agent: &AgentInfo) -> Result<(), RegistryError> {
        self.state().hand_over(agent)
    }

    async fn launch(&self, key: &AgentKey, epoch: Epoch) -> Result<Option<Launch>, RegistryError> {
        Ok(self.state().launch(key, epoch))
    }

    async fn orphans(&self) -> Result<Vec<Claimed>, RegistryError> {
        Ok(self.state().orphans())
    }

    async fn reassert(&self, key: &AgentKey, epoch: Epoch, lease: &LeaseId) -> Result<(), RegistryError> {
        self.state().reassert(key, epoch, lease)
    }

    async fn update(&self, agent: &AgentInfo) -> Result<(), RegistryError> {
        self.state().update(agent)
    }

    async fn release(&self, key: &AgentKey, epoch: Epoch) -> Result<(), RegistryError> {
        self.state().release(key, epoch)
    }

    async fn agent(&self, key: &AgentKey) -> Result<Option<Claimed>, RegistryError> {
        Ok(self.state().agent(key).cloned())
    }

    async fn agents_in_guild(&self, guild: &GuildId) -> Result<Vec<Claimed>, RegistryError> {
        Ok(self.state().agents(guild).cloned().collect())
    }

    fn watch_guild(&self, guild: &GuildId) -> BoxStream<'static, AgentEvent> {
        watch::guild(self.clone(), guild.clone())
    }

    async fn tickets(&self, counter: &str, count: u32) -> Result<u64, RegistryError> {
        Ok(self.state().tickets(counter, count))
    }

    async fn publish_policy(&self, policy: Option<&PolicyArtifact>) -> Result<(), RegistryError> {
        self.state().policy = policy.cloned();
        Ok(())
    }

    async fn published_policy(&self) -> Result<Option<PolicyArtifact>, RegistryError> {
        Ok(self.state().policy.clone())
    }

    async fn published_digest(&self) -> Result<Option<Sha256Digest>, RegistryError> {
        let policy = self.state().policy.clone();
        Ok(policy.as_ref().map(PolicyArtifact::digest))
    }
}
