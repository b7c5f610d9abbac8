//! What a supervisor is told once, when it is made.

use std::{os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use guildhall::ids::HostId;

use super::restart::RestartLimits;
use crate::fence::FenceBy;

/// Variables that agents inherit from the host. Nothing else is: the host's own
/// environment holds secrets, such as the registry's address with its password.
/// A trailing `*` stands for any end.
pub const ENV_ALLOW_LIST: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR", "SSL_CERT_*"];

/// Settings of a [`Supervisor`](super::Supervisor).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SupervisorConfig {
    /// The host that the agents run on.
    pub host: HostId,
    /// Where the supervisor makes a directory of its own for the sockets that
    /// agents send their notifications to. A short path: with 24 more bytes it
    /// must fit into the 107 that the name of a Unix socket may have.
    pub runtime_dir: PathBuf,
    /// Agents it takes at most, those included that start or wait for a restart.
    pub capacity: u32,
    /// How long an agent may take from its spawn to `READY=1`, unless its runner
    /// says otherwise.
    pub ready_timeout: Duration,
    /// How long an agent has between SIGTERM and SIGKILL, unless its runner or
    /// the caller says otherwise.
    pub stop_grace: Duration,
    /// When and how often agents are started again.
    pub restart: RestartLimits,
    /// How long to wait before a write that the registry did not take is tried
    /// again: the first time, doubling from there on up to 30 s.
    pub registry_retry: Duration,
    /// What ends the agents when the host's tenure is over: a thread.
    pub fence: FenceBy,
    /// A descriptor, such as one with a lock, that a fence process keeps open until no
    /// agent of this host runs any more.
    pub hold: Option<Arc<OwnedFd>>,
    /// How many agents are started at once that nobody waits for: restarts, and agents
    /// taken over from other hosts.
    pub concurrent_restarts: usize,
    /// Names of variables that agents inherit from the host.
    pub env_allow: Vec<String>,
    /// How many ended agents are listed at most; the oldest are forgotten first.
    /// Their records stay in the registry.
    pub ended_kept: usize,
}

impl SupervisorConfig {
    /// The defaults: 100 agents, 30 s to become ready, 10 s to stop.
    pub fn new(host: HostId, runtime_dir: impl Into<PathBuf>) -> Self {
        Self {
            host,
            runtime_dir: runtime_dir.into(),
            capacity: 100,
            ready_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(10),
            restart: RestartLimits::default(),
            registry_retry: Duration::from_millis(500),
            fence: FenceBy::Thread,
            hold: None,
            concurrent_restarts: 16,
            env_allow: ENV_ALLOW_LIST.map(String::from).to_vec(),
            ended_kept: 1000,
        }
    }
}
