//! What can happen next.

use crate::{registry::LeaseId, world::World};

/// What becomes of that which a host asks for at each tick of its clock: a renewal, or
/// promises where it can't reach the registry. All but the first is a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out and answered at once by all who can be reached.
    Heard,
    /// It is lost.
    Lost,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It takes its time.
    Late,
    /// This host alone hears that it was asked for a promise.
    HeardBy(usize),
}

/// One step. Hosts are named by their number, messages by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The registry's clock ticks.
    RegistryTicks,
    /// A machine's clock ticks; its fence acts; its host renews, or asks for promises.
    HostTicks(usize, Fate),

    /// A host can no longer reach the registry.
    Cut(usize),
    /// No host can: the registry is away.
    Outage,
    /// A host can reach the registry again.
    Mend(usize),
    /// Two hosts can no longer reach each other: the host with this number and the next.
    Part(usize),
    /// They can again.
    Join(usize),
    /// A host process stops.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// A host process ends. Its agents may live a little longer.
    Crash(usize),
    /// What it left behind ends.
    Reap(usize),
    /// A host process starts, and registers as a new member.
    Start(usize),
    /// A host whose lease is buried registers anew.
    Rejoin(usize),
    /// A host that started again buries its predecessor's lease.
    BuryPredecessor(usize, LeaseId),

    /// Somebody has an overdue lease buried.
    Bury(LeaseId),
    /// Somebody begins to collect votes, one by one.
    BeginBurial(LeaseId),

    /// A host claims an agent that was never claimed, and starts it.
    Create(usize, usize),
    /// A host claims its own agent again, and starts it.
    Restart(usize, usize),
    /// A host adopts an agent, and starts it.
    Adopt(usize, usize),
    /// A host asks for one of these three claims.
    BeginClaim(usize, usize),
    /// A host hears that its claim was granted, and starts the process if it has tenure.
    HearGrant(usize, usize),
    /// A host does not hear it. Only with [`Flaw::GrantForgotten`](crate::flaws::Flaw::GrantForgotten).
    LoseGrant(usize, usize),
    /// A host stops an agent and puts it under no lease.
    HandOver(usize, usize),
    /// A process writes.
    BeginWrite(usize, usize),

    /// A late request reaches the registry.
    Arrive(usize),
    /// A late answer reaches its host.
    Hear(usize),
    /// A member promises, in a late round of promises.
    Give(usize, usize),
    /// The holder hears of it.
    HearPromise(usize, LeaseId),
    /// A member votes, in a late burial.
    Vote(usize, usize),
    /// A message is lost.
    Lose(usize),
}

/// A world and what happened there, for people.
pub fn describe(action: &Action, world: &World) -> String {
    let told = |place: &usize| world.messages[*place];
    match action {
        Action::Arrive(place) | Action::Hear(place) | Action::Lose(place) => {
            format!("{action:?} {:?}", told(place))
        }
        Action::Give(place, _) | Action::HearPromise(place, _) | Action::Vote(place, _) => {
            format!("{action:?} {:?}", told(place))
        }
        _ => format!("{action:?}"),
    }
}
