//! What probes are told, by the standard health service:
//!
//! | service | serving means |
//! | --- | --- |
//! | none, or the host's own | it takes agents: it has its lease, and is not about to end |
//! | `liveness` | its runtime works, whatever becomes of the registry |

use std::fmt;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthService, HealthServer},
    server::HealthReporter,
};

use super::SERVICE;

/// What is asked about the process itself.
const LIVENESS: &str = "liveness";

/// Tells probes how the host is. Clones tell the same.
#[derive(Clone)]
pub(crate) struct Health {
    reporter: HealthReporter,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// Takes no agents yet.
    pub(crate) async fn new() -> Self {
        let reporter = HealthReporter::new();
        reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        let health = Self { reporter };
        health.set(false).await;
        health
    }

    pub(super) fn service(&self) -> HealthServer<impl HealthService> {
        HealthServer::new(tonic_health::server::HealthService::from_health_reporter(self.reporter.clone()))
    }

    async fn set(&self, takes_agents: bool) {
        let status = if takes_agents { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in [SERVICE, ""] {
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// Follows the lease until the host is about to end; from then on it takes no agents.
    pub(crate) async fn follow(self, mut lease_in_force: watch::Receiver<bool>, ending: CancellationToken) {
        loop {
            let in_force = *lease_in_force.borrow_and_update();
            self.set(in_force).await;
            tokio::select! {
                biased;
                () = ending.cancelled() => break,
                changed = lease_in_force.changed() => if changed.is_err() { break },
            }
        }
        self.set(false).await;
    }
}
