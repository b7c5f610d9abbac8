//! How large the worlds are that are looked at, and what may go wrong in them.

use crate::flaws::Rules;

/// Which things may go wrong. How many of them in one history is another bound: see
/// [`Configuration::faults_at_most`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A host can't reach the registry until that is mended.
    pub cuts: bool,
    /// All hosts that are up can't reach the registry, until it is mended for each.
    pub outages: bool,
    /// Two hosts can't reach each other until that is mended.
    pub partitions: bool,
    /// A renewal, a request for promises, or an answer is lost.
    pub losses: bool,
    /// A host process stops until it goes on.
    pub pauses: bool,
    /// A host process ends.
    pub crashes: bool,
    /// A renewal is carried out or answered late, perhaps after the next.
    pub late_renewals: bool,
    /// Promises are given and heard one by one.
    pub late_promises: bool,
    /// Votes are given one by one, and the burial is asked for late.
    pub late_burials: bool,
    /// A claim is carried out late, and its answer heard later.
    pub late_claims: bool,
}

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Its name.
    pub name: &'static str,
    /// What it covers, in a line.
    pub covers: &'static str,
    /// How many agents there are.
    pub agents: usize,
    /// The hosts on which they run at first, in each of the worlds to begin with. Empty if
    /// they have yet to be created.
    pub placements: &'static [&'static [usize]],
    /// The last host has just registered, and the others have yet to hear of it.
    pub joined: bool,
    /// How often a host may register after the beginning.
    pub registrations: u8,
    /// What may go wrong.
    pub faults: Faults,
    /// How many things go wrong in one history at most.
    pub faults_at_most: u8,
    /// How many messages are late at the same time at most.
    pub late: usize,
    /// Whether agents are handed over.
    pub hand_overs: bool,
    /// Whether agents write.
    pub writes: bool,
    /// Whether leases that no claim was made under are buried too. They change the views.
    pub idle_burials: bool,
    /// Whether clocks tick in any order. Otherwise they tick in turn, the registry's last.
    pub drift: bool,
    /// Whether clocks by which nothing is measured rest.
    pub resting_clocks: bool,
    /// What all go by.
    pub rules: Rules,
    /// Whether hosts and agents in the same situation are interchangeable.
    pub symmetric: bool,
    /// Names of what must be seen to happen.
    pub sometimes: &'static [&'static str],
}
