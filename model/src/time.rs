//! Time in ticks, and clocks that do not tick alike.
//!
//! Each machine has a clock, and so has the registry. They tick one at a time, in any
//! order, but none is ever more than one tick ahead of another. So over any stretch of
//! time two of them differ by at most two ticks, and that is what [`MARGIN`] covers: a
//! process that ends when its clock shows a lease less the margin was alive until just
//! before that tick, when no other clock had shown the whole lease.
//!
//! The clock of a host by which nothing is measured *rests*: it does not tick, and when
//! something is measured again it is as slow as the slowest. From there it can be ahead by
//! one tick. What it measures then may run out a tick sooner than it otherwise could, and
//! that is the dangerous side for promises and votes.
//!
//! All times in the model are what is left of a duration, on one clock. None is compared
//! with another machine's.

use crate::registry::HOSTS;

/// By how much a holder counts a lease or a promise shorter, in ticks: what a tenth of
/// them is in the protocol.
pub const MARGIN: u8 = 2;

/// Which clocks are a tick ahead of the others: one bit for each host, one for the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clocks(u8);

impl Clocks {
    /// The registry's clock.
    pub const REGISTRY: usize = HOSTS;

    const ALL: u8 = (1 << (HOSTS + 1)) - 1;

    /// Whether this clock is a tick ahead of the slowest.
    pub fn ahead(self, clock: usize) -> bool {
        self.0 & (1 << clock) != 0
    }

    /// This clock ticks. It must not be ahead. Nobody waits for those that are `resting`.
    pub fn tick(&mut self, clock: usize, resting: u8) {
        self.0 |= 1 << clock;
        if self.0 | resting == Self::ALL {
            self.0 = 0;
        }
    }

    /// This clock is as slow as the slowest.
    pub fn rest(&mut self, clock: usize) {
        self.0 &= !(1 << clock);
    }

    /// The same clocks when host `h` is called `names[h]`.
    pub fn renamed(self, names: &[usize; HOSTS]) -> Self {
        let mut renamed = self.0 & (1 << Self::REGISTRY);
        for (host, name) in names.iter().enumerate() {
            if self.ahead(host) {
                renamed |= 1 << name;
            }
        }
        Self(renamed)
    }
}
