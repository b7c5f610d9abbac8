//! One configured policy and the instance of it that decides.
//!
//! An instance that failed is thrown away, for nobody knows what state it is in. The
//! next decision has a fresh one made, which is told of the whole fleet.

use std::{collections::BTreeMap, sync::Arc};

use crate::ids::{HostId, MAX_ID_BYTES};

use super::{
    error::{Call, ConfigureError, PlaceError, PolicyError},
    instance::{Instance, readable},
    limits::PolicyLimits,
    policy::Policy,
    types::{Candidate, Decision, PlacementRequest, PolicyIdentity},
    wit::{Change, Inputs},
};

/// Changes that a policy learns of in one call. A bound, so that a call's time
/// budget does not have to grow with the fleet, and so that a decision waits for
/// this many at most.
pub(super) const CHANGES_PER_CALL: usize = 256;

/// The fleet, as a service keeps it to tell its policies of.
pub(super) type Table = BTreeMap<HostId, Arc<Candidate>>;

pub(super) struct Seat {
    policy: Policy,
    settings: String,
    limits: PolicyLimits,
    inputs: Inputs,
    /// `None` after a failure, until the next decision.
    instance: Option<Instance>,
}

impl Seat {
    /// Configures `policy`, which then knows of no host. `settings` is a JSON object,
    /// or null for none.
    pub(super) fn start(
        policy: Policy,
        settings: &serde_json::Value,
        limits: &PolicyLimits,
    ) -> Result<Self, ConfigureError> {
        let settings = match settings {
            serde_json::Value::Null => "{}".to_owned(),
            settings => settings.to_string(),
        };
        let (instance, inputs) = Instance::start(&policy, &settings, limits)?;
        Ok(Self { policy, settings, limits: limits.clone(), inputs, instance: Some(instance) })
    }

    pub(super) fn identity(&self) -> &Arc<PolicyIdentity> {
        self.policy.identity()
    }

    pub(super) fn needs_ticket(&self) -> bool {
        self.inputs.contains(Inputs::TICKET)
    }

    /// Whether there is an instance that has not failed.
    pub(super) fn is_well(&self) -> bool {
        self.instance.is_some()
    }

    /// Memory of the instance, if there is one.
    pub(super) fn memory_bytes(&self) -> usize {
        self.instance.as_ref().map_or(0, Instance::memory_bytes)
    }

    /// Gives up the instance.
    pub(super) fn vacate(&mut self) {
        self.instance = None;
    }

    /// Tells the instance, if there is one, of changes. One that fails is given up.
    pub(super) fn learn(&mut self, changes: &[Change<'_>]) -> Result<(), PolicyError> {
        // Taken out, and put back only when all went well.
        let Some(mut live) = self.instance.take() else { return Ok(()) };
        observe(&mut live, changes)?;
        self.instance = Some(live);
        Ok(())
    }

    /// Tells the instance, if there is one, of every host.
    pub(super) fn learn_all(&mut self, fleet: &Table) -> Result<(), PolicyError> {
        self.learn(&upserts(fleet))
    }

    /// Asks the policy for a host of `fleet`, which must be what it was told of.
    pub(super) fn place(
        &mut self,
        fleet: &Table,
        request: &PlacementRequest,
    ) -> Result<Decision, PlaceError> {
        let ticket = request.ticket.filter(|_| self.needs_ticket());
        if self.needs_ticket() && ticket.is_none() {
            return Err(PlaceError::NeedsTicket { policy: self.identity().name.clone() });
        }
        // Taken out, and put back only when all went well.
        let mut live = match self.instance.take() {
            Some(live) => live,
            None => self.fresh(fleet)?,
        };
        match live.place(request, ticket)? {
            Ok((host, reason)) => {
                let host = self.known(fleet, request, &host)?;
                self.instance = Some(live);
                Ok(Decision { host, reason: readable(reason), policy: Arc::clone(self.identity()) })
            }
            Err(reason) => {
                self.instance = Some(live);
                let policy = self.identity().name.clone();
                Err(PlaceError::Refused { policy, reason: readable(reason) })
            }
        }
    }

    /// The host that the policy named, if it may be chosen.
    fn known(&self, fleet: &Table, request: &PlacementRequest, host: &str) -> Result<HostId, PolicyError> {
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
    fn fresh(&self, fleet: &Table) -> Result<Instance, PolicyError> {
        let (mut instance, _) =
            Instance::start(&self.policy, &self.settings, &self.limits).map_err(|error| match error {
                ConfigureError::Failed(error) => error,
                // The same settings were good before: it does not keep its word.
                ConfigureError::Settings { policy, message } => {
                    PolicyError::Trapped { policy, call: Call::Configure, message }
                }
            })?;
        observe(&mut instance, &upserts(fleet))?;
        tracing::info!(policy = %self.identity(), hosts = fleet.len(), "policy started afresh");
        Ok(instance)
    }
}

fn upserts(fleet: &Table) -> Vec<Change<'_>> {
    fleet.values().map(|host| Change::Upsert(host)).collect()
}

fn observe(instance: &mut Instance, changes: &[Change<'_>]) -> Result<(), PolicyError> {
    changes.chunks(CHANGES_PER_CALL).try_for_each(|some| instance.observe(some))
}
