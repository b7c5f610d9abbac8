//! Ways to get the protocol wrong, each of which the check must notice.

use clap::ValueEnum;

use crate::time::MARGIN;

/// One thing that is done otherwise than `docs/consistency.md` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Flaw {
    /// Nothing ends the agents when the tenure is over.
    NoFence,
    /// Only the host process itself ends them, so not while it is paused or gone.
    FenceInTheHost,
    /// A member votes though a promise of its is in force.
    PromisesDoNotBind,
    /// A member promises though a vote of its is in force.
    VotesDoNotBind,
    /// The registry buries however long ago the burial was begun.
    VotesOutliveThemselves,
    /// One vote less is enough to bury.
    FewerVotes,
    /// One promise less is enough to go on.
    FewerPromises,
    /// A host process that starts again goes on as the member that it was, without its promises.
    RestartedMemberKeepsIdentity,
    /// A renewal is counted from when its answer came.
    TenureFromAnswer,
    /// Promises are counted from when the last of them came.
    TenureFromLastPromise,
    /// Promises that come after the tenure's end bring it back.
    TenureComesBack,
    /// A burial needs the votes of the council in the newer view alone.
    OneViewBuries,
    /// Each renewal sets both views, whatever they are: also one that was late.
    LateRenewalSetsViews,
    /// A claim that was granted under one lease starts a process under the next.
    OldGrantStarts,
    /// A host that starts again buries its predecessor's lease without waiting for its agents' end.
    PredecessorUnlocked,
    /// A handed-over agent is free before its process has ended.
    ReleasedBeforeItsEnd,
    /// An adoption does not ask whether the lease is buried.
    AdoptionFromTheLiving,
    /// A write's epoch is not looked at.
    WritesUnfenced,
    /// A grant whose answer was lost is not given again to the one who asks again.
    GrantForgotten,
}

/// What the hosts and the registry go by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long a lease, a promise or a vote is in force, in ticks: L and T of the protocol.
    pub lease: u8,
    /// What is done wrong.
    pub flaw: Option<Flaw>,
}

impl Rules {
    /// How long a renewal or a majority of promises lets a host run agents, in ticks.
    pub fn tenure(self) -> u8 {
        self.lease - MARGIN
    }

    /// Whether this is done wrong.
    pub fn has(self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}
