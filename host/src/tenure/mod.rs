//! Tenure: until when this host may run agents.
//!
//! | file | idea |
//! | --- | --- |
//! | here | the tenure itself, which others follow |
//! | `keeper.rs` | keeps it: renews the lease, asks for promises, registers anew |
//! | `promises.rs` | one round of asking the council for promises |
//! | `ballots.rs` | what this host has promised to others and voted for |
//! | `peers.rs` | how other hosts are asked |
//!
//! `docs/consistency.md` says why this is sound; names here are those of that page.

mod ballots;
mod keeper;
mod peers;
mod promises;

use std::time::Duration;

use tokio::sync::watch;

pub(crate) use self::{
    ballots::{Ballots, Refusal},
    keeper::{Contact, Keeper, Probe, probes, register},
    peers::{Ballot, GrpcPeers},
};
pub use self::peers::{Asked, Peers};
use crate::clock::{BootInstant, Clock};

/// The share of a lease that is kept back, for clocks that run unlike and for a kernel
/// that is slow: a tenth.
const MARGIN: u32 = 10;

/// What a lease of this length gives to its holder, from the moment before it asked.
pub(crate) fn tenure_of(length: Duration) -> Duration {
    length - length / MARGIN
}

/// Whether agents may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They may, until this moment unless it is put off.
    Held,
    /// They must end: what has not by the end of the tenure is killed.
    Ending,
    /// They may not; there are none.
    Over,
}

/// This host's tenure. It begins as one that is over.
#[derive(Debug)]
pub struct Tenure {
    clock: Clock,
    until: watch::Sender<BootInstant>,
    standing: watch::Sender<Standing>,
}

impl Tenure {
    /// A tenure that is over.
    pub fn new(clock: Clock) -> Self {
        let until = watch::Sender::new(BootInstant::default());
        Self { clock, until, standing: watch::Sender::new(Standing::Over) }
    }

    /// One without an end: of a host whose agents nobody else may start.
    pub fn endless() -> Self {
        let tenure = Self::new(Clock::Machine);
        tenure.extend(BootInstant::from_nanos(u64::MAX));
        tenure
    }

    /// Whether an agent may be started now.
    pub fn is_held(&self) -> bool {
        *self.standing.borrow() == Standing::Held && self.clock.now() < *self.until.borrow()
    }

    /// Follows what agents must do.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Follows its end.
    pub fn until(&self) -> watch::Receiver<BootInstant> {
        self.until.subscribe()
    }

    /// Puts off its end, or begins it anew.
    pub(crate) fn extend(&self, until: BootInstant) {
        self.until.send_if_modified(|now| {
            let later = until > *now;
            *now = until.max(*now);
            later
        });
        self.set(Standing::Held);
    }

    /// Ends it now, or says that it is about to end.
    pub(crate) fn set(&self, standing: Standing) {
        if standing == Standing::Over {
            self.until.send_modify(|until| *until = (*until).min(self.clock.now()));
        }
        self.standing.send_if_modified(|before| std::mem::replace(before, standing) != standing);
    }
}
