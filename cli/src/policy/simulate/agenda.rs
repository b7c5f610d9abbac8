//! What is going to happen, in the order in which it will.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// Something that happens, but for the arrivals, which the trace has in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// An agent's time is over, if it is still in its `life`th life: it begins another
    /// whenever it is started.
    Leaves { agent: usize, life: u32 },
    /// An agent without a host asks again.
    Asks(usize),
    /// The hosts of a group report.
    Reports(usize),
    /// A host dies, whichever.
    Dies,
    /// A dead host's lease is over.
    IsMissed(usize),
    /// A dead host is back.
    Returns(usize),
    /// So many hosts join.
    Joins(usize),
    /// So many hosts drain.
    Drains(usize),
    /// A host that drained ends.
    Ends(usize),
    /// The policy is asked for moves, since hosts joined.
    Rebalances,
    /// The loads are looked at.
    Look,
}

/// Of the events of one moment, the one that was noted first comes first.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    noted: u64,
}

impl Agenda {
    pub(super) fn note(&mut self, when: Duration, event: Event) {
        self.noted += 1;
        self.events.push(Reverse((when, self.noted, event)));
    }

    /// When the next event is.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.events.peek().map(|Reverse((when, ..))| *when)
    }

    pub(super) fn next(&mut self) -> Option<(Duration, Event)> {
        self.events.pop().map(|Reverse((when, _, event))| (when, event))
    }
}
