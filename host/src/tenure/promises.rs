//! One round of asking the council of this host's lease for promises.

use std::{sync::Arc, time::Duration};

use guildhall::{host::LeaseId, ids::HostId, registry::View};
use tracing::warn;

use super::{Peers, peers::Asked, quorum::enough, tenure_of};
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
        let needed = council.promises_needed() - 1;
        let asked = clock.now();
        let ask = |member| {
            let asked = Asked { member, holder: host.clone(), lease: lease.clone(), term: length };
            let peers = Arc::clone(&peers);
            async move { peers.promise(&asked).await }
        };
        if let Err(missing) = enough(&council.others, needed, within, ask).await {
            warn!(missing, of = council.size(), "too few peers promise to leave this host alone");
            return None;
        }
        Some(asked + tenure_of(length))
    }
}
