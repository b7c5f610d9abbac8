//! What a create, a stop or a reassertion can say instead of doing it.
//!
//! Sources are shared (`Arc`), so that every caller who waits for the same start
//! gets the same answer.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use guildhall::{
    agent::{AgentInfo, LastExit},
    ids::{AgentKey, Epoch},
    launch::InvalidLaunch,
    registry::RegistryError,
};

use crate::runner::SelectError;

/// Why an agent was not started. Whatever it says, nothing is left running and
/// no capacity is taken.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// No host would take this launch.
    #[error(transparent)]
    InvalidLaunch(Arc<InvalidLaunch>),
    /// The launch names a runner that the table does not have.
    #[error("this host has no runner {name:?}; it has {known:?}")]
    UnknownRunner {
        /// The name that was asked for.
        name: String,
        /// The names there are, in the order of the table.
        known: Vec<String>,
    },
    /// No runner of the table takes agents of this class.
    #[error("no runner of this host takes the class {class_name:?}; it has {known:?}")]
    NoRunnerForClass {
        /// The class.
        class_name: String,
        /// The runners there are, in the order of the table.
        known: Vec<String>,
    },
    /// All places are taken.
    #[error("the host is full: it takes {capacity} agents")]
    CapacityExhausted {
        /// How many agents the host takes.
        capacity: u32,
    },
    /// The host is cordoned: it takes no new agents.
    #[error("the host is draining and takes no new agents")]
    Draining,
    /// The host has no tenure: it cannot renew its lease.
    #[error("the host cannot renew its lease, and starts no agents until it can")]
    NoTenure,
    /// The agent was lost with its host, and is not what was to be taken over any more.
    #[error("agent {key} is not an orphan of epoch {epoch}")]
    NotAnOrphan {
        /// The agent.
        key: AgentKey,
        /// The epoch that was to be succeeded.
        epoch: Epoch,
    },
    /// The supervisor ended before the agent was ready.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The identity is taken.
    #[error("agent {} runs already: host {}, epoch {}, {}", holder.key, holder.host, holder.epoch, holder.state)]
    AlreadyRunning {
        /// The agent that has the identity.
        holder: Box<AgentInfo>,
    },
    /// The command could not be executed.
    #[error("runner {runner:?} cannot execute {}: {source}", command.display())]
    Spawn {
        /// The runner's name.
        runner: String,
        /// Its command.
        command: PathBuf,
        /// What the system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// The process ended before it was ready.
    #[error("the agent ended before it was ready: {}", exit.reason)]
    StartFailed {
        /// How it ended, with what it last wrote to standard error.
        exit: LastExit,
    },
    /// The process did not become ready in time.
    #[error("the agent was not ready after {after:?}")]
    StartTimeout {
        /// How long it had.
        after: Duration,
        /// The last lines it wrote to standard error.
        stderr: String,
    },
    /// The agent was stopped before it was ready.
    #[error("the agent was stopped while it started")]
    Stopped,
    /// Nobody waited for the agent any more, so its start was undone.
    #[error("the start was undone: nobody waited for it")]
    Abandoned,
    /// The registry did not take the claim.
    #[error(transparent)]
    Registry(Arc<RegistryError>),
}

impl From<InvalidLaunch> for CreateError {
    fn from(error: InvalidLaunch) -> Self {
        Self::InvalidLaunch(Arc::new(error))
    }
}

impl From<RegistryError> for CreateError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Arc::new(error))
    }
}

impl From<SelectError> for CreateError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::UnknownRunner { name, known } => Self::UnknownRunner { name, known },
            SelectError::NoRunnerForClass { class_name, known } => {
                Self::NoRunnerForClass { class_name, known }
            }
        }
    }
}

/// Why a stop could not be completed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// The host has no such agent.
    #[error("this host has no agent {key}")]
    NotFound {
        /// The agent that was asked for.
        key: AgentKey,
    },
    /// The process has ended, but the registry did not hear of it. The host goes
    /// on telling it; stopping again waits for that.
    #[error("agent {key} has ended, but the registry still has its record: {source}")]
    Registry {
        /// The agent.
        key: AgentKey,
        /// What the registry says.
        #[source]
        source: Arc<RegistryError>,
    },
}

/// Why a supervisor could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// The directory for notification sockets cannot be used.
    #[error("the runtime directory {} cannot be used: {source}", path.display())]
    RuntimeDir {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The thread that starts processes could not be started.
    #[error("the spawner threads cannot be started: {0}")]
    Spawner(#[source] io::Error),
    /// What ends the agents with the host's tenure could not be started.
    #[error("the fence cannot be started: {0}")]
    Fence(#[source] io::Error),
}
