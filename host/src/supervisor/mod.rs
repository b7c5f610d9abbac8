//! The supervisor: starts, watches, restarts and stops the agents of one host.

pub mod config;
pub mod error;
pub mod restart;

use std::{sync::Arc, time::Duration};

use futures::stream::BoxStream;
use guildhall::{
    agent::{AgentEvent, AgentInfo},
    host::LeaseId,
    ids::{AgentKey, GuildId},
    launch::Launch,
    registry::{Registry, RegistryError},
};
use tokio::sync::watch;

pub use self::{
    config::SupervisorConfig,
    error::{CreateError, StopError, SupervisorError},
};
use crate::runner::RunnerTable;

/// The agents of one host. Cheap to clone; all clones are the same supervisor.
#[derive(Clone, Debug)]
pub struct Supervisor {}

/// How many agents a supervisor has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Agents that take a place: those that start, run, wait for a restart or stop.
    pub running: u32,
    /// Of these, the ones that start and are not yet ready.
    pub starts_in_flight: u32,
    /// Places there are.
    pub capacity: u32,
}

/// What came of a reassertion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reasserted {
    /// How many agents are under the new lease.
    pub kept: usize,
    /// Agents that another host has taken over; they were killed here.
    pub fenced: Vec<AgentKey>,
}

/// What came of a drain.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Drained {
    /// How many agents were stopped.
    pub stopped: usize,
    /// Agents that have ended, but that the registry still has a record of.
    pub unrecorded: Vec<AgentKey>,
}

impl Supervisor {
    /// Makes a supervisor and its spawner thread. Must be called within a tokio
    /// runtime. `lease` says which lease of the host claims are made under.
    ///
    /// # Errors
    /// [`SupervisorError`] when the runtime directory or the thread cannot be made.
    pub fn new(
        config: SupervisorConfig,
        runners: RunnerTable,
        registry: Arc<dyn Registry>,
        lease: watch::Receiver<LeaseId>,
    ) -> Result<Self, SupervisorError> {
        let _ = (config, runners, registry, lease);
        unimplemented!()
    }

    /// Starts an agent and waits until it is ready. When the caller does not wait
    /// (the future is dropped), the start is undone. A create with the request id
    /// of an agent that is here is a retry of the one that made it: it joins the
    /// start, or gets its answer.
    ///
    /// # Errors
    /// [`CreateError`]; nothing of the agent is left then.
    pub async fn create(&self, launch: Launch, request_id: String) -> Result<AgentInfo, CreateError> {
        let _ = (launch, request_id);
        unimplemented!()
    }

    /// Stops an agent: SIGTERM to its process group, SIGKILL after `grace` (its
    /// runner's or the host's default if none), the record removed. Answers with the
    /// last that was known of it. Also forgets an agent that has ended.
    ///
    /// # Errors
    /// [`StopError::NotFound`]; [`StopError::Registry`] when it has ended, but its
    /// record is still there.
    pub async fn stop(&self, key: &AgentKey, grace: Option<Duration>) -> Result<AgentInfo, StopError> {
        let _ = (key, grace);
        unimplemented!()
    }

    /// One agent, running or ended.
    pub fn get(&self, key: &AgentKey) -> Option<AgentInfo> {
        let _ = key;
        unimplemented!()
    }

    /// All agents, or those of one guild, running and ended, sorted by key.
    pub fn list(&self, guild: Option<&GuildId>) -> Vec<AgentInfo> {
        let _ = guild;
        unimplemented!()
    }

    /// How many agents there are.
    pub fn counts(&self) -> Counts {
        unimplemented!()
    }

    /// The agents of all guilds: a snapshot, then changes; a new snapshot when the
    /// watcher was too slow to get every change. Ends with the supervisor.
    pub fn watch(&self) -> BoxStream<'static, AgentEvent> {
        unimplemented!()
    }

    /// Takes no new agents from now on. Restarts go on.
    pub fn cordon(&self) {
        unimplemented!()
    }

    /// Takes new agents again.
    pub fn uncordon(&self) {
        unimplemented!()
    }

    /// Whether new agents are refused.
    pub fn is_cordoned(&self) -> bool {
        unimplemented!()
    }

    /// Cordons and stops every agent, all at once; what has not ended by itself
    /// shortly before `within` is over is killed.
    pub async fn drain(&self, within: Duration) -> Drained {
        let _ = within;
        unimplemented!()
    }

    /// After the host lost its lease and registered anew: puts every claim under
    /// `lease`. An agent that another host has claimed since is killed and forgotten.
    ///
    /// # Errors
    /// The registry's, when it did not answer for some agent: to be called again.
    pub async fn reassert(&self, lease: &LeaseId) -> Result<Reasserted, RegistryError> {
        let _ = lease;
        unimplemented!()
    }

    /// Ends the supervisor: kills what still runs, releases its claims (one attempt
    /// each), and returns when no process, task or thread of it is left. To stop
    /// agents in peace, [`drain`](Self::drain) first.
    pub async fn shutdown(&self) {
        unimplemented!()
    }

    /// Ends the supervisor the way a crash would: kills what runs and leaves the
    /// claims to end with the lease.
    pub async fn abort(&self) {
        unimplemented!()
    }
}
