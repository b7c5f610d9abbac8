//! A registry that fails on demand.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use guildhall::{
    agent::{AgentEvent, AgentInfo},
    host::{HostEvent, HostInfo, LeaseId, LiveHost},
    ids::{AgentKey, Epoch, GuildId, HostId},
    placement::{PolicyArtifact, Sha256Digest},
    launch::Launch,
    registry::{
        Burial, ClaimOutcome, Claimed, MemoryRegistry, Overdue, Registration, Registry, RegistryError, Renewed,
    },
};
use guildhall_host::{runner::Runner, supervisor::SupervisorConfig};

use crate::setup::{Setup, setup_on};

/// A registry that fails on demand: before it does what was asked, or after.
#[derive(Debug, Default)]
pub(crate) struct Failing {
    memory: Mutex<MemoryRegistry>,
    pub(crate) away: AtomicBool,
    pub(crate) answers_lost: AtomicBool,
    /// How often something was claimed, or would have been.
    pub(crate) claims: AtomicU32,
    /// While somebody holds it, writes of records wait.
    pub(crate) writes: tokio::sync::Mutex<()>,
}

impl Failing {
    fn memory(&self) -> MemoryRegistry {
        self.memory.lock().unwrap().clone()
    }

    /// Begins anew, as a registry that kept nothing on disk. Answers what it is now.
    pub(crate) fn lose_data(&self) -> MemoryRegistry {
        let empty = MemoryRegistry::new();
        *self.memory.lock().unwrap() = empty.clone();
        empty
    }

    fn fail<T>(&self) -> Result<T, RegistryError> {
        Err(RegistryError::Unavailable { address: "test".to_owned(), source: "it is away".into() })
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, RegistryError>> + Send,
    ) -> Result<T, RegistryError> {
        if self.away.load(Ordering::Relaxed) {
            return self.fail();
        }
        let result = call.await;
        if self.answers_lost.load(Ordering::Relaxed) { self.fail() } else { result }
    }
}

#[async_trait]
impl Registry for Failing {
    async fn register(&self, h: &HostInfo, l: &LeaseId, t: Duration) -> Result<Registration, RegistryError> {
        self.call(self.memory().register(h, l, t)).await
    }
    async fn renew(
        &self,
        h: &HostId,
        l: &LeaseId,
        t: Duration,
        v: u64,
        r: Option<&HostInfo>,
    ) -> Result<Renewed, RegistryError> {
        self.call(self.memory().renew(h, l, t, v, r)).await
    }
    async fn overdue(&self) -> Result<Vec<Overdue>, RegistryError> {
        self.call(self.memory().overdue()).await
    }
    async fn bury(&self, o: &Overdue, w: Duration) -> Result<Burial, RegistryError> {
        self.call(self.memory().bury(o, w)).await
    }
    async fn accept(&self, a: &AgentInfo, l: &LeaseId, s: &Launch) -> Result<ClaimOutcome, RegistryError> {
        let claimed = self.call(self.memory().accept(a, l, s)).await;
        self.claims.fetch_add(1, Ordering::Relaxed);
        claimed
    }
    async fn adopt(&self, a: &AgentInfo, l: &LeaseId, e: Epoch) -> Result<ClaimOutcome, RegistryError> {
        let claimed = self.call(self.memory().adopt(a, l, e)).await;
        self.claims.fetch_add(1, Ordering::Relaxed);
        claimed
    }
    async fn hand_over(&self, a: &AgentInfo) -> Result<(), RegistryError> {
        self.call(self.memory().hand_over(a)).await
    }
    async fn launch(&self, k: &AgentKey, e: Epoch) -> Result<Option<Launch>, RegistryError> {
        self.call(self.memory().launch(k, e)).await
    }
    async fn orphans(&self) -> Result<Vec<Claimed>, RegistryError> {
        self.call(self.memory().orphans()).await
    }
    async fn leave(&self, h: &HostId, l: &LeaseId) -> Result<(), RegistryError> {
        self.call(self.memory().leave(h, l)).await
    }
    async fn hosts(&self) -> Result<Vec<LiveHost>, RegistryError> {
        self.call(self.memory().hosts()).await
    }
    fn watch_hosts(&self) -> BoxStream<'static, HostEvent> {
        self.memory().watch_hosts()
    }
    async fn claim(
        &self,
        a: &AgentInfo,
        l: &LeaseId,
        r: Option<Epoch>,
    ) -> Result<ClaimOutcome, RegistryError> {
        let claimed = self.call(self.memory().claim(a, l, r)).await;
        self.claims.fetch_add(1, Ordering::Relaxed);
        claimed
    }
    async fn reassert(&self, k: &AgentKey, e: Epoch, l: &LeaseId) -> Result<(), RegistryError> {
        self.call(self.memory().reassert(k, e, l)).await
    }
    async fn update(&self, a: &AgentInfo) -> Result<(), RegistryError> {
        drop(self.writes.lock().await);
        self.call(self.memory().update(a)).await
    }
    async fn release(&self, k: &AgentKey, e: Epoch) -> Result<(), RegistryError> {
        self.call(self.memory().release(k, e)).await
    }
    async fn agent(&self, k: &AgentKey) -> Result<Option<Claimed>, RegistryError> {
        self.call(self.memory().agent(k)).await
    }
    async fn agents_in_guild(&self, g: &GuildId) -> Result<Vec<Claimed>, RegistryError> {
        self.call(self.memory().agents_in_guild(g)).await
    }
    fn watch_guild(&self, g: &GuildId) -> BoxStream<'static, AgentEvent> {
        self.memory().watch_guild(g)
    }
    async fn tickets(&self, c: &str, n: u32) -> Result<u64, RegistryError> {
        self.call(self.memory().tickets(c, n)).await
    }
    async fn publish_policy(&self, p: Option<&PolicyArtifact>) -> Result<(), RegistryError> {
        self.call(self.memory().publish_policy(p)).await
    }
    async fn published_policy(&self) -> Result<Option<PolicyArtifact>, RegistryError> {
        self.call(self.memory().published_policy()).await
    }
    async fn published_digest(&self) -> Result<Option<Sha256Digest>, RegistryError> {
        self.call(self.memory().published_digest()).await
    }
}

pub(crate) async fn failing() -> (Setup, Arc<Failing>) {
    failing_with(|_, _| {}).await
}

pub(crate) async fn failing_with(
    change: impl FnOnce(&mut SupervisorConfig, &mut Runner),
) -> (Setup, Arc<Failing>) {
    let failing = Arc::new(Failing::default());
    let setup = setup_on(failing.memory(), failing.clone(), "h1", change).await;
    (setup, failing)
}
