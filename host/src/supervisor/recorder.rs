//! Brings the latest record of one agent into the registry.
//!
//! Only the latest counts: while the registry is away, what happens meanwhile is
//! one record that changes, not a queue that grows. It is tried again until it is
//! written or turns out to be fenced. The agent's task drives it beside all else,
//! so a slow registry never delays supervision.
//!
//! A registry that came back without its data has lost the record. Nobody else has
//! the agent then, so it goes on under a new claim, which is written in the record's
//! stead; its process keeps the epoch that it was started with.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use guildhall::{
    agent::AgentInfo,
    host::LeaseId,
    ids::Epoch,
    launch::Launch,
    registry::{Registry, RegistryError},
};
use tokio::{sync::watch, time::Instant};
use tracing::Instrument;

use super::claim::{Claim, Refused};

/// Longest wait between two attempts.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// Waits between attempts at the registry: doubling, with jitter, without an end.
pub(super) fn retry_waits(first: Duration) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(MAX_RETRY)
        .with_jitter()
        // Chance has one source, which a simulation takes the place of.
        .with_jitter_seed(rand::random())
        .without_max_times()
        .build()
}

type Write = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What the registry said.
enum Outcome {
    Updated(Result<(), RegistryError>),
    Adopted(Claim, Result<Epoch, Refused>),
}

/// What came of an attempt to write.
#[derive(Debug)]
pub(super) enum Written {
    /// The registry has the latest record, from here or written in another way.
    Done,
    /// It did not take it; the next attempt comes by itself.
    Later(RegistryError),
    /// The registry had lost the record; now the agent is claimed anew, under this
    /// epoch. What is put from here on must carry it.
    Adopted(Claim, Epoch),
    /// The claim is no longer the agent's; nothing more will be written.
    Fenced(RegistryError),
}

pub(super) struct Recorder {
    registry: Arc<dyn Registry>,
    lease: watch::Receiver<LeaseId>,
    /// Kept in the registry again when that has lost it.
    launch: Arc<Launch>,
    /// What is to be written next.
    pending: Option<Arc<AgentInfo>>,
    writing: Option<(Arc<AgentInfo>, Write)>,
    /// The registry has lost the record: as far as the claim has come that is to be
    /// written instead.
    adopting: Option<Claim>,
    /// Whether a record was put for which [`Written::Done`] was not yet answered.
    awaited: bool,
    /// Since the registry last failed: the waits, and when the present one is over.
    failing: Option<(ExponentialBackoff, Instant)>,
    first_wait: Duration,
}

impl Recorder {
    pub(super) fn new(
        registry: Arc<dyn Registry>,
        lease: watch::Receiver<LeaseId>,
        launch: Arc<Launch>,
        first_wait: Duration,
    ) -> Self {
        let (pending, writing, adopting, failing) = (None, None, None, None);
        Self { registry, lease, launch, pending, writing, adopting, awaited: false, failing, first_wait }
    }

    /// Has a record written, in place of one that waits.
    pub(super) fn put(&mut self, record: &AgentInfo) {
        self.pending = Some(Arc::new(record.clone()));
        self.awaited = true;
    }

    /// Has the agent claimed anew, for the registry has lost the record.
    pub(super) fn adopt(&mut self, record: &AgentInfo) {
        self.put(record);
        // What is under way finds out by itself.
        if self.writing.is_none() {
            self.adopting.get_or_insert_default();
        }
    }

    /// Whether the registry has lost the record, and a new claim is to be made or being
    /// made.
    pub(super) fn is_adopting(&self) -> bool {
        self.adopting.is_some()
    }

    /// Drops what is not yet written: something newer is written in another way,
    /// and who waits for the writing is told so. Answers with the claim that may have
    /// been made meanwhile.
    #[must_use]
    pub(super) fn clear(&mut self) -> Option<Claim> {
        (self.pending, self.writing) = (None, None);
        self.adopting.take().map(|claim| claim.in_doubt(&self.lease))
    }

    /// Drops what is not yet written: the record is to be removed. Answers as
    /// [`clear`](Self::clear).
    #[must_use]
    pub(super) fn abandon(&mut self) -> Option<Claim> {
        self.awaited = false;
        self.clear()
    }

    /// Goes on with the writing; pending when there is nothing to write or to tell.
    /// Dropping the future loses nothing.
    pub(super) async fn drive(&mut self) -> Written {
        loop {
            if self.writing.is_none() {
                if self.pending.is_none() {
                    if std::mem::take(&mut self.awaited) {
                        return Written::Done;
                    }
                    return std::future::pending().await;
                }
                if let Some((_, until)) = &self.failing {
                    tokio::time::sleep_until(*until).await;
                }
                self.writing = self.pending.take().map(|record| (Arc::clone(&record), self.write(record)));
            }
            let Some((record, write)) = &mut self.writing else { continue };
            let outcome = write.as_mut().await;
            let record = Arc::clone(record);
            self.writing = None;
            let error = match outcome {
                // It was the latest when it was begun; now a newer one may wait.
                Outcome::Updated(Ok(())) => {
                    self.failing = None;
                    continue;
                }
                Outcome::Updated(Err(RegistryError::Forgotten { .. })) => {
                    self.adopting = Some(Claim::None);
                    self.pending = self.pending.take().or(Some(record));
                    continue;
                }
                Outcome::Adopted(claim, Ok(epoch)) => {
                    (self.adopting, self.failing) = (None, None);
                    return Written::Adopted(claim, epoch);
                }
                Outcome::Updated(Err(error)) => error,
                Outcome::Adopted(_, Err(Refused::By(holder))) => RegistryError::Fenced {
                    key: holder.key,
                    epoch: record.epoch,
                    current: Some(holder.epoch),
                },
                Outcome::Adopted(claim, Err(Refused::Registry(error))) => {
                    self.adopting = Some(claim);
                    error
                }
            };
            if matches!(error, RegistryError::Fenced { .. }) {
                (self.pending, self.adopting) = (None, None);
                return Written::Fenced(error);
            }
            tracing::warn!(agent = %record.key, %error, "the record is written later");
            self.pending = self.pending.take().or(Some(record));
            self.fail();
            return Written::Later(error);
        }
    }

    fn write(&mut self, record: Arc<AgentInfo>) -> Write {
        let span = tracing::debug_span!("record", agent = %record.key, epoch = %record.epoch);
        let registry = Arc::clone(&self.registry);
        match self.adopting.take() {
            None => {
                Box::pin(async move { Outcome::Updated(registry.update(&record).await) }.instrument(span))
            }
            Some(claim) => {
                // From here on it may be made, whatever becomes of the answer.
                let mut claim = claim.in_doubt(&self.lease);
                self.adopting = Some(claim.clone());
                let (lease, launch) = (self.lease.clone(), Arc::clone(&self.launch));
                let adopt = async move {
                    let taken = claim.take(&record, &launch, None, &*registry, &lease).await;
                    Outcome::Adopted(claim, taken)
                };
                Box::pin(adopt.instrument(span))
            }
        }
    }

    /// Puts off the next attempt, for the registry has just failed.
    fn fail(&mut self) {
        let mut waits = match self.failing.take() {
            Some((waits, _)) => waits,
            None => retry_waits(self.first_wait),
        };
        let wait = waits.next().unwrap_or(MAX_RETRY);
        self.failing = Some((waits, Instant::now() + wait));
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("pending", &self.pending).finish_non_exhaustive()
    }
}
