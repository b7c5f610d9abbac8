//! What this host has promised to holders of leases, and voted for.
//!
//! Pure: the time comes in as an argument. A promise and a vote about one lease exclude
//! each other for as long as either is in force. All of it is forgotten with the process,
//! which is then another member.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use guildhall::host::LeaseId;

use crate::clock::BootInstant;

/// Leases that can be promised or voted about at once. There is one a host.
const MOST: usize = 10_000;

/// Longest term, which is the longest lease that makes sense.
const LONGEST_TERM: Duration = Duration::from_secs(3600);

/// Why a promise or a vote was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was asked of another process, which had this address before.
    OtherMember,
    /// It is about this host's own lease.
    OwnLease,
    /// This host reaches the registry, so the holder is cut off alone.
    RegistryReached,
    /// The other was given, and is in force for so long.
    Bound(Duration),
    /// There are too many, or the term is too long.
    TooMuch,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherMember => f.write_str("another process was asked"),
            Self::OwnLease => f.write_str("it is this host's own lease"),
            Self::RegistryReached => f.write_str("the registry can be reached from here"),
            Self::Bound(left) => write!(f, "bound by the contrary for {left:?}"),
            Self::TooMuch => f.write_str("too many leases, or too long a term"),
        }
    }
}

/// The ballots of one host process.
#[derive(Debug, Default)]
pub(crate) struct Ballots {
    /// Every lease that this process has held.
    own: HashSet<LeaseId>,
    promised: HashMap<LeaseId, BootInstant>,
    voted: HashMap<LeaseId, BootInstant>,
}

impl Ballots {
    /// This process holds the lease, and answers as that member.
    pub(crate) fn hold(&mut self, lease: LeaseId) {
        self.own.insert(lease);
    }

    /// Promises not to vote for the burial of `holder` for `term` from now.
    pub(crate) fn promise(
        &mut self,
        now: BootInstant,
        member: &LeaseId,
        holder: &LeaseId,
        term: Duration,
    ) -> Result<(), Refusal> {
        self.give(now, member, holder, term, true)
    }

    /// Votes for the burial of `holder`, and promises it nothing for `term` from now.
    pub(crate) fn vote(
        &mut self,
        now: BootInstant,
        member: &LeaseId,
        holder: &LeaseId,
        term: Duration,
    ) -> Result<(), Refusal> {
        self.give(now, member, holder, term, false)
    }

    fn give(
        &mut self,
        now: BootInstant,
        member: &LeaseId,
        holder: &LeaseId,
        term: Duration,
        promise: bool,
    ) -> Result<(), Refusal> {
        if !self.own.contains(member) {
            return Err(Refusal::OtherMember);
        }
        if self.own.contains(holder) {
            return Err(Refusal::OwnLease);
        }
        self.promised.retain(|_, until| *until > now);
        self.voted.retain(|_, until| *until > now);
        let (given, contrary) = match promise {
            true => (&mut self.promised, &self.voted),
            false => (&mut self.voted, &self.promised),
        };
        if let Some(until) = contrary.get(holder) {
            return Err(Refusal::Bound(until.saturating_duration_since(now)));
        }
        if term > LONGEST_TERM || (given.len() >= MOST && !given.contains_key(holder)) {
            return Err(Refusal::TooMuch);
        }
        let until = given.entry(holder.clone()).or_default();
        *until = (*until).max(now + term);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lease(id: u8) -> LeaseId {
        LeaseId::new(format!("l{id}")).unwrap()
    }

    #[test]
    fn only_the_member_that_is_meant_answers_and_never_about_itself() {
        let mut ballots = Ballots::default();
        let (now, term) = (BootInstant::default(), Duration::from_secs(1));
        assert_eq!(ballots.promise(now, &lease(0), &lease(1), term), Err(Refusal::OtherMember));
        ballots.hold(lease(0));
        ballots.hold(lease(9));
        assert_eq!(ballots.promise(now, &lease(0), &lease(1), term), Ok(()));
        assert_eq!(ballots.promise(now, &lease(9), &lease(1), term), Ok(()));
        assert_eq!(ballots.vote(now, &lease(0), &lease(9), term), Err(Refusal::OwnLease));
        assert_eq!(ballots.vote(now, &lease(0), &lease(2), term * 10_000), Err(Refusal::TooMuch));
    }

    proptest! {
        /// Whatever is asked, and when: a promise and a vote about one lease never hold at
        /// the same time.
        #[test]
        fn a_promise_and_a_vote_exclude_each_other(
            asked in prop::collection::vec((any::<bool>(), 1u8..4, 0u64..50, 1u64..40), 1..60),
        ) {
            let mut ballots = Ballots::default();
            ballots.hold(lease(0));
            let mut now = BootInstant::default();
            let mut until: HashMap<(bool, u8), BootInstant> = HashMap::new();
            for (promise, holder, wait, term) in asked {
                now = now + Duration::from_secs(wait);
                let term = Duration::from_secs(term);
                let given = ballots.give(now, &lease(0), &lease(holder), term, promise);
                let contrary_holds = until.get(&(!promise, holder)).is_some_and(|until| *until > now);
                prop_assert_eq!(given.is_err(), contrary_holds);
                if given.is_ok() {
                    let end = until.entry((promise, holder)).or_default();
                    *end = (*end).max(now + term);
                }
            }
        }
    }
}
