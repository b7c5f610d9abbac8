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
mod quorum;

use std::time::Duration;

use tokio::sync::watch;

pub use self::peers::{Asked, Peers};
pub(crate) use self::{
    ballots::{Ballots, Refusal},
    keeper::{Contact, Keeper, Probe, probes, register},
    peers::{Ballot, GrpcPeers},
    quorum::enough,
};
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
    /// They may, until the tenure ends unless that is put off.
    Held,
    /// They must end: what has not by the end of the tenure is killed.
    Ending,
    /// They may not; there are none.
    Over,
}

/// The standing, and how often the tenure was over before: a process that was started in
/// an earlier tenure must not go on in a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Whether agents may run.
    pub standing: Standing,
    /// Grows with each tenure.
    pub number: u64,
}

/// This host's tenure. It begins as one that is over.
#[derive(Debug)]
pub struct Tenure {
    clock: Clock,
    until: watch::Sender<BootInstant>,
    term: watch::Sender<Term>,
}

impl Tenure {
    /// A tenure that is over.
    pub fn new(clock: Clock) -> Self {
        let until = watch::Sender::new(BootInstant::default());
        Self { clock, until, term: watch::Sender::new(Term { standing: Standing::Over, number: 0 }) }
    }

    /// One without an end: of a host whose agents nobody else may start.
    pub fn endless() -> Self {
        let tenure = Self::new(Clock::Machine);
        tenure.extend(BootInstant::from_nanos(u64::MAX));
        tenure
    }

    /// Whether an agent may be started now.
    pub fn is_held(&self) -> bool {
        self.now() == Standing::Held && self.clock.now() < *self.until.borrow()
    }

    /// What agents must do now.
    pub fn now(&self) -> Standing {
        self.term.borrow().standing
    }

    /// Follows what agents must do.
    pub fn term(&self) -> watch::Receiver<Term> {
        self.term.subscribe()
    }

    /// Follows its end.
    pub fn until(&self) -> watch::Receiver<BootInstant> {
        self.until.subscribe()
    }

    /// Puts off its end, or begins it anew, by the word of the registry.
    pub(crate) fn extend(&self, until: BootInstant) {
        self.until.send_if_modified(|now| {
            let later = until > *now;
            *now = until.max(*now);
            later
        });
        self.set(Standing::Held);
    }

    /// Puts off its end, by the word of peers: only if it is not over. Answers whether.
    pub(crate) fn prolong(&self, until: BootInstant) -> bool {
        let goes_on = self.now() != Standing::Over && self.clock.now() < *self.until.borrow();
        if goes_on {
            self.extend(until);
        }
        goes_on
    }

    /// Ends it now, or says that it is about to end.
    pub(crate) fn set(&self, standing: Standing) {
        if standing == Standing::Over {
            self.until.send_modify(|until| *until = (*until).min(self.clock.now()));
        }
        self.term.send_if_modified(|term| {
            let changes = term.standing != standing;
            if changes && term.standing == Standing::Over {
                term.number += 1;
            }
            term.standing = standing;
            changes
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tenure_that_ran_out_comes_back_only_by_the_registry() {
        let tenure = Tenure::new(Clock::Tokio(Instant::now()));
        let clock = tenure.clock;
        assert!(!tenure.is_held() && !tenure.prolong(clock.now() + Duration::from_secs(9)));
        tenure.extend(clock.now() + Duration::from_secs(9));
        let first = *tenure.term().borrow();
        assert!(tenure.is_held());
        advance(Duration::from_secs(8)).await;
        assert!(tenure.prolong(clock.now() + Duration::from_secs(9)));
        advance(Duration::from_secs(8)).await;
        tenure.set(Standing::Ending);
        assert!(!tenure.is_held(), "nothing is started that must end at once");
        assert!(tenure.prolong(clock.now() + Duration::from_secs(9)));
        assert!(tenure.is_held());
        advance(Duration::from_secs(9)).await;
        // Also when nobody has said so yet.
        assert!(!tenure.is_held() && !tenure.prolong(clock.now() + Duration::from_secs(9)));
        tenure.set(Standing::Over);
        tenure.extend(clock.now() + Duration::from_secs(9));
        assert!(tenure.is_held() && tenure.term().borrow().number > first.number);
    }
}
