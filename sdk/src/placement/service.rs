//! The placement service: the fleet's table, the policies that decide, and how one
//! policy takes the place of another while decisions go on.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use crate::ids::HostId;

use super::{
    error::{ConfigureError, PlaceError, ReplaceError},
    fallback::{Deciders, Fallback, PolicyStatus},
    guild::{GuildDecision, GuildRequest, Move, Placed},
    journal::{DecisionLog, Entry, Journal, Readers, Shadow},
    limits::PolicyLimits,
    policy::Policy,
    seat::{CHANGES_PER_CALL, Seat},
    table::Table,
    types::{Candidate, Decision, FleetChange, Needs, PlacementRequest, PolicyIdentity},
    wit::Change,
};

/// Requests that are kept to try a new policy with, and of how many decisions one is
/// kept. Copying a request takes as long as a tenth of a decision.
const REQUESTS_KEPT: usize = 16;
const KEEP_ONE_OF: u64 = 16;

/// Hosts that are copied at a time for a new policy: few, so that a decision which comes
/// meanwhile waits no longer than for another decision.
const HOSTS_COPIED_AT_ONCE: usize = 16;

/// Decides, by a policy, which host gets an agent.
///
/// Share it by reference or in an `Arc`; decisions are made one after another.
/// As long as the service [is well](Self::is_well) they take microseconds and block
/// on nothing but each other, so calling from async code is fine.
pub struct PlacementService {
    limits: PolicyLimits,
    needs: AtomicU8,
    well: AtomicBool,
    state: Mutex<State>,
    /// Held by the one who replaces the policy.
    replacing: Mutex<()>,
}

struct State {
    /// What the policies were told, to tell it again when an instance has failed.
    fleet: Table,
    deciders: Deciders,
    recent: Recent,
    readers: Readers,
    /// While a policy is being replaced: what its successor has yet to learn, the last
    /// change of each host.
    missed: Option<BTreeMap<HostId, FleetChange>>,
}

/// Some of the requests that were decided about.
#[derive(Clone, Default)]
struct Recent {
    requests: VecDeque<PlacementRequest>,
    decisions: u64,
}

impl PlacementService {
    /// Makes a service that decides by `policy`, with an empty fleet and no fallback.
    ///
    /// `settings` is a JSON object that the policy understands, or null for none.
    ///
    /// # Errors
    /// [`ConfigureError::Settings`] when the policy refuses the settings,
    /// [`ConfigureError::Failed`] when it fails to start.
    pub fn new(
        policy: Policy,
        settings: &serde_json::Value,
        limits: PolicyLimits,
    ) -> Result<Self, ConfigureError> {
        let deciders = Deciders::new(Seat::start(policy, settings, &limits)?);
        Ok(Self {
            limits,
            needs: AtomicU8::new(to_bits(deciders.needs())),
            well: AtomicBool::new(true),
            state: Mutex::new(State {
                fleet: Table::default(),
                deciders,
                recent: Recent::default(),
                readers: Readers::default(),
                missed: None,
            }),
            replacing: Mutex::default(),
        })
    }

    /// Has another policy decide when the one in charge fails again and again.
    ///
    /// # Errors
    /// [`ConfigureError`] when the fallback cannot be started without settings.
    pub fn with_fallback(self, fallback: Fallback) -> Result<Self, ConfigureError> {
        let mut state = self.state();
        state.deciders.set_fallback(fallback, &self.limits)?;
        drop(state);
        Ok(self)
    }

    /// Writes down everything from now on in `folder`, which must have no log yet, until the
    /// log is dropped. Call this before anything else, and a [`Replay`](super::Replay) knows
    /// all that the policy knew.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn record(&self, folder: impl AsRef<Path>) -> io::Result<DecisionLog> {
        DecisionLog::begin(folder.as_ref(), self.read_along(Needs::default()))
    }

    /// Has another policy decide in the shadow of the one in charge, about everything that
    /// is asked from now on.
    ///
    /// # Errors
    /// [`ConfigureError`] when the policy cannot be started with these settings;
    /// [`ConfigureError::NoThread`] when there is no thread for it.
    pub fn shadow(&self, policy: Policy, settings: serde_json::Value) -> Result<Shadow, ConfigureError> {
        let needs = Seat::start(policy.clone(), &settings, &self.limits)?.needs();
        let journal = self.read_along(needs);
        Shadow::follow(policy, settings, self.limits.clone(), journal).map_err(ConfigureError::NoThread)
    }

    /// The journal from now on, which begins with the policy and the fleet.
    fn read_along(&self, needs: Needs) -> Journal {
        let mut state = self.state();
        let journal = state.readers.add(needs);
        let State { fleet, deciders, readers, .. } = &mut *state;
        readers.tell(|| Entry::Policy(deciders.described()));
        if !fleet.is_empty() {
            let hosts = fleet.iter().map(|host| FleetChange::Upsert(Candidate::clone(host)));
            readers.tell(|| Entry::Observed(hosts.collect()));
        }
        self.note(&state);
        journal
    }

    /// Which policy is in charge.
    pub fn identity(&self) -> Arc<PolicyIdentity> {
        self.status().in_charge
    }

    /// Which policy is in charge, which one decides, and why.
    pub fn status(&self) -> PolicyStatus {
        self.state().deciders.status()
    }

    /// What each request should carry beside the agent itself: what the policy did not ask
    /// for, it is not given. May change when the policy is replaced or fails: see
    /// [`PlaceError::NeedsTicket`].
    pub fn needs(&self) -> Needs {
        from_bits(self.needs.load(Ordering::Relaxed))
    }

    /// How many hosts the service knows.
    pub fn hosts(&self) -> usize {
        self.state().fleet.len()
    }

    /// Memory of the policy in charge, bytes: what its instance has taken so far of what
    /// [`PolicyLimits`] allows. 0 after a failure, until the next decision.
    pub fn memory_bytes(&self) -> usize {
        self.state().deciders.memory_bytes()
    }

    /// Whether the last call of the policy went well. A call after one that did not
    /// may take milliseconds, for an instance is made anew; async code lets such a
    /// call wait elsewhere.
    pub fn is_well(&self) -> bool {
        self.well.load(Ordering::Relaxed)
    }

    /// Takes note of what changed in the fleet, in the order given.
    ///
    /// A policy that fails here is told everything again, on a fresh instance,
    /// before the next decision; if that fails too, that decision has the error.
    pub fn observe(&self, changes: impl IntoIterator<Item = FleetChange>) {
        let mut changes = changes.into_iter();
        loop {
            let some: Vec<FleetChange> = changes.by_ref().take(CHANGES_PER_CALL).collect();
            if some.is_empty() {
                return;
            }
            // The lock is taken for each call anew, so that decisions come between.
            let mut state = self.state();
            state.observe(some);
            self.note(&state);
        }
    }

    /// Asks the policy for a host. Only the request crosses the boundary: the cost
    /// does not grow with what is known of the fleet.
    ///
    /// # Errors
    /// [`PlaceError::Refused`] when the policy found no host, [`PlaceError::Policy`]
    /// when it failed or named a host that cannot be meant. After a failure the
    /// next decision is made by a fresh instance that has been told of the whole fleet.
    /// [`PlaceError::NeedsTicket`] when the request must carry one.
    pub fn place(&self, request: &PlacementRequest) -> Result<Decision, PlaceError> {
        let mut state = self.state();
        let State { fleet, deciders, recent, readers, .. } = &mut *state;
        let placed = deciders.place(fleet, request);
        recent.keep(request);
        readers.tell(|| Entry::decided(request, &placed));
        self.note(&state);
        placed
    }

    /// Asks the policy for hosts for all agents of a guild: in one call where the policy
    /// answers that, else about one after another.
    ///
    /// # Errors
    /// Those of [`place`](Self::place). [`PlaceError::Refused`] when no agent found a host,
    /// or when one did not and all must.
    pub fn place_guild(&self, request: &GuildRequest) -> Result<GuildDecision, PlaceError> {
        let mut state = self.state();
        let State { fleet, deciders, readers, .. } = &mut *state;
        let placed = deciders.place_guild(fleet, request);
        readers.tell(|| Entry::decided_guild(request, &placed));
        self.note(&state);
        placed
    }

    /// Asks the policy which of these agents would be better elsewhere, the most useful
    /// move first: `most` at most, and none when the policy moves none.
    ///
    /// # Errors
    /// [`PlaceError::Policy`] when the policy failed, or proposed what cannot be meant.
    pub fn propose_moves(&self, placed: &[Placed], most: usize) -> Result<Vec<Move>, PlaceError> {
        let mut state = self.state();
        let State { fleet, deciders, .. } = &mut *state;
        let moves = deciders.propose_moves(fleet, placed, most);
        self.note(&state);
        moves
    }

    /// Puts another policy in charge. It is configured, told of the fleet and tried
    /// with some recent requests while the present one goes on deciding; what changes
    /// in the fleet meanwhile it learns too. Then the two change places between two
    /// decisions. Takes milliseconds; in async code, call this on a blocking thread.
    ///
    /// # Errors
    /// [`ReplaceError`] when the new policy does not take its settings or fails. The
    /// present one stays in charge then.
    pub fn replace(&self, policy: Policy, settings: &serde_json::Value) -> Result<(), ReplaceError> {
        let _only_one = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let following = Following::begin(self);
        let fleet = self.copy_of_fleet();
        self.try_out(&policy, settings, &fleet)?;
        let mut seat = Seat::start(policy, settings, &self.limits)?;
        seat.learn_all(&fleet)?;
        let predecessor = loop {
            let mut state = self.state();
            let missed = state.missed.replace(BTreeMap::new()).unwrap_or_default();
            if missed.is_empty() {
                let predecessor = state.deciders.appoint(seat);
                let State { deciders, readers, .. } = &mut *state;
                readers.tell(|| Entry::Policy(deciders.described()));
                self.note(&state);
                break predecessor;
            }
            drop(state);
            let missed: Vec<_> = missed.values().map(Change::from).collect();
            seat.learn(&missed)?;
        };
        drop(following);
        tracing::info!(policy = %self.identity(), predecessor = %predecessor.identity(), "policy replaced");
        Ok(())
    }

    /// Asks an instance of its own, for a policy counts what it placed.
    fn try_out(
        &self,
        policy: &Policy,
        settings: &serde_json::Value,
        fleet: &Table,
    ) -> Result<(), ReplaceError> {
        let requests = self.state().recent.requests.clone();
        let mut trial = Seat::start(policy.clone(), settings, &self.limits)?;
        trial.learn_all(fleet)?;
        for (ticket, mut request) in (0..).zip(requests) {
            request.ticket.get_or_insert(ticket);
            if let Err(PlaceError::Policy(error)) = trial.place(fleet, &request) {
                return Err(ReplaceError::Failed(error));
            }
        }
        Ok(())
    }

    /// Copied in parts, so that decisions come between.
    fn copy_of_fleet(&self) -> Table {
        let mut copy = Table::default();
        let mut last = None;
        loop {
            let page = self.state().fleet.page(last.as_ref(), HOSTS_COPIED_AT_ONCE);
            let Some(end) = page.last() else { return copy };
            last = Some(end.id.clone());
            page.into_iter().for_each(|host| copy.insert(host));
        }
    }

    /// Lets those know who ask without the lock.
    fn note(&self, state: &State) {
        self.well.store(state.deciders.is_well(), Ordering::Relaxed);
        let needs = state.deciders.needs().and(state.readers.needs());
        self.needs.store(to_bits(needs), Ordering::Relaxed);
    }

    /// A panic under the lock can only have lost the instance, which is then made
    /// anew: so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the changes of the fleet kept for a policy that is not yet in charge.
struct Following<'a>(&'a PlacementService);

impl<'a> Following<'a> {
    fn begin(service: &'a PlacementService) -> Self {
        service.state().missed = Some(BTreeMap::new());
        Self(service)
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.state().missed = None;
    }
}

impl State {
    fn observe(&mut self, changes: Vec<FleetChange>) {
        let borrowed: Vec<Change<'_>> = changes.iter().map(Change::from).collect();
        self.deciders.learn(&borrowed);
        self.readers.tell(|| Entry::Observed(changes.clone()));
        if let Some(missed) = &mut self.missed {
            missed.extend(changes.iter().map(|change| (change.host().clone(), change.clone())));
        }
        for change in changes {
            match change {
                FleetChange::Upsert(host) => self.fleet.insert(Arc::new(host)),
                FleetChange::Remove(host) => self.fleet.remove(&host),
            }
        }
    }
}

impl Recent {
    fn keep(&mut self, request: &PlacementRequest) {
        if self.requests.len() < REQUESTS_KEPT || self.decisions.is_multiple_of(KEEP_ONE_OF) {
            self.requests.truncate(REQUESTS_KEPT - 1);
            self.requests.push_front(request.clone());
        }
        self.decisions += 1;
    }
}

impl fmt::Debug for PlacementService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlacementService").field("status", &self.status()).finish_non_exhaustive()
    }
}

fn to_bits(needs: Needs) -> u8 {
    u8::from(needs.ticket) | u8::from(needs.peers) << 1
}

fn from_bits(bits: u8) -> Needs {
    Needs { ticket: bits & 1 != 0, peers: bits & 2 != 0 }
}
