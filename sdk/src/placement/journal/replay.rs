//! A history of decisions gone through again, by the policy that made them or by another.

use std::num::NonZeroU32;

use serde::Serialize;

use crate::placement::{
    cache::CompiledCache,
    error::{ConfigureError, LoadError, PlaceError, ReplaceError},
    fallback::Fallback,
    guild::GuildRequest,
    journal::{Entry, InCharge},
    limits::PolicyLimits,
    policy::Policy,
    service::PlacementService,
    types::PlacementRequest,
};

/// Differences that are kept in full.
const DIFFERENCES_KEPT: usize = 16;

/// What came of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// Decisions that were compared.
    pub decisions: u64,
    /// Those where another host was chosen, or one instead of none or the reverse.
    pub different: u64,
    /// Those where anything else differed: the score, the reason, the other hosts.
    pub differently_said: u64,
    /// Those that the compared policy failed at.
    pub failed: u64,
    /// The first of those that differed.
    pub differences: Vec<Difference>,
}

/// One decision that was made differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Which decision, counted from 1.
    pub decision: u64,
    /// What was asked and answered then.
    pub was: Entry,
    /// What is answered now.
    pub is: Entry,
}

/// A policy that goes through a history again.
#[derive(Debug)]
pub struct Replay {
    service: Option<PlacementService>,
    /// The policy that decides instead of those that did.
    candidate: Option<(Policy, serde_json::Value)>,
    cache: CompiledCache,
    limits: PolicyLimits,
    tickets: u64,
    comparison: Comparison,
}

/// A history that cannot be gone through again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A policy of the history cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A policy of the history cannot be started.
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    /// A policy of the history cannot take over.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// The history does not begin with a policy.
    #[error("the history does not begin with a policy")]
    NoPolicy,
}

impl Replay {
    /// Goes through a history by the policies that made its decisions.
    pub fn new(cache: CompiledCache, limits: PolicyLimits) -> Self {
        Self { service: None, candidate: None, cache, limits, tickets: 0, comparison: Comparison::default() }
    }

    /// The same, by this policy instead.
    #[must_use]
    pub fn by(self, policy: Policy, settings: serde_json::Value) -> Self {
        Self { candidate: Some((policy, settings)), ..self }
    }

    /// What came of it so far.
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }

    /// Takes the next entry of the history.
    ///
    /// # Errors
    /// [`ReplayError`] when that is a policy that cannot be used.
    pub fn take(&mut self, entry: Entry) -> Result<(), ReplayError> {
        match (entry, &self.service) {
            (Entry::Policy(in_charge), None) => self.service = Some(self.start(&in_charge)?),
            (Entry::Policy(in_charge), Some(service)) => {
                if let (None, [artifact, ..]) = (&self.candidate, &in_charge.artifacts[..]) {
                    service.replace(Policy::load(artifact, &self.cache)?, &in_charge.settings)?;
                }
            }
            (_, None) => return Err(ReplayError::NoPolicy),
            (Entry::Observed(changes), Some(service)) => service.observe(changes),
            (was @ (Entry::Decided { .. } | Entry::DecidedGuild { .. }), Some(service)) => {
                let (is, failed) = decide(service, &was, self.candidate.as_ref().map(|_| self.tickets));
                self.tickets += was.hosts().len() as u64;
                self.compare(was, is, failed);
            }
        }
        Ok(())
    }

    fn start(&self, in_charge: &InCharge) -> Result<PlacementService, ReplayError> {
        let limits = self.limits.clone();
        if let Some((policy, settings)) = &self.candidate {
            return Ok(PlacementService::new(policy.clone(), settings, limits)?);
        }
        let [artifact, fallbacks @ ..] = &in_charge.artifacts[..] else { return Err(ReplayError::NoPolicy) };
        let policy = Policy::load(artifact, &self.cache)?;
        let service = PlacementService::new(policy, &in_charge.settings, limits)?;
        let after = in_charge.fallback.as_ref().and_then(|(_, after)| NonZeroU32::new(*after));
        match (fallbacks.first(), after) {
            (Some(fallback), Some(after)) => {
                let policy = Policy::load(fallback, &self.cache)?;
                Ok(service.with_fallback(Fallback { policy, after })?)
            }
            _ => Ok(service),
        }
    }

    fn compare(&mut self, was: Entry, is: Entry, failed: bool) {
        let comparison = &mut self.comparison;
        comparison.decisions += 1;
        comparison.failed += u64::from(failed);
        if is == was {
            return;
        }
        if is.hosts() == was.hosts() {
            comparison.differently_said += 1;
            // Another policy has other reasons.
            if self.candidate.is_some() {
                return;
            }
        } else {
            comparison.different += 1;
        }
        if comparison.differences.len() < DIFFERENCES_KEPT {
            comparison.differences.push(Difference { decision: comparison.decisions, was, is });
        }
    }
}

/// Asks what was asked then, with `ticket` where the policy needs one that nobody drew.
/// Answers also whether the policy failed.
fn decide(service: &PlacementService, was: &Entry, ticket: Option<u64>) -> (Entry, bool) {
    let ticket = ticket.filter(|_| service.needs().ticket);
    let failed = |error: Option<&PlaceError>| matches!(error, Some(PlaceError::Policy(_)));
    match was {
        Entry::Decided { request, .. } => {
            let asked = PlacementRequest { ticket: request.ticket.or(ticket), ..(**request).clone() };
            let placed = service.place(&asked);
            (Entry::decided(request, &placed), failed(placed.as_ref().err()))
        }
        Entry::DecidedGuild { request, .. } => {
            let asked = GuildRequest { first_ticket: request.first_ticket.or(ticket), ..(**request).clone() };
            let placed = service.place_guild(&asked);
            (Entry::decided_guild(request, &placed), failed(placed.as_ref().err()))
        }
        Entry::Policy(_) | Entry::Observed(_) => (was.clone(), false),
    }
}
