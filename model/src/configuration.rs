//! How large the worlds are that are looked at, and what may go wrong in them.

use crate::flaws::{Flaw, Rules};

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

/// What all configurations have in common: three hosts, of which the first two each run an
/// agent, and nothing that goes wrong.
const CALM: Configuration = Configuration {
    name: "calm",
    covers: "",
    agents: 2,
    placements: &[&[0, 1]],
    joined: false,
    registrations: 0,
    faults: Faults {
        cuts: false,
        outages: false,
        partitions: false,
        losses: false,
        pauses: false,
        crashes: false,
        late_renewals: false,
        late_promises: false,
        late_burials: false,
        late_claims: false,
    },
    faults_at_most: 2,
    late: 1,
    hand_overs: false,
    writes: false,
    idle_burials: false,
    resting_clocks: true,
    drift: true,
    rules: Rules { lease: 4, flaw: None },
    symmetric: true,
    sometimes: &[],
};

/// The main one: everything that happens between machines that stay up.
pub const MAIN: Configuration = Configuration {
    name: "main",
    covers: "2 agents; hosts cut off, outages, partitions, losses, pauses; any 2 of them",
    faults: Faults { cuts: true, outages: true, partitions: true, losses: true, pauses: true, ..CALM.faults },
    sometimes: &[
        "a takeover",
        "an outage longer than a lease is survived",
        "a host that is cut off alone stops its agents",
        "the fence stops the agents of a paused host",
        "an overdue lease is renewed",
    ],
    ..CALM
};

/// Everything step by step.
pub const LATE: Configuration = Configuration {
    name: "late",
    covers: "1 agent; hosts cut off, outages, late renewals, promises, votes, burials, claims; any 3",
    agents: 1,
    placements: &[&[0]],
    faults: Faults {
        cuts: true,
        outages: true,
        late_renewals: true,
        late_promises: true,
        late_burials: true,
        late_claims: true,
        ..CALM.faults
    },
    faults_at_most: 3,
    sometimes: &["an outage longer than a lease is survived", "an overdue lease is renewed"],
    ..CALM
};

/// A lease that is longer in ticks, so that an answer can be later.
pub const LONG: Configuration = Configuration {
    name: "long",
    covers: "1 agent, a longer lease; hosts cut off, outages, late promises; any 2",
    faults: Faults { cuts: true, outages: true, late_promises: true, ..CALM.faults },
    faults_at_most: 2,
    rules: Rules { lease: 5, flaw: None },
    sometimes: &["an outage longer than a lease is survived"],
    ..LATE
};

/// Host processes that end and start again, and hosts that were buried and come back.
pub const RESTARTS: Configuration = Configuration {
    name: "restarts",
    covers: "1 agent; crashes, hosts cut off, outages, pauses; any 2, and one registration",
    faults: Faults { crashes: true, cuts: true, outages: true, pauses: true, ..CALM.faults },
    faults_at_most: 2,
    registrations: 1,
    sometimes: &["an overdue lease is renewed"],
    ..LATE
};

/// Views that change while renewals are late.
pub const VIEWS: Configuration = Configuration {
    name: "views",
    covers: "1 agent; a host has joined, idle hosts are buried, outages, late renewals; any 2; no drift",
    faults: Faults { outages: true, late_renewals: true, ..CALM.faults },
    faults_at_most: 2,
    joined: true,
    idle_burials: true,
    drift: false,
    symmetric: false,
    sometimes: &["an overdue lease is renewed"],
    ..LATE
};

/// Agents that move, and write.
pub const MOVES: Configuration = Configuration {
    name: "moves",
    covers: "2 agents, handed over and writing; hosts cut off, late writes; any 2",
    faults: Faults { cuts: true, ..CALM.faults },
    hand_overs: true,
    writes: true,
    sometimes: &["a host that is cut off alone stops its agents"],
    ..CALM
};

/// Agents that have yet to be created.
pub const CREATION: Configuration = Configuration {
    name: "creation",
    covers: "1 agent that was not created yet; hosts cut off, late claims; any 2",
    placements: &[&[]],
    faults: Faults { cuts: true, late_claims: true, ..CALM.faults },
    faults_at_most: 2,
    sometimes: &["a host that is cut off alone stops its agents"],
    ..LATE
};

impl Configuration {
    /// All of them.
    pub const ALL: [Self; 7] = [MAIN, LATE, LONG, RESTARTS, VIEWS, MOVES, CREATION];

    /// The smallest of them in which this flaw shows.
    pub fn with_flaw(flaw: Flaw) -> Self {
        let base = match flaw {
            Flaw::NoFence
            | Flaw::FenceInTheHost
            | Flaw::PromisesDoNotBind
            | Flaw::FewerVotes
            | Flaw::FewerPromises
            | Flaw::AdoptionFromTheLiving => MAIN,
            Flaw::VotesDoNotBind
            | Flaw::VotesOutliveThemselves
            | Flaw::TenureFromAnswer
            | Flaw::TenureComesBack
            | Flaw::GrantForgotten => LATE,
            Flaw::OldGrantStarts => Self { registrations: 1, ..LATE },
            Flaw::TenureFromLastPromise => Self { faults_at_most: 3, ..LONG },
            Flaw::RestartedMemberKeepsIdentity | Flaw::PredecessorUnlocked => {
                Self { faults_at_most: 3, ..RESTARTS }
            }
            Flaw::OneViewBuries => Self { joined: false, ..VIEWS },
            Flaw::LateRenewalSetsViews => VIEWS,
            Flaw::ReleasedBeforeItsEnd | Flaw::WritesUnfenced => MOVES,
        };
        let rules = Rules { flaw: Some(flaw), ..base.rules };
        Self { rules, ..base }
    }
}
