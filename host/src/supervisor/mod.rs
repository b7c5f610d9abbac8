//! The supervisor: starts, watches, restarts and stops the agents of one host.
//!
//! [`Supervisor`] is the door. Behind it each agent is one task that owns the
//! agent's process and everything of it; others send it commands, and read what it
//! last said in a table. The supervisor is the authority on the host's capacity,
//! and never decides about identity: that is the registry's.
//!
//! It never runs a command that does not stand in the operator's
//! [`RunnerTable`], and never gives an agent the host's own environment.
//!
//! Read next: `agent/`, the life of an agent; [`restart`], the rules; `local/`, the
//! processes, and what is done so that none outlives its host.

mod admission;
mod agent;
mod claim;
mod config;
mod error;
mod guild_specs;
mod incarnation;
mod local;
pub mod notify;
mod output;
mod places;
mod recorder;
pub mod restart;
mod table;
mod watching;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures::{StreamExt, stream, stream::BoxStream};
use guildhall::{
    agent::{AgentEvent, AgentInfo, AgentState},
    host::LeaseId,
    ids::{AgentKey, Epoch, GuildId},
    launch::Launch,
    registry::{Registry, RegistryError},
    resources::Amounts,
};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

pub(crate) use self::incarnation::Processes;
use self::{agent::Command, guild_specs::GuildSpecs, local::LocalProcesses, places::Places, table::Table};
pub use self::{
    config::{ENV_ALLOW_LIST, SupervisorConfig},
    error::{CreateError, StopError, SupervisorError},
};
#[cfg(test)]
pub(crate) use self::{
    incarnation::{Body, Sign},
    local::Exit,
    output::Source,
};
use crate::{
    clock::BootInstant,
    fence::Fence,
    runner::RunnerTable,
    tenure::{Standing, Tenure},
};

/// Pause before a fence that could not be started is started again.
const FENCE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Reassertions in flight at once.
const REASSERTIONS: usize = 64;

/// The agents of one host. Cheap to clone; all clones are the same supervisor. When
/// the last one is dropped, it ends as by [`abort`](Self::abort), in the background.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
    _last: Arc<DropGuard>,
}

/// What the supervisor's tasks have in common.
struct Shared {
    config: SupervisorConfig,
    runners: ArcSwap<RunnerTable>,
    registry: Arc<dyn Registry>,
    lease: watch::Receiver<LeaseId>,
    table: Table,
    guild_specs: Arc<GuildSpecs>,
    places: Places,
    starting: AtomicU32,
    cordoned: AtomicBool,
    /// Cancelled when the supervisor ends.
    closing: CancellationToken,
    release_claims: AtomicBool,
    tasks: TaskTracker,
    processes: Arc<dyn Processes>,
    fence: Arc<Fence>,
    tenure: Arc<Tenure>,
    /// Lets so many agents start at once that nobody waits for.
    restarts: Arc<Semaphore>,
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
}

/// How many agents a supervisor has.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// Agents that take a place: those that start, run, wait for a restart or stop.
    pub running: u32,
    /// Of these, the ones whose process has been started and is not yet ready.
    pub starts_in_flight: u32,
    /// Places there are.
    pub capacity: u32,
    /// What the agents that take a place asked for, in all.
    pub requested: Amounts,
    /// Processes that wait for an agent, by the classes they were taken for of late.
    pub warm: BTreeMap<String, u32>,
}

/// What came of a reassertion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reasserted {
    /// How many agents are under the new lease.
    pub kept: usize,
    /// Agents that another host has taken over or that were released; they were killed
    /// here.
    pub fenced: Vec<AgentKey>,
}

/// The agent that an adoption succeeds.
#[derive(Clone, Debug)]
pub struct Successor {
    /// Its record, with the epoch that must still be its last.
    pub record: AgentInfo,
    /// Whether its present host has asked for a successor, and keeps its process until
    /// there is one.
    pub overlaps: bool,
}

/// An agent that this host gave up: its process has ended, and its claim is under no
/// lease, so that any host may adopt it.
#[derive(Clone, Debug)]
pub struct Handed {
    /// Its record.
    pub record: AgentInfo,
    /// Its launch.
    pub launch: Arc<Launch>,
}

/// Finds another host for an agent that does not do well on this one.
#[async_trait]
pub trait Elsewhere: Send + Sync + 'static {
    /// Whether there is another host at all.
    fn is_there(&self) -> bool;

    /// Has another host adopt an agent that was handed over. Answers whether one did.
    async fn adopt(&self, handed: Handed) -> bool;
}

impl Supervisor {
    /// Makes a supervisor and its spawner threads. Must be called within a tokio
    /// runtime. `lease` says which lease of the host claims are made under.
    ///
    /// # Errors
    /// [`SupervisorError`] when the runtime directory, a thread or the fence cannot be
    /// made.
    pub fn new(
        config: SupervisorConfig,
        runners: RunnerTable,
        registry: Arc<dyn Registry>,
        lease: watch::Receiver<LeaseId>,
        tenure: Arc<Tenure>,
    ) -> Result<Self, SupervisorError> {
        let fence = fence(&config).map_err(SupervisorError::Fence)?;
        let processes = Arc::new(LocalProcesses::new(&config, &fence)?);
        Ok(Self::with_processes(config, runners, registry, lease, tenure, fence, processes))
    }

    /// One whose processes are made in another way than by the system.
    pub(crate) fn with_processes(
        config: SupervisorConfig,
        runners: RunnerTable,
        registry: Arc<dyn Registry>,
        lease: watch::Receiver<LeaseId>,
        tenure: Arc<Tenure>,
        fence: Arc<Fence>,
        processes: Arc<dyn Processes>,
    ) -> Self {
        let closing = CancellationToken::new();
        let shared = Shared {
            runners: ArcSwap::from_pointee(runners),
            registry,
            lease,
            table: Table::new(config.ended_kept),
            guild_specs: Arc::default(),
            places: Places::new(config.capacity),
            starting: AtomicU32::new(0),
            cordoned: AtomicBool::new(false),
            closing: closing.clone(),
            release_claims: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            processes,
            fence: Arc::clone(&fence),
            tenure: Arc::clone(&tenure),
            restarts: Arc::new(Semaphore::new(config.concurrent_restarts.max(1))),
            elsewhere: OnceLock::new(),
            config,
        };
        let until = tenure.until();
        shared.fence.allow_until(*until.borrow());
        shared.processes.prepare(&shared.runners.load());
        shared.tasks.spawn(keep_fence(fence, tenure, until, closing.clone()));
        Self { shared: Arc::new(shared), _last: Arc::new(closing.drop_guard()) }
    }

    /// Runs new launches by this table from now on. Agents that are here keep their runner.
    pub fn set_runners(&self, runners: RunnerTable) {
        self.shared.processes.prepare(&runners);
        self.shared.runners.store(Arc::new(runners));
    }

    /// Says who finds other hosts for agents that restart in vain. Without it they fail
    /// here.
    pub fn set_elsewhere(&self, elsewhere: Arc<dyn Elsewhere>) {
        // Only the first counts; there is one for a host.
        let _ = self.shared.elsewhere.set(elsewhere);
    }

    /// Stops an agent: SIGTERM to its process group, SIGKILL after `grace` (its
    /// runner's or the host's default if none), the record removed. Answers with the
    /// last that was known of it. Also forgets an agent that has ended.
    ///
    /// # Errors
    /// [`StopError::NotFound`]; [`StopError::Registry`] when it has ended, but its
    /// record is still there.
    pub async fn stop(&self, key: &AgentKey, grace: Option<Duration>) -> Result<AgentInfo, StopError> {
        let table = &self.shared.table;
        let Some((mut commands, mut info)) = table.handle(key) else {
            return Err(StopError::NotFound { key: key.clone() });
        };
        loop {
            let (answer, answered) = oneshot::channel();
            if commands.send(Command::Stop { grace, answer }).await.is_ok()
                && let Ok(answer) = answered.await
            {
                return answer;
            }
            // The task ended by itself. What it left is a last record, or nothing.
            match table.handle(key) {
                None => return Ok(info),
                Some((same, last)) if same.same_channel(&commands) => {
                    return self.forget(last).await;
                }
                Some((other, last)) => (commands, info) = (other, last),
            }
        }
    }

    /// Removes the last record of an agent that has ended.
    async fn forget(&self, last: AgentInfo) -> Result<AgentInfo, StopError> {
        match self.shared.registry.release(&last.key, last.epoch).await {
            // Fenced: it has been started elsewhere since.
            Ok(()) | Err(RegistryError::Fenced { .. }) => {
                self.shared.table.remove_ended(&last.key, last.epoch);
                Ok(last)
            }
            Err(source) => Err(StopError::Registry { key: last.key, source: Arc::new(source) }),
        }
    }

    /// What ends the agents when the host's tenure is over.
    pub fn fence(&self) -> Arc<Fence> {
        Arc::clone(&self.shared.fence)
    }

    /// One agent, running or ended.
    pub fn get(&self, key: &AgentKey) -> Option<AgentInfo> {
        self.shared.table.get(key)
    }

    /// All agents, or those of one guild, running and ended, sorted by key.
    pub fn list(&self, guild: Option<&GuildId>) -> Vec<AgentInfo> {
        self.shared.table.list(guild)
    }

    /// How many agents there are. Costs the same for one or ten thousand.
    pub fn counts(&self) -> Counts {
        let starts_in_flight = self.shared.starting.load(Ordering::Relaxed);
        let places = &self.shared.places;
        Counts {
            running: places.taken(),
            starts_in_flight,
            capacity: places.capacity(),
            requested: places.requested(),
            warm: self.shared.processes.warm(),
        }
    }

    /// The agents of all guilds: a snapshot, then changes; a new snapshot when the
    /// watcher was too slow to get every change. Ends with the supervisor.
    pub fn watch(&self) -> BoxStream<'static, AgentEvent> {
        watching::watch(&self.shared)
    }

    /// Takes no new agents from now on. Restarts go on.
    pub fn cordon(&self) {
        self.shared.cordoned.store(true, Ordering::Relaxed);
    }

    /// Takes new agents again.
    pub fn uncordon(&self) {
        self.shared.cordoned.store(false, Ordering::Relaxed);
    }

    /// Whether new agents are refused.
    pub fn is_cordoned(&self) -> bool {
        self.shared.cordoned.load(Ordering::Relaxed)
    }

    /// Ends an agent's process and hands the agent over: its process has ended and its
    /// claim is under no lease when this answers. The agent gets its usual grace, or
    /// `at_most` if that is shorter. A start that somebody waits for is undone.
    ///
    /// # Errors
    /// [`StopError::NotFound`] when there is no such agent, or it has ended by itself;
    /// [`StopError::Registry`] when it has ended, and the registry has not heard of it yet.
    pub async fn hand_over(&self, key: &AgentKey, at_most: Duration) -> Result<Handed, StopError> {
        let not_found = || StopError::NotFound { key: key.clone() };
        let (commands, _) = self.shared.table.handle(key).ok_or_else(not_found)?;
        let (answer, answered) = oneshot::channel();
        commands.send(Command::HandOver { at_most, answer }).await.map_err(|_| not_found())?;
        answered.await.unwrap_or_else(|_| Err(not_found()))
    }

    /// The agent's record and launch, if its process is ready and its runner lets a
    /// successor start before it ends.
    pub(crate) async fn overlapping(&self, key: &AgentKey) -> Option<Handed> {
        let (commands, _) = self.shared.table.handle(key)?;
        let (answer, answered) = oneshot::channel();
        commands.send(Command::Overlapping { answer }).await.ok()?;
        answered.await.ok().flatten()
    }

    /// Ends an agent that has a successor on another host: as by
    /// [`hand_over`](Self::hand_over), but there is nothing to hand over any more. Does
    /// nothing when it has ended.
    pub(crate) async fn retire(&self, key: &AgentKey, epoch: Epoch, at_most: Duration) {
        let Some((commands, _)) = self.shared.table.handle(key) else { return };
        let (answer, answered) = oneshot::channel();
        if commands.send(Command::Retire { epoch, at_most, answer }).await.is_ok() {
            // It leaves without more words.
            let _ = answered.await;
        }
    }

    /// Waits until an agent that was adopted is ready, or its first start has failed.
    pub(crate) async fn started(&self, key: &AgentKey, epoch: Epoch) {
        let mut changes = self.watch();
        while let Some(event) = changes.next().await {
            let starts = |agent: &AgentInfo| {
                agent.key == *key && agent.epoch == epoch && agent.state == AgentState::Starting
            };
            let goes_on = match &event {
                AgentEvent::Snapshot(agents) => agents.iter().any(starts),
                AgentEvent::Changed(agent) => agent.key != *key || starts(agent),
                AgentEvent::Removed { key: removed, .. } => removed != key,
                _ => true,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// The agents that have not ended, those included whose start goes on.
    pub fn live_keys(&self) -> Vec<AgentKey> {
        self.shared.table.live_keys()
    }

    /// After the host's lease was buried and it registered anew: puts every claim under
    /// `lease`. An agent that another host has claimed since, or that was released,
    /// is killed and forgotten; one that the registry lost is claimed anew.
    ///
    /// # Errors
    /// The registry's, when it did not answer for some agent: to be called again.
    pub async fn reassert(&self, lease: &LeaseId) -> Result<Reasserted, RegistryError> {
        let results: Vec<_> = stream::iter(self.list(None))
            .map(async |agent| {
                let result = self.shared.registry.reassert(&agent.key, agent.epoch, lease).await;
                (agent, result)
            })
            .buffer_unordered(REASSERTIONS)
            .collect()
            .await;
        let mut reasserted = Reasserted::default();
        let mut unanswered = None;
        for (agent, result) in results {
            match result {
                Ok(()) => reasserted.kept += 1,
                Err(error @ (RegistryError::Fenced { .. } | RegistryError::Forgotten { .. })) => {
                    if self.disown(&agent, error).await {
                        reasserted.fenced.push(agent.key);
                    } else {
                        reasserted.kept += 1;
                    }
                }
                Err(error) => unanswered = Some(error),
            }
        }
        unanswered.map_or(Ok(reasserted), Err)
    }

    /// Tells an agent that its claim is fenced. Answers whether that was its end.
    async fn disown(&self, agent: &AgentInfo, error: RegistryError) -> bool {
        let taken = agent::is_taken(&error);
        let AgentInfo { key, epoch, .. } = agent;
        let Some((commands, _)) = self.shared.table.handle(key) else { return false };
        let (answer, answered) = oneshot::channel();
        let told = commands.send(Command::Disowned { epoch: *epoch, error, answer }).await.is_ok();
        if told && answered.await.is_ok() {
            return true;
        }
        // It was claimed anew meanwhile, or had ended before.
        taken && self.shared.table.remove_ended(key, *epoch)
    }

    /// Ends the supervisor: kills what still runs, hands it over (one attempt each), and
    /// returns when no process, task or thread of it is left. To end agents in peace,
    /// [`hand_over`](Self::hand_over) each first.
    pub async fn shutdown(&self) {
        self.shared.release_claims.store(true, Ordering::Relaxed);
        self.abort().await;
    }

    /// Ends the supervisor the way a crash would: kills what runs and leaves the
    /// claims to end with the lease.
    pub async fn abort(&self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.table.close();
        self.shared.processes.close().await;
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { config, .. } = &*self.shared;
        f.debug_struct("Supervisor")
            .field("host", &config.host)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn leave_claims(&self) -> bool {
        !self.release_claims.load(Ordering::Relaxed)
    }

    fn start_in_flight(&self) -> StartInFlight<'_> {
        self.starting.fetch_add(1, Ordering::Relaxed);
        StartInFlight(&self.starting)
    }
}

/// Counts a start until it is dropped.
struct StartInFlight<'a>(&'a AtomicU32);

impl Drop for StartInFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn fence(config: &SupervisorConfig) -> std::io::Result<Arc<Fence>> {
    let hold = config.hold.as_ref().map(|hold| hold.try_clone()).transpose()?;
    Ok(Arc::new(Fence::start(config.fence.clone(), hold)?))
}

/// Tells the fence until when the tenure lasts, and puts another in its place when it has
/// ended.
async fn keep_fence(
    fence: Arc<Fence>,
    tenure: Arc<Tenure>,
    mut until: watch::Receiver<BootInstant>,
    closing: CancellationToken,
) {
    loop {
        tokio::select! {
            changed = until.changed() => {
                if changed.is_err() {
                    return;
                }
                // One that has ended is told when it is started again.
                if !fence.allow_until(*until.borrow_and_update()) && fence.is_there() {
                    tracing::warn!("the fence has not read for long; the end it was told of last stands");
                }
            }
            () = fence.ended() => {
                tracing::error!("the fence has ended; starting another");
                let reviving = Arc::clone(&fence);
                let revived = tokio::task::spawn_blocking(move || reviving.revive()).await;
                if let Ok(Err(error)) = revived {
                    tracing::error!(%error, "there is no fence: agents are killed");
                    tenure.set(Standing::Over);
                    tokio::time::sleep(FENCE_AGAIN_AFTER).await;
                }
            }
            () = closing.cancelled() => return,
        }
    }
}
