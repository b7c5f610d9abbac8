//! What a placement service was told, asked and answered, entry by entry: for a
//! [log](DecisionLog) that can be replayed, and for a [shadow](Shadow) that
//! decides beside it.
//!
//! A reader never holds up a decision: one that is too slow for its bounded queue is left
//! behind, and told so.

mod log;
mod replay;
mod shadow;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::ids::HostId;

pub use log::{DecisionLog, RecordedDecisions, UnreadableLog};
pub use replay::{Comparison, Difference, Replay, ReplayError};
pub use shadow::Shadow;

use crate::placement::{
    artifact::PolicyArtifact,
    error::PlaceError,
    guild::{GuildDecision, GuildRequest},
    types::{Choice, Decision, FleetChange, Needs, PlacementRequest, PolicyIdentity, Refusal},
};

/// Entries that wait for a reader at most.
const QUEUE: usize = 4096;

/// One thing that happened at a placement service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Entry {
    /// A policy is in charge from here on, and knows the whole fleet.
    Policy(InCharge),
    /// The fleet changed.
    Observed(Vec<FleetChange>),
    /// A host was asked for.
    Decided {
        /// What was asked.
        request: Box<PlacementRequest>,
        /// What was answered.
        outcome: Outcome,
    },
    /// Hosts were asked for, for all agents of a guild.
    DecidedGuild {
        /// What was asked.
        request: Box<GuildRequest>,
        /// For each agent, its host.
        hosts: Vec<Option<HostId>>,
        /// What was said: the policy's reason, and why agents were left out.
        said: Vec<String>,
    },
}

impl Entry {
    /// A decision about an agent.
    pub(in crate::placement) fn decided(
        request: &PlacementRequest,
        placed: &Result<Decision, PlaceError>,
    ) -> Self {
        Self::Decided { request: Box::new(request.clone()), outcome: Outcome::from(placed) }
    }

    /// A decision about a guild.
    pub(in crate::placement) fn decided_guild(
        request: &GuildRequest,
        placed: &Result<GuildDecision, PlaceError>,
    ) -> Self {
        let (hosts, said) = match placed {
            Ok(GuildDecision { hosts, reason, refusal, .. }) => {
                let refusal = refusal.as_ref().map(|refusal| refusal.reason.clone());
                (hosts.clone(), [reason.clone()].into_iter().chain(refusal).collect())
            }
            Err(error) => (vec![None; request.members.len()], vec![error.to_string()]),
        };
        Self::DecidedGuild { request: Box::new(request.clone()), hosts, said }
    }

    /// The hosts that were chosen.
    pub(in crate::placement) fn hosts(&self) -> Vec<Option<&HostId>> {
        match self {
            Self::Decided { outcome, .. } => vec![outcome.host()],
            Self::DecidedGuild { hosts, .. } => hosts.iter().map(Option::as_ref).collect(),
            Self::Policy(_) | Self::Observed(_) => Vec::new(),
        }
    }
}

/// A policy that was put in charge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InCharge {
    /// Which policy.
    pub policy: PolicyIdentity,
    /// Its settings.
    pub settings: serde_json::Value,
    /// What decides when it fails again and again, and after how many failures.
    pub fallback: Option<(PolicyIdentity, u32)>,
    /// The policies themselves, that of the fallback last; not written down here.
    #[serde(skip)]
    pub artifacts: Vec<PolicyArtifact>,
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A host, and those to ask when it refuses.
    Placed {
        /// The host, its score and the policy's reason.
        #[serde(flatten)]
        choice: Choice,
        /// Hosts to ask when that one refuses.
        others: Vec<Choice>,
        /// Which policy decided.
        policy: PolicyIdentity,
    },
    /// No host.
    Refused(Refusal),
    /// An error, in words.
    Failed(String),
}

impl From<&Result<Decision, PlaceError>> for Outcome {
    fn from(placed: &Result<Decision, PlaceError>) -> Self {
        match placed {
            Ok(Decision { host, score, reason, others, policy }) => Self::Placed {
                choice: Choice { host: host.clone(), score: *score, reason: reason.clone() },
                others: others.clone(),
                policy: PolicyIdentity::clone(policy),
            },
            Err(PlaceError::Refused { refusal, .. }) => Self::Refused(refusal.clone()),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

impl Outcome {
    /// The chosen host, if one was.
    pub fn host(&self) -> Option<&HostId> {
        match self {
            Self::Placed { choice, .. } => Some(&choice.host),
            Self::Refused(_) | Self::Failed(_) => None,
        }
    }
}

/// Those who read along.
#[derive(Default)]
pub(in crate::placement) struct Readers(Vec<Reader>);

struct Reader {
    entries: SyncSender<Entry>,
    needs: Needs,
    left_behind: Arc<AtomicBool>,
}

/// The entries as they come.
#[derive(Debug)]
pub(in crate::placement) struct Journal {
    entries: Receiver<Entry>,
    left_behind: Arc<AtomicBool>,
}

/// What a journal has next.
pub(in crate::placement) enum Next {
    Entry(Entry),
    /// Nothing in this time.
    Nothing,
    /// No more: the service is gone, or this reader was too slow.
    End {
        left_behind: bool,
    },
}

impl Readers {
    /// Has somebody read along from now on, who wants each request to carry this.
    pub(in crate::placement) fn add(&mut self, needs: Needs) -> Journal {
        let (sender, entries) = mpsc::sync_channel(QUEUE);
        let left_behind = Arc::new(AtomicBool::new(false));
        self.0.push(Reader { entries: sender, needs, left_behind: Arc::clone(&left_behind) });
        Journal { entries, left_behind }
    }

    /// What they want each request to carry.
    pub(in crate::placement) fn needs(&self) -> Needs {
        self.0.iter().fold(Needs::default(), |all, reader| all.and(reader.needs))
    }

    /// Tells them, if there are any. Answers whether one went.
    pub(in crate::placement) fn tell(&mut self, entry: impl FnOnce() -> Entry) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let (entry, before) = (entry(), self.0.len());
        self.0.retain(|reader| match reader.entries.try_send(entry.clone()) {
            Ok(()) => true,
            Err(TrySendError::Disconnected(_)) => false,
            Err(TrySendError::Full(_)) => {
                reader.left_behind.store(true, Ordering::Relaxed);
                false
            }
        });
        self.0.len() < before
    }
}

impl Journal {
    /// Whether what is still to come is not all that happened.
    pub(in crate::placement) fn is_left_behind(&self) -> bool {
        self.left_behind.load(Ordering::Relaxed)
    }

    pub(in crate::placement) fn next(&self, wait: Duration) -> Next {
        match self.entries.recv_timeout(wait) {
            Ok(entry) => Next::Entry(entry),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End { left_behind: self.is_left_behind() },
        }
    }
}

/// Where in a log's folder a policy is kept.
pub(in crate::placement) fn policy_file(policy: &PolicyIdentity) -> PathBuf {
    PathBuf::from(format!("policies/{}", policy.sha256))
}
