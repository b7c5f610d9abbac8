//! Which Redis process a host last heard from, and when: what tells it that writes may
//! have been lost, and that the clock of Redis has jumped.
//!
//! A restart or a failover is another incarnation. For the length of a lease after it was
//! first seen, identities that are not recorded may be held by hosts that have not come
//! back yet, so none is given out.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::registry::RegistryError;

/// How long to wait when it has just been learned that the incarnation is another.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Answers that the next one is compared with.
const ANSWERS: usize = 4;

/// What one user of a Redis knows of its incarnation.
#[derive(Debug, Default)]
pub(super) struct Incarnation(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Its run id; empty before the first answer.
    run: String,
    /// From when on no claim can be missing.
    settled_at: Option<Instant>,
    /// Before a renewal was asked for, and the time of Redis when it was answered.
    clocks: VecDeque<(Instant, u64)>,
}

/// By how much more, or less, time has passed at Redis than here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// At least so much more: its clock has jumped.
    pub(super) ahead: Duration,
    /// So much less: its clock was set back, or all of the last answers took that much
    /// longer.
    pub(super) behind: Duration,
}

impl Incarnation {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing under the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run id that was seen last; empty before the first answer.
    pub(super) fn run(&self) -> String {
        self.seen().run.clone()
    }

    /// Takes in an answer. Returns whether it comes from another incarnation than the last.
    pub(super) fn note(&self, run: &str, settled_in: Duration) -> bool {
        let mut seen = self.seen();
        let another = !seen.run.is_empty() && seen.run != run;
        if another {
            // Another machine's clock, perhaps.
            seen.clocks.clear();
        }
        run.clone_into(&mut seen.run);
        seen.settled_at = (!settled_in.is_zero()).then(|| Instant::now() + settled_in);
        another
    }

    /// Compares how long it has been since the last answers by the clock of Redis, which
    /// now says `redis_ms`, and by this machine's. `asked` is before this answer was asked
    /// for.
    pub(super) fn compare(&self, asked: Instant, redis_ms: u64) -> Compared {
        let mut seen = self.seen();
        let at_redis = |before: u64| Duration::from_millis(redis_ms.saturating_sub(before));
        let ahead =
            |(asked_then, then): &(Instant, u64)| at_redis(*then).saturating_sub(asked_then.elapsed());
        // A millisecond, for both answers were rounded down.
        let behind = |(asked_then, then): &(Instant, u64)| {
            asked
                .saturating_duration_since(*asked_then)
                .saturating_sub(at_redis(*then) + Duration::from_millis(1))
        };
        let compared = Compared {
            ahead: seen.clocks.back().map(ahead).unwrap_or_default(),
            behind: seen.clocks.iter().map(behind).min().unwrap_or_default(),
        };
        seen.clocks.push_back((asked, redis_ms));
        if seen.clocks.len() > ANSWERS {
            seen.clocks.pop_front();
        }
        compared
    }

    /// Fails as long as claims may be missing.
    pub(super) fn check(&self, address: &str) -> Result<(), RegistryError> {
        let now = Instant::now();
        match self.seen().settled_at.filter(|at| *at > now) {
            Some(at) => Err(RegistryError::Settling { address: address.to_owned(), remaining: at - now }),
            None => Ok(()),
        }
    }

    /// What to say when a script found another incarnation than the one seen last: the
    /// next renewal will tell more.
    pub(super) fn changed(&self, address: &str) -> RegistryError {
        RegistryError::Settling { address: address.to_owned(), remaining: FIRST_WAIT }
    }
}
