//! The heartbeat: keeps the host's lease, and tells its load.
//!
//! It renews the lease three times in the lease's length and adds a load report
//! when one is due; either costs one round trip, however many agents there are.
//! While the registry is away it only tries again, and the agents go on. When the
//! registry says that the lease has ended, the host registers under a fresh one
//! and reasserts its claims; agents that another host has claimed since are killed.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::Fuse};
use guildhall::{
    host::{HostInfo, LeaseId},
    placement::PolicyIdentity,
    registry::{Registration, Registry, RegistryError},
};
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{load::LoadMeter, supervisor::Supervisor};

/// Renewals in the length of a lease, so that two may fail.
const RENEWALS_PER_LEASE: u32 = 3;

/// Pause before claims that were not reasserted are tried again.
const REASSERT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Longest pause before a registration is tried again.
const REGISTER_AGAIN_WITHIN: Duration = Duration::from_secs(1);

/// Everything one heartbeat needs.
pub(crate) struct Heartbeat {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) supervisor: Supervisor,
    /// What the host says about itself; its load is filled in here.
    pub(crate) info: watch::Sender<HostInfo>,
    /// The policy in charge, which the host also says about itself.
    pub(crate) policy: watch::Receiver<Arc<PolicyIdentity>>,
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
        let mut renewals = ticks(every);
        let mut reports = ticks(self.interval);
        let mut meter = LoadMeter::new();
        let mut policy = self.policy.clone();
        // Draining is told at once, so that nobody chooses this host any more.
        let mut info = self.info.subscribe();
        let mut draining = info.borrow_and_update().draining;
        // A report that did not arrive goes along with the next renewal.
        let mut report_due = false;
        let mut reassertion = Fuse::terminated();
        loop {
            tokio::select! {
                () = cancelled.cancelled() => break,
                () = &mut reassertion => continue,
                _ = renewals.tick() => {}
                _ = reports.tick() => report_due = true,
                Ok(()) = policy.changed() => {
                    let now = PolicyIdentity::clone(&policy.borrow_and_update());
                    self.info.send_modify(|info| info.policy = now);
                    report_due = true;
                }
                _ = info.changed() => {
                    let now = info.borrow_and_update().draining;
                    if std::mem::replace(&mut draining, now) == now {
                        continue;
                    }
                    report_due = true;
                }
            }
            if report_due {
                let load = meter.measure(self.supervisor.counts());
                self.info.send_modify(|info| info.load = load);
            }
            let beat = tokio::select! {
                () = cancelled.cancelled() => break,
                beat = self.beat(report_due, every) => beat,
            };
            match beat {
                Beat::Renewed => report_due = false,
                Beat::Registered(lease) => {
                    report_due = false;
                    // Beside the renewals, which must not wait for it.
                    reassertion = reassert(self.supervisor.clone(), lease).boxed().fuse();
                }
                Beat::Missed => {}
            }
        }
        let lease = self.lease.borrow().clone();
        let host = self.info.borrow().id.clone();
        if let Err(error) = self.registry.leave(&host, &lease).await {
            warn!(%error, "the host's lease was not ended; it ends by itself");
        }
    }

    /// One renewal. It may take as long as it is to the next, so that one that hangs
    /// does not use up the time of all.
    async fn beat(&self, report: bool, within: Duration) -> Beat {
        let info = self.info.borrow().clone();
        let lease = self.lease.borrow().clone();
        let renewal = self.registry.renew(&info.id, &lease, self.length, report.then_some(&info));
        let missed = match timeout(within, renewal).await {
            Ok(Ok(())) => {
                self.note(true);
                return Beat::Renewed;
            }
            Ok(Err(RegistryError::LeaseEnded { .. })) => {
                self.note(false);
                warn!(host = %info.id, "the lease has ended; registering anew");
                match register(&*self.registry, &info, self.length).await {
                    Ok(lease) => {
                        // From here on new claims are made under the new lease.
                        self.lease.send_replace(lease.clone());
                        self.note(true);
                        return Beat::Registered(lease);
                    }
                    Err(error) => error.to_string(),
                }
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the registry did not answer within {within:?}"),
        };
        warn!(error = missed, "the lease was not renewed; the agents go on");
        self.note(false);
        Beat::Missed
    }

    fn note(&self, in_force: bool) {
        self.in_force.send_if_modified(|before| std::mem::replace(before, in_force) != in_force);
    }
}

/// What came of a beat.
enum Beat {
    /// The lease goes on.
    Renewed,
    /// The lease had ended; there is a new one, which carries no claims yet.
    Registered(LeaseId),
    /// The registry did not answer.
    Missed,
}

/// Puts every claim under the new lease, again and again until all are.
async fn reassert(supervisor: Supervisor, lease: LeaseId) {
    loop {
        match supervisor.reassert(&lease).await {
            Ok(reasserted) => {
                let (kept, fenced) = (reasserted.kept, reasserted.fenced.len());
                info!(kept, fenced, "claims are under the new lease");
                return;
            }
            Err(error) => error!(%error, "some claims are not under the new lease yet"),
        }
        sleep(REASSERT_AGAIN_AFTER).await;
    }
}

/// Ticks of which the first comes after one period.
fn ticks(every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
