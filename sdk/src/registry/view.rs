//! Who may have a say about a lease: the members that a registry lists, and the
//! council of one lease among them. See `docs/consistency.md` for the protocol.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    host::{HostInfo, LeaseId},
    ids::HostId,
};

/// Most members of a council beside the holder of its lease.
const MOST_OTHERS: usize = 8;

/// A host process that the registry lists, known by its lease: one that starts again is
/// another member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The host.
    pub host: HostId,
    /// The lease it registered under.
    pub lease: LeaseId,
    /// Where its gRPC service listens.
    pub endpoint: String,
}

/// All leases that are not buried, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Grows with each change; 0 is no view.
    pub number: u64,
    /// The members, sorted by lease.
    pub members: Vec<Member>,
}

/// The members of a view that promise the holder of a lease to leave it alone, or vote
/// for its burial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Council {
    /// All but the holder.
    pub others: Vec<Member>,
}

impl View {
    /// The council of `lease`: the same wherever it is asked for.
    pub fn council(&self, lease: &LeaseId) -> Council {
        let mut others: Vec<_> =
            self.members.iter().filter(|member| member.lease != *lease).cloned().collect();
        others.sort_by_cached_key(|member| {
            (rank(lease.as_str(), member.lease.as_str()), member.lease.as_str().to_owned())
        });
        others.truncate(MOST_OTHERS);
        Council { others }
    }
}

impl Council {
    /// Members, the holder among them.
    pub fn size(&self) -> usize {
        self.others.len() + 1
    }

    /// With how many promises the holder goes on, its own among them.
    pub fn promises_needed(&self) -> usize {
        self.size() / 2 + 1
    }

    /// With how many votes of the others the lease may be buried. Any so many members and
    /// any [`promises_needed`](Self::promises_needed) have one in common.
    pub fn votes_needed(&self) -> usize {
        self.size().div_ceil(2)
    }
}

/// A number that orders who comes first for a subject, differently for each subject and
/// the same everywhere: the 64-bit FNV-1a hash of both, finished as MurmurHash3 does.
pub fn rank(subject: &str, candidate: &str) -> u64 {
    let bytes = subject.bytes().chain([0]).chain(candidate.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

/// A lease whose end has passed by the registry's time, and that is not buried.
#[derive(Clone, Debug, PartialEq)]
pub struct Overdue {
    /// What its host last reported, its terms among it.
    pub host: HostInfo,
    /// The lease.
    pub lease: LeaseId,
    /// How long it has been so, by the registry's time.
    pub since: Duration,
    /// The views that its holder may go by: the one it named when it last renewed, and
    /// the one it was answered then.
    pub views: Vec<View>,
    /// When it ended, as the registry writes it; tells this end from a later one.
    pub(crate) end: u64,
    /// The registry's time of this answer.
    pub(crate) asked_at: u64,
}

/// What came of a burial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burial {
    /// The lease is buried: its claims are free.
    Buried,
    /// It was renewed, or buried before.
    Missed,
    /// It came too late: the votes may have run out.
    Late,
    /// The registry has changed a short while ago, and nothing may be buried yet.
    Unsettled,
}

/// What a renewal tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewed {
    /// The newest view, when it is not the one that the renewal named.
    pub view: Option<View>,
    /// The registry may have lost what it was told: claims are to be asserted again.
    pub forgot: bool,
    /// By how much less time has passed for the registry than for the holder since the
    /// renewal before: by so much earlier the lease may end than the holder counts.
    pub behind: Duration,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn view(members: usize) -> View {
        let member = |n| Member {
            host: HostId::new(format!("h{n}")).unwrap(),
            lease: LeaseId::new(format!("l{n}")).unwrap(),
            endpoint: String::new(),
        };
        View { number: 1, members: (0..members).map(member).collect() }
    }

    proptest! {
        #[test]
        fn promises_and_votes_always_share_a_member(members in 1usize..200) {
            let council = view(members).council(&LeaseId::new("l0").unwrap());
            prop_assert!(council.promises_needed() + council.votes_needed() > council.size());
            prop_assert!(council.promises_needed() <= council.size());
            prop_assert!(council.size() <= 9 && council.size() <= members);
        }

        #[test]
        fn a_council_does_not_depend_on_the_order_of_the_view(members in 2usize..40, seed: u64) {
            let lease = LeaseId::new("l1").unwrap();
            let sorted = view(members);
            let mut shuffled = sorted.clone();
            shuffled.members.sort_by_key(|member| rank(&seed.to_string(), member.lease.as_str()));
            prop_assert_eq!(sorted.council(&lease), shuffled.council(&lease));
        }
    }

    #[test]
    fn ranks_are_spread() {
        let firsts: std::collections::BTreeSet<_> = (0..100)
            .map(|subject| (0..5).min_by_key(|n| rank(&format!("s{subject}"), &format!("h{n}"))))
            .collect();
        assert_eq!(firsts.len(), 5);
    }
}
