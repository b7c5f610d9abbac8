//! What an engine cannot do, and why.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    fault::{Fault, Holder},
    ids::{AgentKey, HostId, InvalidId},
    launch::InvalidLaunch,
    placement::{ConfigureError, LoadError, PlaceError},
    registry::RegistryError,
};

/// One host that was asked in vain.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The host.
    pub host: HostId,
    /// What it said, or why it could not be asked.
    pub fault: Fault,
}

/// What an engine cannot do, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The launch cannot be used.
    #[error("invalid launch: {0}")]
    InvalidLaunch(#[from] InvalidLaunch),
    /// An id cannot be used.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// No host takes the agent: the policy has none to choose, or those it chose
    /// refused or could not be reached.
    #[error("no host takes agent {key}: {reason}{}", Tries(tried))]
    NoHost {
        /// The agent.
        key: AgentKey,
        /// Why there is no further host, in the policy's words.
        reason: String,
        /// The hosts that were asked.
        tried: Vec<Tried>,
    },
    /// The policy found no hosts for all agents of a guild, of which all or none were to run.
    #[error("the guild is not run: {source}")]
    GuildNotPlaced {
        /// Why not.
        source: Arc<EngineError>,
    },
    /// The folder for the log of decisions cannot be used.
    #[error("decisions cannot be recorded in {}: {source}", folder.display())]
    NotRecorded {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The identity is taken.
    #[error("agent {key} is already running on host {} under epoch {}", holder.host, holder.epoch)]
    AlreadyRunning {
        /// The agent.
        key: AgentKey,
        /// Who holds the identity.
        holder: Holder,
    },
    /// The host tried, and the agent did not start; or it refused for good.
    #[error("host {host} did not start agent {key}: {fault}")]
    NotStarted {
        /// The agent.
        key: AgentKey,
        /// The host.
        host: HostId,
        /// Why, with the exit code and the last lines of standard error.
        fault: Fault,
    },
    /// There is no such agent.
    #[error("there is no agent {key}")]
    NotFound {
        /// The agent.
        key: AgentKey,
    },
    /// A host failed to answer a question or to stop an agent.
    #[error("host {host} failed: {fault}")]
    Host {
        /// The host.
        host: HostId,
        /// What it said, or why it could not be asked.
        fault: Fault,
    },
    /// The call took too long. What it asked for may yet happen: look before you
    /// ask again, or ask again, since an identity is never started twice.
    #[error("{what} took longer than {after:?}")]
    Timeout {
        /// Which call.
        what: &'static str,
        /// The limit that it reached.
        after: Duration,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The policy failed; its next decision is made by a fresh instance.
    #[error(transparent)]
    Policy(PlaceError),
    /// The policy cannot be loaded.
    #[error(transparent)]
    LoadPolicy(#[from] LoadError),
    /// The policy does not take its settings.
    #[error(transparent)]
    ConfigurePolicy(#[from] ConfigureError),
    /// The engine was built with neither a registry nor a discovery.
    #[error("the engine needs a registry or a discovery to find hosts")]
    NoSource,
    /// The engine is shut down.
    #[error("the engine is shut down")]
    ShutDown,
}

/// The hosts that were asked, as the end of a sentence.
struct Tries<'a>(&'a [Tried]);

impl fmt::Display for Tries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, tried) in self.0.iter().enumerate() {
            let lead = if n == 0 { "; asked " } else { ", " };
            write!(f, "{lead}{} ({}: {})", tried.host, tried.fault.reason, tried.fault.message)?;
        }
        Ok(())
    }
}
