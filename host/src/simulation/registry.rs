//! The registry in memory, as one machine reaches it through the network.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, future::BoxFuture, stream, stream::BoxStream};
use guildhall::{
    agent::{AgentEvent, AgentInfo},
    host::{HostEvent, HostInfo, LeaseId, LiveHost},
    ids::{AgentKey, Epoch, GuildId, HostId},
    launch::Launch,
    placement::{PolicyArtifact, Sha256Digest},
    registry::{
        Burial, ClaimOutcome, Claimed, MemoryRegistry, Overdue, Registration, Registry, RegistryError,
        Renewed,
    },
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::world::{Fate, Gate, NO_ANSWER, World};

type Answer<T> = Result<T, RegistryError>;

/// The registry from where one host stands.
#[derive(Clone)]
pub(super) struct FarRegistry {
    pub(super) world: Arc<World>,
    pub(super) machine: usize,
    pub(super) gate: Gate,
    /// Cancelled when the host has crashed: it asks nothing any more.
    pub(super) dead: CancellationToken,
}

impl fmt::Debug for FarRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FarRegistry")
    }
}

fn no_answer() -> RegistryError {
    RegistryError::Timeout { address: "the registry".to_owned(), waited: NO_ANSWER }
}

impl FarRegistry {
    async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        carry_out: impl FnOnce(MemoryRegistry) -> BoxFuture<'static, Answer<T>> + Send,
    ) -> Answer<T> {
        let Self { world, machine, gate, dead } = self;
        gate.pass().await;
        world.travel().await;
        if dead.is_cancelled() {
            return Err(no_answer());
        }
        let memory = world.memory.clone();
        match world.fate(*machine) {
            Fate::Works => {
                let answer = carry_out(memory).await;
                world.travel().await;
                gate.pass().await;
                return answer;
            }
            Fate::Lost => {}
            Fate::AnswerLost => {
                world.book().note(&format!("h{machine}: {what} is carried out, its answer is lost"));
                drop(carry_out(memory).await);
            }
            Fate::Late(after) => {
                let (late, book, machine) = (carry_out(memory), Arc::clone(world), *machine);
                tokio::spawn(async move {
                    sleep(after).await;
                    let done = late.await.is_ok();
                    let mut book = book.book();
                    book.note(&format!("h{machine}: {what} is carried out {after:?} late: {done}"));
                    if done {
                        book.count(match what {
                            "renew" => "late renewals",
                            "bury" => "late burials",
                            _ => "late writes",
                        });
                    }
                });
            }
        }
        sleep(NO_ANSWER).await;
        gate.pass().await;
        Err(no_answer())
    }
}

#[async_trait]
impl Registry for FarRegistry {
    async fn register(&self, host: &HostInfo, lease: &LeaseId, length: Duration) -> Answer<Registration> {
        let (host, lease) = (host.clone(), lease.clone());
        self.call("register", |it| Box::pin(async move { it.register(&host, &lease, length).await })).await
    }

    async fn renew(
        &self,
        host: &HostId,
        lease: &LeaseId,
        length: Duration,
        view: u64,
        report: Option<&HostInfo>,
    ) -> Answer<Renewed> {
        let (host, lease, report) = (host.clone(), lease.clone(), report.cloned());
        let world = Arc::clone(&self.world);
        let renew = |it: MemoryRegistry| async move {
            let was_overdue = it.overdue().await?.iter().any(|overdue| overdue.lease == lease);
            let renewed = it.renew(&host, &lease, length, view, report.as_ref()).await;
            if was_overdue && renewed.is_ok() {
                let mut book = world.book();
                book.note(&format!("{host} renews an overdue lease"));
                book.count("overdue renewals");
            }
            renewed
        };
        self.call("renew", |it| Box::pin(renew(it))).await
    }

    async fn leave(&self, host: &HostId, lease: &LeaseId) -> Answer<()> {
        let (host, lease) = (host.clone(), lease.clone());
        self.call("leave", |it| Box::pin(async move { it.leave(&host, &lease).await })).await
    }

    async fn overdue(&self) -> Answer<Vec<Overdue>> {
        self.call("overdue", |it| Box::pin(async move { it.overdue().await })).await
    }

    async fn bury(&self, overdue: &Overdue, within: Duration) -> Answer<Burial> {
        let (overdue, world, machine) = (overdue.clone(), Arc::clone(&self.world), self.machine);
        let bury = |it: MemoryRegistry| async move {
            let buried = it.bury(&overdue, within).await;
            if let Ok(burial) = &buried {
                let mut book = world.book();
                book.note(&format!("h{machine} buries {}: {burial:?}", overdue.host.id));
                book.count(match burial {
                    Burial::Buried => "burials",
                    Burial::Late => "burials too late",
                    _ => "burials missed",
                });
            }
            buried
        };
        self.call("bury", |it| Box::pin(bury(it))).await
    }

    async fn hosts(&self) -> Answer<Vec<LiveHost>> {
        self.call("hosts", |it| Box::pin(async move { it.hosts().await })).await
    }

    fn watch_hosts(&self) -> BoxStream<'static, HostEvent> {
        let begin = (self.clone(), None::<BoxStream<'static, HostEvent>>);
        stream::unfold(begin, |(far, mut events)| async move {
            let mut changes = far.world.net_changes();
            loop {
                changes.mark_unchanged();
                if far.world.is_cut_off(far.machine) {
                    // What comes meanwhile is lost: it begins again with a snapshot.
                    events = None;
                    let _ = changes.changed().await;
                    continue;
                }
                let stream = events.get_or_insert_with(|| far.world.memory.watch_hosts());
                tokio::select! {
                    Some(event) = stream.next() => {
                        far.world.travel().await;
                        return Some((event, (far, events)));
                    }
                    Ok(()) = changes.changed() => {}
                }
            }
        })
        .boxed()
    }

    async fn claim(
        &self,
        agent: &AgentInfo,
        lease: &LeaseId,
        replaces: Option<Epoch>,
    ) -> Answer<ClaimOutcome> {
        let (agent, lease) = (agent.clone(), lease.clone());
        self.call("claim", |it| Box::pin(async move { it.claim(&agent, &lease, replaces).await })).await
    }

    async fn accept(&self, agent: &AgentInfo, lease: &LeaseId, launch: &Launch) -> Answer<ClaimOutcome> {
        let (agent, lease, launch) = (agent.clone(), lease.clone(), launch.clone());
        self.call("accept", |it| Box::pin(async move { it.accept(&agent, &lease, &launch).await })).await
    }

    async fn adopt(&self, agent: &AgentInfo, lease: &LeaseId, epoch: Epoch) -> Answer<ClaimOutcome> {
        let (agent, lease) = (agent.clone(), lease.clone());
        self.call("adopt", |it| Box::pin(async move { it.adopt(&agent, &lease, epoch).await })).await
    }

    async fn hand_over(&self, agent: &AgentInfo) -> Answer<()> {
        let agent = agent.clone();
        self.call("hand_over", |it| Box::pin(async move { it.hand_over(&agent).await })).await
    }

    async fn launch(&self, key: &AgentKey, epoch: Epoch) -> Answer<Option<Launch>> {
        let key = key.clone();
        self.call("launch", |it| Box::pin(async move { it.launch(&key, epoch).await })).await
    }

    async fn orphans(&self) -> Answer<Vec<Claimed>> {
        self.call("orphans", |it| Box::pin(async move { it.orphans().await })).await
    }

    async fn reassert(&self, key: &AgentKey, epoch: Epoch, lease: &LeaseId) -> Answer<()> {
        let (key, lease) = (key.clone(), lease.clone());
        self.call("reassert", |it| Box::pin(async move { it.reassert(&key, epoch, &lease).await })).await
    }

    async fn update(&self, agent: &AgentInfo) -> Answer<()> {
        let agent = agent.clone();
        self.call("update", |it| Box::pin(async move { it.update(&agent).await })).await
    }

    async fn release(&self, key: &AgentKey, epoch: Epoch) -> Answer<()> {
        let key = key.clone();
        self.call("release", |it| Box::pin(async move { it.release(&key, epoch).await })).await
    }

    async fn agent(&self, key: &AgentKey) -> Answer<Option<Claimed>> {
        let key = key.clone();
        self.call("agent", |it| Box::pin(async move { it.agent(&key).await })).await
    }

    async fn agents_in_guild(&self, guild: &GuildId) -> Answer<Vec<Claimed>> {
        let guild = guild.clone();
        self.call("agents_in_guild", |it| Box::pin(async move { it.agents_in_guild(&guild).await })).await
    }

    fn watch_guild(&self, guild: &GuildId) -> BoxStream<'static, AgentEvent> {
        self.world.memory.watch_guild(guild)
    }

    async fn tickets(&self, counter: &str, count: u32) -> Answer<u64> {
        self.world.memory.tickets(counter, count).await
    }

    async fn publish_policy(&self, policy: Option<&PolicyArtifact>) -> Answer<()> {
        self.world.memory.publish_policy(policy).await
    }

    async fn published_policy(&self) -> Answer<Option<PolicyArtifact>> {
        self.world.memory.published_policy().await
    }

    async fn published_digest(&self) -> Answer<Option<Sha256Digest>> {
        self.world.memory.published_digest().await
    }
}
