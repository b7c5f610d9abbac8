//! The clock that tenure is measured on: it goes on while the machine sleeps, and
//! nobody sets it. What it shows means nothing to any other machine.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A moment on this machine's `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootInstant(Duration);

impl BootInstant {
    /// Now.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
        Self(Duration::from_secs(seconds) + Duration::from_nanos(nanos))
    }

    /// The moment so many nanoseconds after the boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }

    /// Nanoseconds since the boot, for 584 years.
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long it is after `earlier`; zero when it is not.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for BootInstant {
    type Output = Self;
    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(after))
    }
}

impl Sub<Duration> for BootInstant {
    type Output = Self;
    fn sub(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(before))
    }
}

/// Where a host's tenure takes its time from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine.
    Machine,
    /// Tokio's clock, which a test or a simulation may drive; counted from this moment.
    Tokio(Instant),
    /// Tokio's clock, which a simulation drives, as a machine shows it whose clock runs
    /// unlike: `pace` milliseconds pass on it in each second since `start`.
    Paced {
        /// When it showed 0.
        start: Instant,
        /// Its speed; 1000 is tokio's own.
        pace: u32,
    },
}

impl Clock {
    /// Now.
    pub fn now(self) -> BootInstant {
        match self {
            Self::Machine => BootInstant::now(),
            Self::Tokio(start) => BootInstant(start.elapsed()),
            Self::Paced { start, pace } => BootInstant(start.elapsed() * pace / 1000),
        }
    }
}
