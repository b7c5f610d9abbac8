//! Who decides when a policy fails again and again.
//!
//! One failure costs one decision. A policy that has failed several times in a row is
//! a policy that nobody can be placed by, so another one decides in its stead. The
//! failing one is tried again now and then, and takes over when it works.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    error::{ConfigureError, PlaceError},
    guild::{GuildDecision, GuildRequest, Move, Placed},
    journal::InCharge,
    limits::PolicyLimits,
    policy::Policy,
    seat::Seat,
    table::Table,
    types::{Decision, Needs, PlacementRequest, PolicyIdentity},
    wit::Change,
};

/// Decisions by the fallback from one try of the policy to the next. A try may take
/// the policy's whole budget of time.
const RETRY_EVERY: u32 = 64;

/// A policy that decides when the one in charge has failed several times in a row.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// The policy, which gets no settings.
    pub policy: Policy,
    /// Failures in a row after which it decides. 3 is a good number.
    pub after: NonZeroU32,
}

impl Fallback {
    /// A fallback after three failures in a row.
    pub fn to(policy: Policy) -> Self {
        Self { policy, after: const { NonZeroU32::new(3).unwrap() } }
    }
}

/// Which policy is in charge, which one decides, and why that may be another one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyStatus {
    /// The policy in charge.
    pub in_charge: Arc<PolicyIdentity>,
    /// The policy that makes the next decision: the one in charge, or the fallback.
    pub deciding: Arc<PolicyIdentity>,
    /// How often the one in charge has failed in a row.
    pub failures: u32,
    /// What its last failure was, as long as it has not worked since.
    pub last_failure: Option<String>,
}

/// The policy in charge and its fallback.
pub(super) struct Deciders {
    in_charge: Seat,
    fallback: Option<Standby>,
    failures: u32,
    last_failure: Option<String>,
}

struct Standby {
    seat: Seat,
    after: NonZeroU32,
    /// Decisions made since it took over.
    decisions: u32,
}

impl Deciders {
    pub(super) fn new(in_charge: Seat) -> Self {
        Self { in_charge, fallback: None, failures: 0, last_failure: None }
    }

    pub(super) fn set_fallback(
        &mut self,
        fallback: Fallback,
        limits: &PolicyLimits,
    ) -> Result<(), ConfigureError> {
        // Started once to see that it can be; then only when it is needed.
        let mut seat = Seat::start(fallback.policy, &serde_json::Value::Null, limits)?;
        seat.vacate();
        self.fallback = Some(Standby { seat, after: fallback.after, decisions: 0 });
        Ok(())
    }

    /// What is in charge, for those who read along.
    pub(super) fn described(&self) -> InCharge {
        let mut artifacts = vec![self.in_charge.artifact().clone()];
        let standby = self.fallback.as_ref();
        artifacts.extend(standby.map(|standby| standby.seat.artifact().clone()));
        InCharge {
            policy: PolicyIdentity::clone(self.in_charge.identity()),
            settings: self.in_charge.settings().clone(),
            fallback: standby
                .map(|standby| (PolicyIdentity::clone(standby.seat.identity()), standby.after.get())),
            artifacts,
        }
    }

    /// Puts another policy in charge, which begins with a clean record.
    pub(super) fn appoint(&mut self, seat: Seat) -> Seat {
        self.clear_record();
        std::mem::replace(&mut self.in_charge, seat)
    }

    /// What the next request must carry.
    pub(super) fn needs(&self) -> Needs {
        let acting = self.acting().map(|standby| standby.seat.needs()).unwrap_or_default();
        self.in_charge.needs().and(acting)
    }

    /// Whether the next decision is made by an instance that is there already.
    pub(super) fn is_well(&self) -> bool {
        match self.acting() {
            Some(standby) => standby.seat.is_well() && !standby.is_retry_due(),
            None => self.in_charge.is_well(),
        }
    }

    /// Memory of the policy in charge.
    pub(super) fn memory_bytes(&self) -> usize {
        self.in_charge.memory_bytes()
    }

    pub(super) fn status(&self) -> PolicyStatus {
        let in_charge = Arc::clone(self.in_charge.identity());
        let deciding = self.acting().map_or(&in_charge, |standby| standby.seat.identity());
        PolicyStatus {
            deciding: Arc::clone(deciding),
            in_charge,
            failures: self.failures,
            last_failure: self.last_failure.clone(),
        }
    }

    /// Tells the policies of changes.
    pub(super) fn learn(&mut self, changes: &[Change<'_>]) {
        // The fallback learns by itself when it takes over; before that it has no instance.
        let standby = self.fallback.as_mut().map(|standby| &mut standby.seat);
        for seat in [Some(&mut self.in_charge), standby].into_iter().flatten() {
            if let Err(error) = seat.learn(changes) {
                tracing::warn!(%error, "policy failed to learn of a change");
            }
        }
    }

    pub(super) fn place(
        &mut self,
        fleet: &Table,
        request: &PlacementRequest,
    ) -> Result<Decision, PlaceError> {
        self.decide(|seat| seat.place(fleet, request))
    }

    pub(super) fn place_guild(
        &mut self,
        fleet: &Table,
        request: &GuildRequest,
    ) -> Result<GuildDecision, PlaceError> {
        self.decide(|seat| seat.place_guild(fleet, request))
    }

    pub(super) fn propose_moves(
        &mut self,
        fleet: &Table,
        placed: &[Placed],
        most: usize,
    ) -> Result<Vec<Move>, PlaceError> {
        self.decide(|seat| seat.propose_moves(fleet, placed, most))
    }

    /// Has the one decide whose turn it is, and keeps the record.
    fn decide<T>(
        &mut self,
        mut ask: impl FnMut(&mut Seat) -> Result<T, PlaceError>,
    ) -> Result<T, PlaceError> {
        let acting = self.acting_mut();
        let is_retry = acting.is_some();
        if let Some(standby) = acting
            && !standby.is_retry_due()
        {
            return standby.decide(ask);
        }
        let decided = ask(&mut self.in_charge);
        match &decided {
            Err(PlaceError::Policy(error)) => self.failed(error.to_string()),
            Err(PlaceError::NeedsTicket { .. }) => {}
            Ok(_) | Err(PlaceError::Refused { .. }) => self.works(),
        }
        match (&decided, self.acting_mut()) {
            // It was only a try.
            (Err(PlaceError::Policy(_)), Some(standby)) if is_retry => standby.decide(ask),
            // Each failure before the fallback decides is that decision's own.
            _ => decided,
        }
    }

    /// The fallback, when it is the one that decides.
    fn acting(&self) -> Option<&Standby> {
        self.fallback.as_ref().filter(|standby| self.failures >= standby.after.get())
    }

    fn acting_mut(&mut self) -> Option<&mut Standby> {
        self.fallback.as_mut().filter(|standby| self.failures >= standby.after.get())
    }

    fn failed(&mut self, error: String) {
        self.failures = self.failures.saturating_add(1);
        if let Some(standby) = &self.fallback
            && self.failures == standby.after.get()
        {
            tracing::error!(
                policy = %self.in_charge.identity(), fallback = %standby.seat.identity(), failures = self.failures, %error,
                "policy failed too often in a row; the fallback decides from now on"
            );
        }
        self.last_failure = Some(error);
    }

    fn works(&mut self) {
        if self.acting().is_some() {
            tracing::warn!(policy = %self.in_charge.identity(), "policy works, and decides again");
        }
        self.clear_record();
    }

    fn clear_record(&mut self) {
        if self.failures > 0 {
            (self.failures, self.last_failure) = (0, None);
        }
        if let Some(standby) = &mut self.fallback
            && standby.decisions > 0
        {
            standby.decisions = 0;
            standby.seat.vacate();
        }
    }
}

impl Standby {
    fn is_retry_due(&self) -> bool {
        self.decisions > 0 && self.decisions.is_multiple_of(RETRY_EVERY)
    }

    fn decide<T>(
        &mut self,
        mut ask: impl FnMut(&mut Seat) -> Result<T, PlaceError>,
    ) -> Result<T, PlaceError> {
        let decided = ask(&mut self.seat);
        if !matches!(decided, Err(PlaceError::NeedsTicket { .. })) {
            self.decisions = self.decisions.wrapping_add(1);
        }
        decided
    }
}
