//! What becomes of the agents of a host that is gone: every host sees to it, none leads.
//!
//! | file | idea |
//! | --- | --- |
//! | here | when there is something to look after |
//! | `burial.rs` | overdue leases: votes are collected, and the lease is buried |
//! | `adoption.rs` | orphans: the policy chooses another host, which adopts them |
//!
//! Hosts take turns by the rank of a hash, so that mostly one does the work and the next
//! is soon behind it. Correctness rests on none of that: whatever two hosts try at once,
//! the registry lets one succeed. See `docs/consistency.md`.

mod adoption;
mod burial;

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use guildhall::{
    agent::AgentInfo,
    engine::{EngineError, GrpcEngine, Predecessor},
    host::{HostEvent, LeaseTerms, LiveHost},
    ids::HostId,
    launch::Launch,
    registry::{Registry, rank},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{adoption::Adoptions, burial::Burials};
use crate::{
    clock::Clock,
    tenure::{Contact, Peers, Probe, Tenure},
};

/// By how much later the next host in rank begins, and at most.
const TURN: Duration = Duration::from_millis(50);
const LONGEST_TURN: Duration = Duration::from_millis(600);

/// How long after a change of the fleet orphans are looked for again, in case those whose
/// turn it was did not do it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// How often orphans are looked for without a reason, divided by the number of hosts.
const LOOK_ANYWAY_EVERY: Duration = Duration::from_secs(15);

/// Finds hosts for agents that have none. The simulation has its own, without policies.
#[async_trait]
pub(crate) trait HostFinder: Send + Sync + 'static {
    /// The hosts that it knows of.
    fn hosts(&self) -> Vec<Arc<LiveHost>>;

    /// Has a host adopt the agent; as [`GrpcEngine::adopt_agent`].
    async fn adopt_agent(&self, record: &AgentInfo, launch: &Launch) -> Result<(), EngineError>;
}

#[async_trait]
impl HostFinder for GrpcEngine {
    fn hosts(&self) -> Vec<Arc<LiveHost>> {
        self.hosts()
    }

    async fn adopt_agent(&self, record: &AgentInfo, launch: &Launch) -> Result<(), EngineError> {
        self.adopt_agent(record, launch, Predecessor::Ended, &[]).await.map(drop)
    }
}

/// Everything that failover needs.
#[derive(Clone)]
pub(crate) struct Failover {
    pub(crate) host: HostId,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) engine: Arc<dyn HostFinder>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) probe: Probe,
    pub(crate) contact: watch::Receiver<Contact>,
    pub(crate) tenure: Arc<Tenure>,
    pub(crate) terms: LeaseTerms,
    pub(crate) clock: Clock,
}

impl Failover {
    /// Looks after what others left until it is cancelled.
    pub(crate) async fn run(self, cancelled: CancellationToken) {
        let mut events = self.registry.watch_hosts();
        let burials = Burials::new(self.clone());
        let adoptions = Adoptions::new(self.clone());
        // What was left when nobody was there is found at the start.
        let mut known: HashSet<HostId> = HashSet::new();
        let mut bury_at = Instant::now();
        let mut look_at = Some(Instant::now());
        let mut look_again_at = None;
        let mut look_anyway_at = Instant::now() + self.look_anyway_in();
        loop {
            let look = [look_at, look_again_at].into_iter().flatten().min().unwrap_or(look_anyway_at);
            tokio::select! {
                () = cancelled.cancelled() => return,
                event = events.next() => match event {
                    Some(HostEvent::Removed(gone)) => {
                        known.remove(&gone);
                        // It may also have left, with agents that nobody took.
                        look_again_at = Some(Instant::now() + self.turn(gone.as_str()));
                        bury_at = bury_at.min(Instant::now() + self.turn(gone.as_str()));
                    }
                    Some(HostEvent::Changed(host)) => {
                        // One that came, or is back, may take what nobody could.
                        if known.insert(host.info.id) {
                            // It is a member of every council from now on.
                            self.probe.hurry();
                            look_again_at.get_or_insert(Instant::now() + LOOK_AGAIN_AFTER);
                        }
                    }
                    Some(HostEvent::Snapshot(hosts)) => {
                        known = hosts.into_iter().map(|host| host.info.id).collect();
                        bury_at = Instant::now();
                    }
                    Some(_) => {}
                    None => return,
                },
                () = sleep_until(bury_at) => {
                    let outcome = tokio::select! {
                        () = cancelled.cancelled() => return,
                        outcome = burials.run() => outcome,
                    };
                    bury_at = Instant::now() + outcome.again_in;
                    if outcome.changed {
                        look_at = Some(Instant::now());
                        look_again_at = Some(Instant::now() + LOOK_AGAIN_AFTER);
                    }
                }
                () = sleep_until(look.min(look_anyway_at)) => {
                    let everybody = look_again_at.is_some_and(|at| at <= Instant::now());
                    let found = tokio::select! {
                        () = cancelled.cancelled() => return,
                        found = adoptions.run(everybody) => found,
                    };
                    look_at = None;
                    // What was found may be left, also by those whose turn it was.
                    look_again_at = match (found, everybody) {
                        (true, _) => Some(Instant::now() + LOOK_AGAIN_AFTER),
                        (false, true) => None,
                        (false, false) => look_again_at,
                    };
                    look_anyway_at = Instant::now() + self.look_anyway_in();
                }
            }
        }
    }

    /// Whether this host has reached the registry for long enough to act on what it says of
    /// others.
    fn may_act(&self) -> bool {
        let since = *self.contact.borrow();
        let contact = since.map(|since| self.clock.now().saturating_duration_since(since));
        contact.is_some_and(|contact| contact >= self.terms.length) && self.tenure.is_held()
    }

    /// How long this host waits before it sees to something, so that those before it in
    /// rank are first.
    fn turn(&self, subject: &str) -> Duration {
        let own = rank(subject, self.host.as_str());
        let hosts = self.engine.hosts();
        let before = hosts.iter().filter(|host| rank(subject, host.info.id.as_str()) < own).count();
        (TURN * u32::try_from(before).unwrap_or(u32::MAX)).min(LONGEST_TURN)
    }

    /// Whether no other host that takes agents is before this one in rank.
    fn is_first(&self, subject: &str) -> bool {
        let own = rank(subject, self.host.as_str());
        let hosts = self.engine.hosts();
        !hosts.iter().any(|host| !host.info.draining && rank(subject, host.info.id.as_str()) < own)
    }

    /// The more hosts there are, the less often each looks.
    fn look_anyway_in(&self) -> Duration {
        let hosts = u32::try_from(self.engine.hosts().len().max(1)).unwrap_or(u32::MAX);
        LOOK_ANYWAY_EVERY.saturating_mul(hosts).mul_f64(0.75 + rand::random::<f64>() / 2.0)
    }
}
