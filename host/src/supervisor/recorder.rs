//! Brings the latest record of one agent into the registry.
//!
//! Only the latest counts: while the registry is away, what happens meanwhile is
//! one record that changes, not a queue that grows. It is tried again until it is
//! written or turns out to be fenced. The agent's task drives it beside all else,
//! so a slow registry never delays supervision.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use guildhall::{
    agent::AgentInfo,
    registry::{Registry, RegistryError},
};
use tokio::time::Instant;
use tracing::Instrument;

/// Longest wait between two attempts.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// Waits between attempts at the registry: doubling, with jitter, without an end.
pub(super) fn retry_waits(first: Duration) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(MAX_RETRY)
        .with_jitter()
        .without_max_times()
        .build()
}

type Write = Pin<Box<dyn Future<Output = Result<(), RegistryError>> + Send>>;

/// What came of an attempt to write.
#[derive(Debug)]
pub(super) enum Written {
    /// The registry has the latest record, from here or written in another way.
    Done,
    /// It did not take it; the next attempt comes by itself.
    Later(RegistryError),
    /// The claim is no longer the agent's; nothing more will be written.
    Fenced(RegistryError),
}

pub(super) struct Recorder {
    registry: Arc<dyn Registry>,
    /// What is to be written next.
    pending: Option<Arc<AgentInfo>>,
    writing: Option<(Arc<AgentInfo>, Write)>,
    /// Whether a record was put for which [`Written::Done`] was not yet answered.
    awaited: bool,
    /// Since the registry last failed: the waits, and when the present one is over.
    failing: Option<(ExponentialBackoff, Instant)>,
    first_wait: Duration,
}

impl Recorder {
    pub(super) fn new(registry: Arc<dyn Registry>, first_wait: Duration) -> Self {
        Self { registry, pending: None, writing: None, awaited: false, failing: None, first_wait }
    }

    /// Has a record written, in place of one that waits.
    pub(super) fn put(&mut self, record: &AgentInfo) {
        self.pending = Some(Arc::new(record.clone()));
        self.awaited = true;
    }

    /// Drops what is not yet written: something newer is written in another way,
    /// and who waits for the writing is told so.
    pub(super) fn clear(&mut self) {
        (self.pending, self.writing) = (None, None);
    }

    /// Drops what is not yet written: the record is to be removed.
    pub(super) fn abandon(&mut self) {
        self.clear();
        self.awaited = false;
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
                self.writing = self.pending.take().map(|record| {
                    let (registry, written) = (Arc::clone(&self.registry), Arc::clone(&record));
                    let span = tracing::debug_span!("record", agent = %record.key, epoch = %record.epoch);
                    let write: Write =
                        Box::pin(async move { registry.update(&written).await }.instrument(span));
                    (record, write)
                });
            }
            let Some((_, write)) = &mut self.writing else { continue };
            let result = write.as_mut().await;
            let record = self.writing.take().map(|(record, _)| record);
            match result {
                // It was the latest when it was begun; now a newer one may wait.
                Ok(()) => self.failing = None,
                Err(error @ (RegistryError::Fenced { .. } | RegistryError::Forgotten { .. })) => {
                    self.clear();
                    return Written::Fenced(error);
                }
                Err(error) => {
                    tracing::warn!(agent = record.as_ref().map(|record| tracing::field::display(&record.key)), %error, "the record is written later");
                    self.pending = self.pending.take().or(record);
                    self.fail();
                    return Written::Later(error);
                }
            }
        }
    }

    /// Puts off the next attempt, for the registry has just failed.
    pub(super) fn fail(&mut self) {
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
