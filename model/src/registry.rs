//! The registry: leases with their ends and views, and claims with their epochs.
//!
//! Each method is one script on one entry, so it happens at once. What it refuses changes
//! nothing.

use crate::flaws::{Flaw, Rules};

/// How many machines there are.
pub const HOSTS: usize = 3;

/// How many agents there are at most.
pub const AGENTS: usize = 2;

/// How many leases a machine's processes can have, one after the other.
pub const GENERATIONS: usize = 2;

/// How many leases there can be.
pub const LEASES: usize = HOSTS * GENERATIONS;

/// The name of a lease, and so of the process that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(u8);

impl LeaseId {
    /// The lease that the `generation`th process of this host registers under.
    pub fn new(host: usize, generation: usize) -> Self {
        Self((host * GENERATIONS + generation) as u8)
    }

    /// Its place in a table of leases.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The host it was made for.
    pub fn host(self) -> usize {
        self.index() / GENERATIONS
    }

    /// The lease after this one, if the model has room for another.
    pub fn next(self) -> Option<Self> {
        let generation = self.index() % GENERATIONS + 1;
        (generation < GENERATIONS).then(|| Self::new(self.host(), generation))
    }

    /// All leases that there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..LEASES as u8).map(Self)
    }

    /// The same lease when host `h` is called `names[h]`.
    pub fn renamed(self, names: &[usize; HOSTS]) -> Self {
        Self::new(names[self.host()], self.index() % GENERATIONS)
    }
}

/// A set of leases. A view is the set of those that were not buried when it was made: as a
/// lease is added once and taken away once, no set comes twice, and needs no number. With
/// so few hosts everyone in a view is in every council of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leases(u8);

impl Leases {
    /// Whether this lease is one of them.
    pub fn contains(self, lease: LeaseId) -> bool {
        self.0 & (1 << lease.0) != 0
    }

    /// With this lease too.
    pub fn with(self, lease: LeaseId) -> Self {
        Self(self.0 | 1 << lease.0)
    }

    /// Without this lease.
    pub fn without(self, lease: LeaseId) -> Self {
        Self(self.0 & !(1 << lease.0))
    }

    /// Those that are in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// How many there are.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many promises of this council, the holder's own among them, give tenure.
    pub fn promises_needed(self, rules: Rules) -> u32 {
        self.len() / 2 + if rules.has(Flaw::FewerPromises) { 0 } else { 1 }
    }

    /// How many votes of this council, none of them the holder's, bury.
    pub fn votes_needed(self, rules: Rules) -> u32 {
        self.len().div_ceil(2) - if rules.has(Flaw::FewerVotes) { 1 } else { 0 }
    }

    /// The same leases when host `h` is called `names[h]`.
    pub fn renamed(self, names: &[usize; HOSTS]) -> Self {
        LeaseId::all().filter(|&lease| self.contains(lease)).map(|lease| lease.renamed(names)).collect()
    }
}

impl FromIterator<LeaseId> for Leases {
    fn from_iter<I: IntoIterator<Item = LeaseId>>(leases: I) -> Self {
        leases.into_iter().fold(Self::default(), Self::with)
    }
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(LeaseId::all().filter(|&lease| self.contains(lease)).map(|l| l.0)).finish()
    }
}

/// What the registry knows of one lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lease {
    /// Nobody has registered under it.
    #[default]
    Unused,
    /// It can be renewed.
    Live {
        /// Ticks until its end by the registry's clock; 0 when it is overdue.
        left: u8,
        /// The view that the holder said it has.
        acked: Leases,
        /// The view that the holder was answered.
        offered: Leases,
        /// It was renewed after its end, and the registry's clock has not ticked since.
        revived: bool,
    },
    /// It can never be renewed again.
    Buried,
}

impl Lease {
    /// Whether it can be renewed.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Live { .. })
    }

    /// Whether its end has passed and nobody has buried it.
    pub fn is_overdue(self) -> bool {
        matches!(self, Self::Live { left: 0, .. })
    }
}

/// The number that tells one claim of an agent from the one before. Only which of two is
/// higher matters, so they are kept small: the current epoch is never more than
/// [`CURRENT`], and those far below it are one.
pub type Epoch = u8;

/// The epoch of a claim that nothing was claimed after; see [`Epoch`].
pub const CURRENT: Epoch = 3;

/// An agent's entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// 0 when the agent was never claimed.
    pub epoch: Epoch,
    /// The lease it was made under; none while the agent waits for a host.
    pub lease: Option<LeaseId>,
}

/// All that the registry keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registry {
    /// By [`LeaseId::index`].
    pub leases: [Lease; LEASES],
    /// By agent.
    pub claims: [Claim; AGENTS],
}

impl Registry {
    /// The leases that are not buried: the newest view.
    pub fn view(&self) -> Leases {
        LeaseId::all().filter(|&lease| self.lease(lease).is_live()).collect()
    }

    /// What is known of this lease.
    pub fn lease(&self, lease: LeaseId) -> Lease {
        self.leases[lease.index()]
    }

    /// Makes a lease, and answers with the first view of its holder.
    pub fn register(&mut self, lease: LeaseId, rules: Rules) -> Leases {
        let view = self.view().with(lease);
        self.leases[lease.index()] =
            Lease::Live { left: rules.lease, acked: view, offered: view, revived: false };
        view
    }

    /// Renews a lease whose holder says that it has the view `said`, and answers with the
    /// view it should have next.
    ///
    /// The second view stays the one it is until the holder has said that it has it, and
    /// a renewal that says neither is one that was late: otherwise the holder could use a
    /// view that is neither of those that are kept.
    pub fn renew(&mut self, lease: LeaseId, said: Leases, rules: Rules) -> Option<Leases> {
        let newest = self.view();
        let Lease::Live { left, acked, offered, revived } = &mut self.leases[lease.index()] else {
            return None;
        };
        if said == *offered || rules.has(Flaw::LateRenewalSetsViews) {
            (*acked, *offered) = (said, newest);
        } else if said != *acked {
            return None;
        }
        *revived |= *left == 0;
        *left = rules.lease;
        Some(*offered)
    }

    /// Whether the votes of these members bury this lease.
    pub fn votes_suffice(&self, lease: LeaseId, votes: Leases, rules: Rules) -> bool {
        let Lease::Live { left: 0, acked, offered, .. } = self.lease(lease) else {
            return false;
        };
        let votes = votes.without(lease);
        let enough = |view: Leases| votes.and(view).len() >= view.votes_needed(rules);
        (enough(acked) || rules.has(Flaw::OneViewBuries)) && enough(offered)
    }

    /// Buries a lease.
    pub fn bury(&mut self, lease: LeaseId) {
        self.leases[lease.index()] = Lease::Buried;
    }

    /// Claims an agent under a lease for one who knows its current epoch. An adoption also
    /// needs that the claim is no longer in force. Answers with the new epoch.
    pub fn claim(&mut self, agent: usize, lease: LeaseId, known: Epoch, adoption: bool) -> Option<Epoch> {
        let claim = &self.claims[agent];
        let free = claim.lease.is_none_or(|of| self.lease(of) == Lease::Buried);
        if claim.epoch != known || (adoption && !free) {
            return None;
        }
        let epoch = if known == 0 { CURRENT } else { known + 1 };
        self.claims[agent] = Claim { epoch, lease: Some(lease) };
        Some(epoch)
    }

    /// Puts a claim under no lease, for one who knows its current epoch.
    pub fn release(&mut self, agent: usize, known: Epoch) {
        if self.claims[agent].epoch == known {
            self.claims[agent].lease = None;
        }
    }

    /// The registry's clock ticks.
    pub fn tick(&mut self) {
        for lease in &mut self.leases {
            if let Lease::Live { left, revived, .. } = lease {
                *left = left.saturating_sub(1);
                *revived = false;
            }
        }
    }

    /// Whether a request to bury that is this old by the registry's clock still counts.
    pub fn in_time(age: u8, rules: Rules) -> bool {
        age < rules.tenure() || rules.has(Flaw::VotesOutliveThemselves)
    }
}
