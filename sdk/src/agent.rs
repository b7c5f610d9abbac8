//! What is known of an agent: its state, its host, its epoch, how it last ended.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AgentKey, Epoch, HostId},
    placement::PolicyIdentity,
};

/// Where an agent is in its life. [`Starting`](AgentState::Starting) to
/// [`Waiting`](AgentState::Waiting) are live: the identity is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AgentState {
    /// Its process is being started and has not said that it is ready.
    Starting,
    /// Its process is ready.
    Running,
    /// Its process ended, and its host will start it again.
    Restarting,
    /// Its process was told to stop and has not ended.
    Stopping,
    /// Its host gave it up; the next one that can take it will.
    Waiting,
    /// It ended, and its restart policy says that this is its end.
    Finished,
    /// It will not be started again: see its last exit for the reason.
    Failed,
    /// The lease of its host ended. Only readers say so; it is never stored.
    Lost,
}

impl AgentState {
    /// Whether an agent in this state holds its identity against another claim.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Restarting | Self::Stopping | Self::Waiting)
    }

    /// Whether an agent in this state is lost when its host is.
    pub(crate) fn needs_host(self) -> bool {
        self.is_live() && self != Self::Waiting
    }

    /// The state in lower case, as logs, tables and JSON show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Waiting => "waiting",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }
}

impl std::fmt::Display for AgentState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How the last process of an agent ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// Its exit code, when it exited by itself.
    pub code: Option<i32>,
    /// The signal that ended it, when one did.
    pub signal: Option<i32>,
    /// What happened, in words.
    pub reason: String,
    /// The last lines it wrote to standard error, a few kilobytes at most.
    pub stderr: String,
}

/// One agent as its host last wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its identity.
    #[serde(flatten)]
    pub key: AgentKey,
    /// Its name in the guild spec.
    pub name: String,
    /// The class that the runner makes it from.
    pub class_name: String,
    /// The host that it runs on.
    pub host: HostId,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// Where it is in its life.
    pub state: AgentState,
    /// Its incarnation.
    pub epoch: Epoch,
    /// When it was accepted, milliseconds since 1970 by the host's clock. For
    /// people to read: nothing compares it.
    pub created_at_ms: u64,
    /// How long its latest process took from spawn to ready, in milliseconds.
    pub start_ms: Option<u64>,
    /// How often it was restarted.
    pub restarts: u32,
    /// How its last process ended, if one did.
    pub last_exit: Option<LastExit>,
    /// The id of the request that made it, so that a retry is known as one.
    pub request_id: String,
    /// The policy that chose the host; `None` when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed_by: Option<Arc<PolicyIdentity>>,
    /// Hosts on which it was restarted in vain, so that it was given to another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_on: Vec<HostId>,
}

impl AgentInfo {
    /// When it was accepted, by the host's clock.
    pub fn created_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.created_at_ms)
    }
}

/// A change of one agent, as a watcher sees it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AgentEvent {
    /// Everything there is now. Comes first, and again whenever changes may have
    /// been missed: what a watcher knew before is void.
    Snapshot(Vec<AgentInfo>),
    /// The agent is new or changed.
    Changed(AgentInfo),
    /// The agent was stopped and is no longer recorded.
    Removed {
        /// Its identity.
        key: AgentKey,
        /// The incarnation that was stopped.
        epoch: Epoch,
    },
}
