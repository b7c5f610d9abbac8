//! The heartbeat: keeps the host's lease, and tells its load.
//!
//! It renews the lease three times in the lease's length and adds a load report
//! when one is due; either costs one round trip, however many agents there are.
//! While the registry is away it only tries again, and the agents go on. When the
//! registry says that the lease has ended, the host registers under a fresh one
//! and reasserts its claims; agents that another host has claimed since are killed.

use std::{sync::Arc, time::Duration};

use guildhall::{
    host::{HostInfo, LeaseId},
    registry::{Registration, Registry, RegistryError},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{load::LoadMeter, supervisor::Supervisor};

/// Renewals in the length of a lease, so that two may fail.
const RENEWALS_PER_LEASE: u32 = 3;

/// Longest pause before a registration is tried again.
const REGISTER_AGAIN_WITHIN: Duration = Duration::from_secs(1);

/// Everything one heartbeat needs.
pub(crate) struct Heartbeat {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) supervisor: Supervisor,
    /// What the host says about itself; its load is filled in here.
    pub(crate) info: watch::Sender<HostInfo>,
    pub(crate) lease: watch::Sender<LeaseId>,
    /// Whether the lease was in force when the registry last answered.
    pub(crate) in_force: watch::Sender<bool>,
    pub(crate) length: Duration,
    pub(crate) interval: Duration,
}

/// Registers under a fresh lease. Waits while another process has the host's id:
/// its lease ends soon if it is an earlier life of this host.
pub(crate) async fn register(
    registry: &dyn Registry,
    info: &HostInfo,
    length: Duration,
) -> Result<LeaseId, RegistryError> {
    loop {
        let lease = LeaseId::fresh();
        match registry.register(info, &lease, length).await? {
            Registration::Registered => return Ok(lease),
            Registration::InUse { remaining } => {
                warn!(host = %info.id, ?remaining, "another process has this host id; waiting for its lease to end");
                sleep(remaining.min(REGISTER_AGAIN_WITHIN)).await;
            }
        }
    }
}

impl Heartbeat {
    /// Beats until it is cancelled, then ends the lease.
    pub(crate) async fn run(self, cancelled: CancellationToken) {
        let every = self.length / RENEWALS_PER_LEASE;
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut meter = LoadMeter::new();
        let mut reports = interval_at(Instant::now() + self.interval, self.interval);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Draining is told at once, so that nobody chooses this host any more.
        let mut info = self.info.subscribe();
        info.mark_unchanged();
        let mut draining = info.borrow().draining;
        loop {
            let report = tokio::select! {
                () = cancelled.cancelled() => break,
                _ = reports.tick() => true,
                _ = ticks.tick() => false,
                _ = info.changed() => {
                    let now = info.borrow_and_update().draining;
                    if std::mem::replace(&mut draining, now) == now {
                        continue;
                    }
                    true
                }
            };
            if report {
                let load = meter.measure(self.supervisor.counts());
                self.info.send_modify(|info| info.load = load);
            }
            tokio::select! {
                () = cancelled.cancelled() => break,
                () = self.beat(report) => {}
            }
        }
        let lease = self.lease.borrow().clone();
        let host = self.info.borrow().id.clone();
        if let Err(error) = self.registry.leave(&host, &lease).await {
            warn!(%error, "the host's lease was not ended; it ends by itself");
        }
    }

    async fn beat(&self, report: bool) {
        let info = self.info.borrow().clone();
        let lease = self.lease.borrow().clone();
        let answer = self.registry.renew(&info.id, &lease, self.length, report.then_some(&info)).await;
        match answer {
            Ok(()) => self.note(true),
            Err(RegistryError::LeaseEnded { .. }) => {
                self.note(false);
                self.begin_again(&info).await;
            }
            Err(error) => {
                warn!(%error, "the lease was not renewed; the agents go on");
                self.note(false);
            }
        }
    }

    /// Registers under a fresh lease and puts the claims under it. What fails here
    /// is tried again at the next beat, which finds the lease ended again.
    async fn begin_again(&self, info: &HostInfo) {
        warn!(host = %info.id, "the lease has ended; registering anew");
        let lease = match register(&*self.registry, info, self.length).await {
            Ok(lease) => lease,
            Err(error) => {
                warn!(%error, "the host was not registered");
                return;
            }
        };
        // From here on new claims are made under the new lease.
        self.lease.send_replace(lease.clone());
        self.note(true);
        match self.supervisor.reassert(&lease).await {
            Ok(reasserted) => {
                info!(
                    kept = reasserted.kept,
                    fenced = reasserted.fenced.len(),
                    "claims are under the new lease"
                );
            }
            Err(error) => {
                error!(%error, "some claims were not put under the new lease; registering once more");
                // A lease that does not carry all claims must not go on: whoever
                // looks would take those agents for lost.
                if let Err(error) = self.registry.leave(&info.id, &lease).await {
                    warn!(%error, "the new lease was not ended; it ends by itself");
                }
            }
        }
    }

    fn note(&self, in_force: bool) {
        self.in_force.send_if_modified(|before| std::mem::replace(before, in_force) != in_force);
    }
}
