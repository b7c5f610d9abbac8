//! Moving agents to other hosts: one, or all in a drain.
//!
//! The process here has ended before the claim is given up, and the other host claims it
//! before it starts one. Whatever goes wrong in between, the agent is an orphan that every
//! host looks for.
//!
//! Where the agent's runner allows an overlap, a successor is looked for first, and the
//! process here ends once that is ready. It ends in any case: when no answer came, a
//! successor may be on its way.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use guildhall::{
    agent::AgentInfo,
    engine::{EngineError, GrpcEngine, Predecessor},
    ids::{AgentKey, HostId},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tracing::{info, warn};

use crate::supervisor::{Elsewhere, Handed, StopError, Supervisor};

/// Agents that are moved at once.
const AT_ONCE: usize = 16;

/// Why an agent was not moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MoveError {
    /// It is where it should go.
    #[error("agent {key} is on host {host} already")]
    AlreadyThere {
        /// The agent.
        key: AgentKey,
        /// The host.
        host: HostId,
    },
    /// Nobody knows the host that it should go to. Nothing was done.
    #[error("agent {key} cannot go to host {host}: there is no such host")]
    NoSuchHost {
        /// The agent.
        key: AgentKey,
        /// The host.
        host: HostId,
    },
    /// It did not end, or there is none.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// It has ended here, and no other host has taken it yet: it waits for one.
    #[error("agent {key} waits for a host: {source}")]
    Waiting {
        /// The agent.
        key: AgentKey,
        /// Why none took it.
        #[source]
        source: Box<EngineError>,
    },
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Agents that had to be moved.
    pub(crate) total: usize,
    /// Agents that another host has taken, or that ended by themselves.
    pub(crate) moved: usize,
    /// Agents that have ended here and wait for a host.
    pub(crate) waiting: usize,
    /// Agents whose process had not ended when the time was over, or whose end the
    /// registry has not heard of.
    pub(crate) left: usize,
}

/// Moves the agents of one host.
#[derive(Clone, Debug)]
pub(crate) struct Mover {
    pub(crate) host: HostId,
    pub(crate) supervisor: Supervisor,
    pub(crate) engine: GrpcEngine,
    /// How long an agent may take to end, unless its runner says less.
    pub(crate) grace: Duration,
}

impl Mover {
    /// Moves one agent, to the host that is named or one that the policy chooses. It has
    /// `at_most` to end, and its successor as long to become ready if there is to be an
    /// overlap.
    pub(crate) async fn move_agent(
        &self,
        key: &AgentKey,
        to: Option<&HostId>,
        at_most: Duration,
    ) -> Result<AgentInfo, MoveError> {
        if to == Some(&self.host) {
            return Err(MoveError::AlreadyThere { key: key.clone(), host: self.host.clone() });
        }
        if let Some(to) = to
            && !self.engine.hosts().iter().any(|host| host.info.id == *to)
        {
            return Err(MoveError::NoSuchHost { key: key.clone(), host: to.clone() });
        }
        if let Some(overlapping) = self.supervisor.overlapping(key).await {
            let found = self.find_host(&overlapping, Predecessor::Overlapping, to);
            match timeout(at_most, found).await {
                Ok(Ok(successor)) => {
                    self.supervisor.retire(key, overlapping.record.epoch, at_most).await;
                    return Ok(successor);
                }
                Ok(Err(error)) => {
                    info!(agent = %key, reason = %error, "no successor yet; the agent ends first")
                }
                Err(_) => info!(agent = %key, "no successor in time; the agent ends first"),
            }
        }
        let handed = self.supervisor.hand_over(key, at_most).await?;
        let adopted = self.find_host(&handed, Predecessor::Ended, to).await;
        adopted.map_err(|source| MoveError::Waiting { key: key.clone(), source: Box::new(source) })
    }

    /// Has the host that is named adopt the agent, or one that the policy chooses.
    async fn find_host(
        &self,
        handed: &Handed,
        predecessor: Predecessor,
        to: Option<&HostId>,
    ) -> Result<AgentInfo, EngineError> {
        let Handed { record, launch } = handed;
        let mut excluded = vec![self.host.clone()];
        if let Some(to) = to {
            match self.engine.adopt_agent_on(record, predecessor, to).await {
                Err(EngineError::Host { host, fault }) => {
                    warn!(agent = %record.key, %host, %fault, "the host does not take the agent; another one is asked");
                    excluded.push(host);
                }
                result => return result,
            }
        }
        self.engine.adopt_agent(record, launch, predecessor, &excluded).await
    }

    /// Moves every agent within that time, and tells how far it is. The host is cordoned
    /// by then.
    pub(crate) async fn drain(&self, within: Duration, progress: Option<mpsc::Sender<Drained>>) -> Drained {
        let until = Instant::now() + within;
        let keys = self.supervisor.live_keys();
        let mut drained = Drained { total: keys.len(), ..Drained::default() };
        info!(host = %self.host, agents = drained.total, "moving all agents to other hosts");
        let at_most = within.mul_f64(0.75).min(self.grace);
        let mut moves = stream::iter(keys)
            .map(async |key| {
                let moved = timeout_at(until, self.move_agent(&key, None, at_most)).await;
                (key, moved)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((key, moved)) = moves.next().await {
            match moved {
                Ok(Ok(_) | Err(MoveError::Stop(StopError::NotFound { .. }))) => drained.moved += 1,
                Ok(Err(MoveError::Waiting { source, .. })) => {
                    info!(agent = %key, reason = %source, "the agent waits for a host");
                    drained.waiting += 1;
                }
                Ok(Err(error)) => {
                    warn!(agent = %key, %error, "the agent is not moved");
                    drained.left += 1;
                }
                Err(_) => drained.left += 1,
            }
            if let Some(progress) = &progress {
                // Who does not listen any more does not keep the agents from being moved.
                let _ = progress.try_send(drained);
            }
        }
        drained
    }
}

/// Finds other hosts for agents that restart in vain here. Without a supervisor, which
/// holds it: each would keep the other for ever.
struct OtherHosts {
    host: HostId,
    engine: GrpcEngine,
}

#[async_trait]
impl Elsewhere for OtherHosts {
    fn is_there(&self) -> bool {
        self.engine.hosts().iter().any(|host| host.info.id != self.host && !host.info.draining)
    }

    async fn adopt(&self, handed: Handed) -> bool {
        let Handed { record, launch } = handed;
        let itself = std::slice::from_ref(&self.host);
        let adopted = self.engine.adopt_agent(&record, &launch, Predecessor::Ended, itself).await;
        if let Err(error) = &adopted {
            warn!(agent = %record.key, %error, "the agent waits for a host");
        }
        adopted.is_ok()
    }
}

/// The same for those who only know that there may be other hosts.
pub(crate) fn elsewhere(mover: &Mover) -> Arc<dyn Elsewhere> {
    Arc::new(OtherHosts { host: mover.host.clone(), engine: mover.engine.clone() })
}
