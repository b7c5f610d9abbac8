//! How many calls a second one caller may make. What is more is refused before it is decoded,
//! with a time after which to try again.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use guildhall::fault::{Fault, FaultReason, RETRY_AFTER_MS};

use super::access::CallerKey;

/// Calls after which callers that have been quiet are forgotten.
const FORGET_EVERY: usize = 4096;

/// Each caller's calls, as of a clock.
type Limiter<C> =
    RateLimiter<CallerKey, HashMapStateStore<CallerKey>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Limits each caller to so many calls a second, and as many at once. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Rate<C: Clock = MonotonicClock> {
    limiter: Arc<Limiter<C>>,
    clock: C,
    calls: Arc<AtomicUsize>,
}

impl<C: Clock + Clone> Rate<C> {
    pub(crate) fn new(a_second: NonZeroU32, clock: C) -> Self {
        let limiter =
            RateLimiter::new(Quota::per_second(a_second), HashMapStateStore::default(), clock.clone());
        Self { limiter: Arc::new(limiter), clock, calls: Arc::default() }
    }

    /// Counts one more call of this caller.
    ///
    /// # Errors
    /// A fault that says when to try again, when there are too many.
    pub(crate) fn admit(&self, caller: &CallerKey) -> Result<(), Fault> {
        if self.calls.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(caller).map_err(|early| {
            let wait = early.wait_time_from(self.clock.now()).as_millis() + 1;
            let message = "the caller makes more calls a second than the host allows";
            Fault::new(FaultReason::Overloaded, message).with(RETRY_AFTER_MS, wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn caller(n: u16) -> CallerKey {
        let [high, low] = n.to_be_bytes();
        CallerKey::Address(IpAddr::from([10, 0, high, low]))
    }

    #[test]
    fn a_caller_has_its_own_rate_and_is_told_when_to_come_again() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::new(NonZeroU32::new(10).unwrap(), clock.clone());
        for _ in 0..10 {
            rate.admit(&caller(1)).unwrap();
        }
        let refused = rate.admit(&caller(1)).unwrap_err();
        assert_eq!(refused.reason, FaultReason::Overloaded);
        assert_eq!(refused.details[RETRY_AFTER_MS], "101");
        rate.admit(&caller(2)).unwrap();
        let named = CallerKey::Names(["spiffe://guildhall/engine".to_owned()].into());
        rate.admit(&named).unwrap();
        clock.advance(Duration::from_millis(101));
        rate.admit(&caller(1)).unwrap();
        rate.admit(&caller(1)).unwrap_err();
    }

    #[test]
    fn callers_that_have_been_quiet_take_no_memory() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::new(NonZeroU32::new(10).unwrap(), clock.clone());
        for n in 0..30_000 {
            rate.admit(&caller(n)).unwrap();
            clock.advance(Duration::from_millis(1));
        }
        assert!(rate.limiter.len() < 2 * FORGET_EVERY, "{}", rate.limiter.len());
    }
}
