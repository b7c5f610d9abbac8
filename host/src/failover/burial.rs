//! Overdue leases: votes are collected, and the lease is buried.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use guildhall::{
    host::Consistency,
    registry::{Burial, Overdue, View},
};
use tracing::{debug, info, warn};

use super::Failover;
use crate::tenure::{Asked, enough, tenure_of};

/// Pauses between two looks: while something is overdue, and while nothing is, in leases.
const WHILE_OVERDUE: Duration = Duration::from_millis(500);
const WHILE_QUIET: u32 = 2;

/// By how much longer a tenure of some minutes may last by a clock that loses a tenth.
const SLOW_CLOCK: f64 = 1.2;

/// Leases that are seen to at once.
const AT_ONCE: usize = 8;

/// What a look at the overdue leases came to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// When to look again, if nothing happens.
    pub(super) again_in: Duration,
    /// Whether there may be orphans now: a lease was buried, here or by another host.
    pub(super) changed: bool,
}

pub(super) struct Burials {
    failover: Failover,
    /// How many were overdue at the last look.
    overdue: std::sync::atomic::AtomicUsize,
}

impl Burials {
    pub(super) fn new(failover: Failover) -> Self {
        Self { failover, overdue: Default::default() }
    }

    /// Sees to all leases that are overdue.
    pub(super) async fn run(&self) -> Outcome {
        use std::sync::atomic::Ordering;
        let Failover { registry, terms, .. } = &self.failover;
        let quiet = (terms.length * WHILE_QUIET).mul_f64(0.75 + rand::random::<f64>() / 2.0);
        let overdue = match registry.overdue().await {
            Ok(overdue) => overdue,
            Err(error) => {
                debug!(%error, "overdue leases cannot be looked for");
                return Outcome { again_in: terms.length / 3, changed: false };
            }
        };
        let before = self.overdue.swap(overdue.len(), Ordering::Relaxed);
        if overdue.is_empty() {
            return Outcome { again_in: quiet, changed: before > 0 };
        }
        if !self.failover.may_act() {
            return Outcome { again_in: WHILE_OVERDUE, changed: before > overdue.len() };
        }
        let all = overdue.len();
        let outcomes: Vec<bool> = stream::iter(overdue)
            .map(async |overdue| self.bury(&overdue).await)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let buried = outcomes.into_iter().filter(|buried| *buried).count();
        let left = all - buried;
        self.overdue.store(left, Ordering::Relaxed);
        Outcome {
            again_in: if left > 0 { WHILE_OVERDUE } else { quiet },
            changed: buried > 0 || before > all,
        }
    }

    /// Buries one lease if that is allowed. Answers whether it is buried.
    async fn bury(&self, overdue: &Overdue) -> bool {
        let Overdue { host, lease, since, .. } = overdue;
        let within = tenure_of(host.terms.length);
        if !self.may_bury(overdue).await {
            return false;
        }
        match self.failover.registry.bury(overdue, within).await {
            Ok(Burial::Buried) => {
                info!(host = %host.id, lease = lease.as_str(), overdue = ?since, "the host is gone; its agents are free");
                true
            }
            Ok(Burial::Missed) => true,
            Ok(outcome) => {
                debug!(host = %host.id, ?outcome, "the lease is not buried yet");
                false
            }
            Err(error) => {
                warn!(host = %host.id, %error, "the lease is not buried");
                false
            }
        }
    }

    /// Whether its terms allow it now, by votes where those are needed.
    async fn may_bury(&self, overdue: &Overdue) -> bool {
        let terms = overdue.host.terms;
        let alone = terms.consistency == Consistency::Available
            || terms.outage_patience.is_zero()
            || overdue.since >= (terms.outage_patience + terms.length).mul_f64(SLOW_CLOCK);
        if alone {
            return true;
        }
        let votes = overdue.views.iter().map(|view| self.voted(overdue, view));
        futures::future::join_all(votes).await.into_iter().all(|voted| voted)
    }

    /// Whether the council in that view votes for the burial.
    async fn voted(&self, overdue: &Overdue, view: &View) -> bool {
        let terms = overdue.host.terms;
        let council = view.council(&overdue.lease);
        let ask = |member| {
            let peers = Arc::clone(&self.failover.peers);
            let asked = Asked {
                member,
                holder: overdue.host.id.clone(),
                lease: overdue.lease.clone(),
                term: terms.length,
            };
            async move { peers.vote(&asked).await }
        };
        match enough(&council.others, council.votes_needed(), terms.length / 3, ask).await {
            Ok(()) => true,
            Err(missing) => {
                debug!(host = %overdue.host.id, missing, "too few votes to take the host for gone");
                false
            }
        }
    }
}
