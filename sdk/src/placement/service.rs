//! The placement service: the fleet's table, one live instance of a policy, and
//! what to do when the policy fails.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::ids::{HostId, MAX_ID_BYTES};

use super::{
    error::{ConfigureError, PlaceError, PolicyError},
    instance::{Instance, readable},
    limits::PolicyLimits,
    policy::Policy,
    types::{Candidate, Decision, FleetChange, PlacementRequest, PolicyIdentity},
    wit::{Change, Inputs},
};

/// Changes that a policy learns of in one call. A bound, so that a call's time
/// budget does not have to grow with the fleet, and so that a decision waits for
/// this many at most.
const CHANGES_PER_CALL: usize = 256;

/// Decides, by a policy, which host gets an agent.
///
/// Share it by reference or in an `Arc`; decisions are made one after another.
/// As long as the service [is well](Self::is_well) they take microseconds and block
/// on nothing but each other, so calling from async code is fine.
pub struct PlacementService {
    policy: Policy,
    settings: String,
    limits: PolicyLimits,
    needs_ticket: bool,
    well: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// What the policy was told, to tell it again when an instance has failed.
    fleet: BTreeMap<HostId, Candidate>,
    /// `None` after a failure, until the next decision.
    instance: Option<Instance>,
}

impl PlacementService {
    /// Makes a service that decides by `policy`, with an empty fleet.
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
        let settings = match settings {
            serde_json::Value::Null => "{}".to_owned(),
            settings => settings.to_string(),
        };
        let (instance, inputs) = Instance::start(&policy, &settings, &limits)?;
        let state = Mutex::new(State { fleet: BTreeMap::new(), instance: Some(instance) });
        let needs_ticket = inputs.contains(Inputs::TICKET);
        Ok(Self { policy, settings, limits, needs_ticket, well: AtomicBool::new(true), state })
    }

    /// Which policy decides.
    pub fn identity(&self) -> &PolicyIdentity {
        self.policy.identity()
    }

    /// Whether each request must carry a number from the counter that all engines
    /// share. A policy that did not ask for one is not given one.
    pub fn needs_ticket(&self) -> bool {
        self.needs_ticket
    }

    /// How many hosts the service knows.
    pub fn hosts(&self) -> usize {
        self.state().fleet.len()
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
            self.well.store(state.instance.is_some(), Ordering::Relaxed);
        }
    }

    /// Asks the policy for a host. Only the request crosses the boundary: the cost
    /// does not grow with what is known of the fleet.
    ///
    /// # Errors
    /// [`PlaceError::Refused`] when the policy found no host, [`PlaceError::Policy`]
    /// when it failed or named a host that cannot be meant. After a failure the
    /// next decision is made by a fresh instance that has been told of the whole fleet.
    pub fn place(&self, request: &PlacementRequest) -> Result<Decision, PlaceError> {
        let mut state = self.state();
        let placed = self.decide(&mut state, request);
        self.well.store(state.instance.is_some(), Ordering::Relaxed);
        placed
    }

    fn decide(&self, state: &mut State, request: &PlacementRequest) -> Result<Decision, PlaceError> {
        let State { fleet, instance } = state;
        // Taken out, and put back only when all went well.
        let mut live = match instance.take() {
            Some(live) => live,
            None => self.fresh(fleet)?,
        };
        let ticket = request.ticket.filter(|_| self.needs_ticket);
        match live.place(request, ticket)? {
            Ok((host, reason)) => {
                let host = self.known(fleet, request, &host)?;
                *instance = Some(live);
                Ok(Decision { host, reason: readable(reason) })
            }
            Err(reason) => {
                *instance = Some(live);
                let policy = self.identity().name.clone();
                Err(PlaceError::Refused { policy, reason: readable(reason) })
            }
        }
    }

    /// The host that the policy named, if it may be chosen.
    fn known(
        &self,
        fleet: &BTreeMap<HostId, Candidate>,
        request: &PlacementRequest,
        host: &str,
    ) -> Result<HostId, PolicyError> {
        let policy = || self.identity().name.clone();
        let Some((id, _)) = fleet.get_key_value(host) else {
            let cut = host.floor_char_boundary(MAX_ID_BYTES);
            return Err(PolicyError::UnknownHost { policy: policy(), host: host[..cut].to_owned() });
        };
        match request.excluded.contains(id) {
            true => Err(PolicyError::ExcludedHost { policy: policy(), host: id.clone() }),
            false => Ok(id.clone()),
        }
    }

    /// An instance that has been told of the whole fleet.
    fn fresh(&self, fleet: &BTreeMap<HostId, Candidate>) -> Result<Instance, PolicyError> {
        let (mut instance, _) =
            Instance::start(&self.policy, &self.settings, &self.limits).map_err(|error| match error {
                ConfigureError::Failed(error) => error,
                // The same settings were good before: it does not keep its word.
                ConfigureError::Settings { policy, message } => {
                    PolicyError::Trapped { policy, call: super::Call::Configure, message }
                }
            })?;
        let changes: Vec<Change<'_>> = fleet.values().map(Change::Upsert).collect();
        for some in changes.chunks(CHANGES_PER_CALL) {
            instance.observe(some)?;
        }
        tracing::info!(policy = %self.identity(), hosts = fleet.len(), "policy started afresh");
        Ok(instance)
    }

    /// A panic under the lock can only have lost the instance, which is then made
    /// anew: so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn observe(&mut self, changes: Vec<FleetChange>) {
        // Taken out, and put back only when all went well.
        if let Some(mut live) = self.instance.take() {
            let borrowed: Vec<Change<'_>> = changes.iter().map(Change::from).collect();
            match live.observe(&borrowed) {
                Ok(()) => self.instance = Some(live),
                Err(error) => tracing::warn!(%error, "policy failed to learn of a change"),
            }
        }
        for change in changes {
            match change {
                FleetChange::Upsert(candidate) => drop(self.fleet.insert(candidate.id.clone(), candidate)),
                FleetChange::Remove(host) => drop(self.fleet.remove(&host)),
            }
        }
    }
}

impl std::fmt::Debug for PlacementService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlacementService").field("policy", self.identity()).finish_non_exhaustive()
    }
}
