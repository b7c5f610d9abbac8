//! Keeps the host's lease and with it its tenure, and tells its load.
//!
//! It renews the lease three times in the lease's length and adds a load report when one
//! is due; either costs one round trip, however many agents there are. When a renewal
//! fails it tries again faster, and asks the council for promises meanwhile. When the
//! tenure is about to end it says so, and at last that it is over: the supervisor ends the
//! agents, and the fence those that the supervisor does not.
//!
//! When the lease was buried, the host registers under a fresh one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Fuse},
};
use guildhall::{
    host::{Consistency, HostInfo, LeaseId, LeaseTerms},
    placement::PolicyIdentity,
    planted::is_planted,
    registry::{Registration, Registry, RegistryError, Renewed, View},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{Ballots, Peers, Standing, Tenure, promises::Round, tenure_of};
use crate::{
    clock::{BootInstant, Clock},
    load::LoadMeter,
    supervisor::Supervisor,
};

/// Renewals in the length of a lease, so that two may fail.
const RENEWALS_PER_LEASE: u32 = 3;

/// The share of a lease that a renewal may take.
const RENEWAL_WITHIN: u32 = 6;

/// The share of a lease after which a renewal that failed is tried again.
const RENEW_AGAIN_AFTER: u32 = 10;

/// The share of a lease after which peers that promised too little are asked again.
const ASK_AGAIN_AFTER: u32 = 20;

/// Before the end of the tenure, in twentieths of a lease: when agents are told to end,
/// and when they are killed.
const ENDING_BEFORE: u32 = 3;
const OVER_BEFORE: u32 = 1;

/// Pause before claims that were not reasserted are tried again.
const REASSERT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Longest pause before a registration is tried again.
const REGISTER_AGAIN_WITHIN: Duration = Duration::from_secs(1);

/// Peers that wait to hear whether the registry can be reached.
const MOST_PROBES: usize = 64;

/// A moment that does not come: a year from now.
const NEVER: Duration = Duration::from_secs(366 * 24 * 3600);

/// Since when this host has reached the registry without a break; `None` while it does not.
pub(crate) type Contact = Option<BootInstant>;

/// Asks whether the registry can be reached from here, by renewing the lease at once.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    ask: mpsc::Sender<oneshot::Sender<bool>>,
    within: Duration,
}

/// What the keeper needs to answer probes.
pub(crate) type Probes = mpsc::Receiver<oneshot::Sender<bool>>;

/// A probe of a host with leases of this length, and what the keeper needs to answer it.
pub(crate) fn probes(length: Duration) -> (Probe, Probes) {
    let (ask, asked) = mpsc::channel(MOST_PROBES);
    (Probe { ask, within: length / RENEWAL_WITHIN * 2 }, asked)
}

impl Probe {
    /// Has the lease renewed at once, for there is a new view.
    pub(crate) fn hurry(&self) {
        // Too many probes under way have the same effect.
        let _ = self.ask.try_send(oneshot::channel().0);
    }

    /// Whether it can; also when that cannot be told in time.
    pub(crate) async fn reaches_registry(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        if self.ask.try_send(answer).is_err() {
            return true;
        }
        matches!(timeout(self.within, answered).await, Ok(Ok(true)) | Err(_) | Ok(Err(_)))
    }
}

/// Everything the keeper needs.
pub(crate) struct Keeper {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) supervisor: Supervisor,
    /// What the host says about itself; its load is filled in here.
    pub(crate) info: watch::Sender<HostInfo>,
    /// The policy in charge, which the host also says about itself.
    pub(crate) policy: watch::Receiver<Arc<PolicyIdentity>>,
    pub(crate) lease: watch::Sender<LeaseId>,
    /// When the lease was registered: before it was asked for.
    pub(crate) registered: BootInstant,
    /// Whether the lease was in force when the registry last answered.
    pub(crate) in_force: watch::Sender<bool>,
    pub(crate) contact: watch::Sender<Contact>,
    pub(crate) terms: LeaseTerms,
    /// Time between two load reports.
    pub(crate) interval: Duration,
    pub(crate) clock: Clock,
    pub(crate) tenure: Arc<Tenure>,
    pub(crate) ballots: Arc<Mutex<Ballots>>,
    pub(crate) peers: Arc<dyn Peers>,
    /// Notes the lease where the next process of this host finds it.
    pub(crate) note: Box<dyn Fn(&LeaseId) + Send + Sync>,
}

/// Registers under a fresh lease, and answers with that and the moment before it was
/// asked for. Waits while another process has the host's id: its lease ends soon if it is
/// an earlier life of this host.
pub(crate) async fn register(
    registry: &dyn Registry,
    info: &HostInfo,
    clock: Clock,
) -> Result<(LeaseId, BootInstant), RegistryError> {
    loop {
        let (lease, asked) = (LeaseId::fresh(), clock.now());
        match registry.register(info, &lease, info.terms.length).await? {
            Registration::Registered => return Ok((lease, asked)),
            Registration::InUse { remaining } => {
                warn!(host = %info.id, ?remaining, "another process has this host id; waiting for its lease to end");
                sleep(remaining.min(REGISTER_AGAIN_WITHIN)).await;
            }
        }
    }
}

/// What came of a renewal.
struct Renewal {
    asked: BootInstant,
    result: Result<Renewed, RegistryError>,
    reported: bool,
}

type Running<T> = Fuse<BoxFuture<'static, T>>;

/// What the keeper is doing.
struct State {
    view: View,
    /// When the last renewal that succeeded was asked for.
    renewed: BootInstant,
    failing: bool,
    report_due: bool,
    renewal: Running<Renewal>,
    next_renewal: Instant,
    round: Running<(LeaseId, Option<BootInstant>)>,
    next_round: Instant,
    reassertion: Running<()>,
    waiting: Vec<oneshot::Sender<bool>>,
}

impl Keeper {
    /// Keeps the lease until it is cancelled, then ends it. `probes` is what asks whether
    /// the registry is reached.
    pub(crate) async fn run(mut self, mut probes: Probes, cancelled: CancellationToken) {
        let mut reports = ticks(self.interval);
        let mut meter = LoadMeter::new();
        let mut policy = self.policy.clone();
        // Draining is told at once, so that nobody chooses this host any more.
        let mut info = self.info.subscribe();
        let mut draining = info.borrow_and_update().draining;
        let now = Instant::now();
        let mut state = State {
            view: View::default(),
            renewed: self.registered,
            failing: false,
            report_due: false,
            renewal: Fuse::terminated(),
            // The first brings the view.
            next_renewal: now,
            round: Fuse::terminated(),
            next_round: now + NEVER,
            reassertion: Fuse::terminated(),
            waiting: Vec::new(),
        };
        self.ballots().hold(self.lease.borrow().clone());
        self.contact.send_replace(Some(self.clock.now()));
        self.extend(self.registered);
        loop {
            use futures::future::FusedFuture;
            if state.renewal.is_terminated() && state.next_renewal <= Instant::now() {
                if state.report_due {
                    let load = meter.measure(self.supervisor.counts());
                    self.info.send_modify(|info| info.load = load);
                }
                state.renewal = self.renew(&state).fuse();
            }
            if state.round.is_terminated() && state.next_round <= Instant::now() {
                state.round = self.ask_peers(&state).fuse();
            }
            tokio::select! {
                () = cancelled.cancelled() => break,
                () = &mut state.reassertion => {}
                renewal = &mut state.renewal => self.take_renewal(&mut state, renewal).await,
                (lease, until) = &mut state.round => self.take_promises(&mut state, &lease, until),
                () = sleep_until(state.next_renewal), if state.renewal.is_terminated() => {}
                () = sleep_until(state.next_round), if state.round.is_terminated() => {}
                () = self.next_standing() => {}
                Some(asker) = probes.recv() => {
                    state.waiting.push(asker);
                    state.next_renewal = Instant::now();
                }
                _ = reports.tick() => {
                    state.report_due = true;
                    // It goes along with a renewal; one that fails is not hurried.
                    if !state.failing {
                        state.next_renewal = Instant::now();
                    }
                }
                Ok(()) = policy.changed() => {
                    let now = PolicyIdentity::clone(&policy.borrow_and_update());
                    self.info.send_modify(|info| info.policy = now);
                    state.report_due = true;
                    state.next_renewal = Instant::now();
                }
                _ = info.changed() => {
                    let now = info.borrow_and_update().draining;
                    if std::mem::replace(&mut draining, now) != now {
                        state.report_due = true;
                        state.next_renewal = Instant::now();
                    }
                }
            }
        }
        let lease = self.lease.borrow().clone();
        let host = self.info.borrow().id.clone();
        if let Err(error) = self.registry.leave(&host, &lease).await {
            warn!(%error, "the host's lease was not ended; it ends by itself");
        }
    }

    fn ballots(&self) -> std::sync::MutexGuard<'_, Ballots> {
        // Nothing under the lock panics.
        self.ballots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strict(&self) -> bool {
        self.terms.consistency == Consistency::Strict
    }

    /// Begins a renewal. One that hangs is given up in time to try again, and to ask
    /// peers.
    fn renew(&self, state: &State) -> BoxFuture<'static, Renewal> {
        let registry = Arc::clone(&self.registry);
        let (info, lease) = (self.info.borrow().clone(), self.lease.borrow().clone());
        let (view, reported, length) = (state.view.number, state.report_due, self.terms.length);
        let within = length / RENEWAL_WITHIN;
        let asked = self.clock.now();
        async move {
            let report = reported.then_some(&info);
            let renewal = registry.renew(&info.id, &lease, length, view, report);
            let late = || RegistryError::Timeout { address: "the registry".to_owned(), waited: within };
            let result = timeout(within, renewal).await.unwrap_or_else(|_| Err(late()));
            Renewal { asked, result, reported }
        }
        .boxed()
    }

    async fn take_renewal(&mut self, state: &mut State, renewal: Renewal) {
        let length = self.terms.length;
        match renewal.result {
            Ok(renewed) => {
                if renewal.reported {
                    state.report_due = false;
                }
                let counted = renewal.asked - renewed.behind;
                debug!(asked = renewal.asked.as_nanos(), behind = ?renewed.behind, "the lease is renewed");
                self.extend(counted);
                state.renewed = counted;
                state.next_renewal = Instant::now() + length / RENEWALS_PER_LEASE;
                state.next_round = Instant::now() + NEVER;
                if let Some(view) = renewed.view {
                    state.view = view;
                    // The registry learns at once that this is the view to go by: a burial
                    // needs the votes of both as long as it does not.
                    state.next_renewal = Instant::now();
                }
                self.reached(state, true);
                if renewed.forgot {
                    warn!("the registry may have lost claims; they are asserted again");
                    state.reassertion = self.reassert();
                }
            }
            Err(RegistryError::LeaseForgotten { .. }) if self.tenure.is_held() => {
                self.bring_back(state).await;
            }
            Err(RegistryError::LeaseEnded { .. } | RegistryError::LeaseForgotten { .. }) => {
                self.register_anew(state).await;
            }
            Err(error) => {
                warn!(%error, "the lease was not renewed");
                state.next_renewal = Instant::now() + length / RENEW_AGAIN_AFTER;
                if !state.failing && self.strict() && !self.terms.outage_patience.is_zero() {
                    state.next_round = Instant::now();
                }
                self.reached(state, false);
            }
        }
    }

    /// The registry has lost the lease, and nobody has acted on its end, for its tenure
    /// lasts: it is entered again, and so are the claims.
    async fn bring_back(&mut self, state: &mut State) {
        let (info, lease) = (self.info.borrow().clone(), self.lease.borrow().clone());
        warn!(host = %info.id, "the registry has lost the lease; bringing it back");
        let asked = self.clock.now();
        let registering = self.registry.register(&info, &lease, self.terms.length);
        let within = self.terms.length / RENEWAL_WITHIN;
        let reached = matches!(timeout(within, registering).await, Ok(Ok(Registration::Registered)));
        if reached {
            state.view = View::default();
            self.extend(asked);
            state.renewed = asked;
            state.next_renewal = Instant::now();
            state.reassertion = self.reassert();
        } else {
            state.next_renewal = Instant::now() + self.terms.length / RENEW_AGAIN_AFTER;
        }
        self.reached(state, reached);
    }

    /// The lease was buried: what runs here is another's, and this host begins anew.
    async fn register_anew(&mut self, state: &mut State) {
        let info = self.info.borrow().clone();
        warn!(host = %info.id, "the lease was buried; registering anew");
        if self.strict() {
            self.tenure.set(Standing::Over);
        }
        self.note_in_force(false);
        state.view = View::default();
        let registering = register(&*self.registry, &info, self.clock);
        match timeout(self.terms.length / RENEWALS_PER_LEASE, registering).await {
            Ok(Ok((lease, asked))) => {
                // From here on claims are made under the new lease.
                (self.note)(&lease);
                self.ballots().hold(lease.clone());
                self.lease.send_replace(lease);
                self.extend(asked);
                state.renewed = asked;
                state.next_renewal = Instant::now();
                // It was blind until now.
                self.contact.send_replace(None);
                self.reached(state, true);
                state.reassertion = self.reassert();
            }
            Ok(Err(error)) => {
                warn!(%error, "the host is not registered yet");
                state.next_renewal = Instant::now() + self.terms.length / RENEW_AGAIN_AFTER;
                self.reached(state, false);
            }
            Err(_) => {
                state.next_renewal = Instant::now() + self.terms.length / RENEW_AGAIN_AFTER;
                self.reached(state, false);
            }
        }
    }

    fn ask_peers(&self, state: &State) -> BoxFuture<'static, (LeaseId, Option<BootInstant>)> {
        let lease = self.lease.borrow().clone();
        let round = Round {
            host: self.info.borrow().id.clone(),
            lease: lease.clone(),
            view: state.view.clone(),
            length: self.terms.length,
            within: self.terms.length / RENEWALS_PER_LEASE,
        };
        let asking = round.ask(Arc::clone(&self.peers), self.clock);
        async move { (lease, asking.await) }.boxed()
    }

    fn take_promises(&mut self, state: &mut State, lease: &LeaseId, until: Option<BootInstant>) {
        if !state.failing || *lease != *self.lease.borrow() {
            state.next_round = Instant::now() + NEVER;
            return;
        }
        let length = self.terms.length;
        let cap = state.renewed + tenure_of(length) + self.terms.outage_patience;
        let kept = until.is_some_and(|until| self.tenure.prolong(until.min(cap)));
        let again = if kept { length / RENEWALS_PER_LEASE } else { length / ASK_AGAIN_AFTER };
        state.next_round = Instant::now() + again;
    }

    /// The lease was renewed, or registered, by a call that began at `asked`.
    fn extend(&self, asked: BootInstant) {
        self.tenure.extend(match self.terms.consistency {
            Consistency::Strict if is_planted("no-self-fence") => BootInstant::from_nanos(u64::MAX),
            Consistency::Strict => asked + tenure_of(self.terms.length),
            Consistency::Available => BootInstant::from_nanos(u64::MAX),
        });
    }

    /// Waits for the next change that time alone makes to the standing, and makes it.
    async fn next_standing(&self) {
        let twentieth = self.terms.length / 20;
        let until = *self.tenure.until().borrow();
        let (at, next) = match self.tenure.now() {
            Standing::Held => (until - twentieth * ENDING_BEFORE, Standing::Ending),
            Standing::Ending => (until - twentieth * OVER_BEFORE, Standing::Over),
            Standing::Over => return std::future::pending().await,
        };
        let left = at.saturating_duration_since(self.clock.now());
        sleep(left.min(NEVER)).await;
        if at > self.clock.now() {
            return;
        }
        match next {
            Standing::Ending => warn!("the tenure is about to end: agents are told to end"),
            _ => error!("the tenure is over: agents are killed"),
        }
        self.tenure.set(next);
    }

    /// Notes whether the registry was reached, and tells those who asked.
    fn reached(&self, state: &mut State, reached: bool) {
        state.failing = !reached;
        self.note_in_force(reached);
        let now = self.clock.now();
        self.contact.send_if_modified(|since| match (reached, &since) {
            (true, None) => {
                *since = Some(now);
                true
            }
            (false, Some(_)) => {
                *since = None;
                true
            }
            _ => false,
        });
        for asker in state.waiting.drain(..) {
            let _ = asker.send(reached);
        }
    }

    fn note_in_force(&self, in_force: bool) {
        self.in_force.send_if_modified(|before| std::mem::replace(before, in_force) != in_force);
    }

    /// Puts every claim under the present lease, again and again until all are. Beside the
    /// renewals, which must not wait for it.
    fn reassert(&self) -> Running<()> {
        let (supervisor, lease) = (self.supervisor.clone(), self.lease.borrow().clone());
        async move {
            loop {
                match supervisor.reassert(&lease).await {
                    Ok(reasserted) => {
                        let (kept, fenced) = (reasserted.kept, reasserted.fenced.len());
                        info!(kept, fenced, "claims are asserted again");
                        return;
                    }
                    Err(error) => error!(%error, "some claims are not asserted again yet"),
                }
                sleep(REASSERT_AGAIN_AFTER).await;
            }
        }
        .boxed()
        .fuse()
    }
}

/// Ticks of which the first comes after one period.
fn ticks(every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
