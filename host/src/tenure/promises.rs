//! One round of asking the council of this host's lease for promises.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use guildhall::{
    host::LeaseId,
    ids::HostId,
    registry::View,
};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{Peers, peers::Asked, tenure_of};
use crate::clock::{BootInstant, Clock};

/// Who asks for promises.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) host: HostId,
    pub(super) lease: LeaseId,
    pub(super) view: View,
    pub(super) length: Duration,
    pub(super) within: Duration,
}

impl Round {
    /// Asks all members at once. Answers until when the tenure lasts by their promises, as
    /// soon as enough have promised; `None` when too few did in time.
    pub(super) async fn ask(self, peers: Arc<dyn Peers>, clock: Clock) -> Option<BootInstant> {
        let Self { host, lease, view, length, within } = self;
        if view.number == 0 {
            return None;
        }
        let council = view.council(&lease);
        // Its own is one of them.
        let mut needed = council.promises_needed() - 1;
        let asked = clock.now();
        let ask = |member| {
            let (peers, host, lease) = (Arc::clone(&peers), host.clone(), lease.clone());
            async move {
                let asked = Asked { member, holder: host, lease, term: length };
                let answer = timeout(within, peers.promise(&asked)).await;
                match answer {
                    Ok(Ok(())) => true,
                    Ok(Err(reason)) => {
                        debug!(member = %asked.member.host, reason, "no promise");
                        false
                    }
                    Err(_) => false,
                }
            }
        };
        let mut answers: FuturesUnordered<_> = council.others.iter().cloned().map(ask).collect();
        while needed > 0 {
            match answers.next().await {
                Some(true) => needed -= 1,
                Some(false) => {}
                None => {
                    warn!(missing = needed, of = council.size(), "too few peers promise to leave this host alone");
                    return None;
                }
            }
        }
        Some(asked + tenure_of(length))
    }
}
