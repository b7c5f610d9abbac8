//! An agent's claim on its identity: taken before each process, given back at the
//! end, and known to be in doubt when the registry did not answer.
//!
//! A call that timed out may have been carried out. A claim in doubt is therefore
//! looked up before it is given up, and taken over when it proves to be our own.

use guildhall::{
    agent::AgentInfo,
    host::LeaseId,
    ids::Epoch,
    launch::Launch,
    registry::{ClaimOutcome, Registry, RegistryError},
};
use tokio::sync::watch;

/// What an agent holds in the registry.
#[derive(Clone, Debug, Default)]
pub(super) enum Claim {
    /// Nothing.
    #[default]
    None,
    /// Its identity, under this epoch.
    Held(Epoch),
    /// Perhaps a claim newer than `last`, made under one of these leases: answers were
    /// lost, and the host may have registered anew in between.
    InDoubt { last: Option<Epoch>, leases: Vec<LeaseId> },
}

/// The incarnation on another host that a claim succeeds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Predecessor {
    pub(super) epoch: Epoch,
    /// Its host has asked for the successor, and still has the identity.
    pub(super) overlaps: bool,
}

/// Why a claim was not granted.
#[derive(Debug)]
pub(super) enum Refused {
    /// Somebody else has the identity.
    By(Box<AgentInfo>),
    /// The registry did not answer, or not in a way that can be used.
    Registry(RegistryError),
}

impl Claim {
    /// Claims the identity for `agent` with a new epoch, in place of what is held. Where
    /// nothing is held, it succeeds the incarnation of another host if `succeeds` says
    /// which, and is new otherwise; then its launch is kept in the registry.
    pub(super) async fn take(
        &mut self,
        agent: &AgentInfo,
        launch: &Launch,
        succeeds: Option<Predecessor>,
        registry: &dyn Registry,
        lease: &watch::Receiver<LeaseId>,
    ) -> Result<Epoch, Refused> {
        let mut replaces = self.last();
        loop {
            let under = lease.borrow().clone();
            let claimed = match (replaces, succeeds) {
                (Some(_), _) => registry.claim(agent, &under, replaces).await,
                (None, Some(Predecessor { epoch, overlaps: true })) => {
                    registry.claim(agent, &under, Some(epoch)).await
                }
                (None, Some(Predecessor { epoch, overlaps: false })) => {
                    registry.adopt(agent, &under, epoch).await
                }
                (None, None) => registry.accept(agent, &under, launch).await,
            };
            let error = match claimed {
                Ok(ClaimOutcome::Claimed(epoch)) => {
                    *self = Self::Held(epoch);
                    return self.move_to_current_lease(agent, epoch, &under, registry, lease).await;
                }
                Ok(ClaimOutcome::Held(holder)) => match self.find(agent, Some(&under), registry).await {
                    // Our own, from a call whose answer was lost.
                    Ok(Some(epoch)) if replaces != Some(epoch) => {
                        replaces = Some(epoch);
                        continue;
                    }
                    Ok(_) => return Err(Refused::By(holder)),
                    Err(error) => error,
                },
                // The registry has lost the record; nobody has the identity.
                Err(RegistryError::Forgotten { .. }) if replaces.is_some() => {
                    replaces = None;
                    continue;
                }
                Err(error) => error,
            };
            self.doubt(replaces, under);
            return Err(Refused::Registry(error));
        }
    }

    /// The host may have lost its lease and reasserted its claims while this one
    /// was on its way; then it was missed.
    async fn move_to_current_lease(
        &mut self,
        agent: &AgentInfo,
        epoch: Epoch,
        under: &LeaseId,
        registry: &dyn Registry,
        lease: &watch::Receiver<LeaseId>,
    ) -> Result<Epoch, Refused> {
        let current = lease.borrow().clone();
        if current != *under
            && let Err(error) = registry.reassert(&agent.key, epoch, &current).await
        {
            return Err(Refused::Registry(error));
        }
        Ok(epoch)
    }

    /// What is known of it when an attempt to take it was given up half way.
    pub(super) fn in_doubt(mut self, lease: &watch::Receiver<LeaseId>) -> Self {
        self.doubt(self.last(), lease.borrow().clone());
        self
    }

    /// A claim may have been made under `lease`.
    fn doubt(&mut self, last: Option<Epoch>, lease: LeaseId) {
        let mut leases = match std::mem::take(self) {
            Self::InDoubt { leases, .. } => leases,
            Self::None | Self::Held(_) => Vec::new(),
        };
        if !leases.contains(&lease) {
            leases.push(lease);
        }
        *self = Self::InDoubt { last, leases };
    }

    /// Gives the agent to whichever host takes it, and answers under which epoch that was;
    /// `None` when it is another's already, or was not claimed.
    pub(super) async fn pass_on(
        &mut self,
        agent: &AgentInfo,
        registry: &dyn Registry,
    ) -> Result<Option<Epoch>, RegistryError> {
        let epoch = match self {
            Self::None => None,
            Self::Held(epoch) => Some(*epoch),
            Self::InDoubt { .. } => self.find(agent, None, registry).await?,
        };
        let passed = match epoch {
            Some(epoch) => match registry.hand_over(&AgentInfo { epoch, ..agent.clone() }).await {
                Ok(()) => Some(epoch),
                Err(RegistryError::Fenced { .. } | RegistryError::Forgotten { .. }) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        *self = Self::None;
        Ok(passed)
    }

    /// Gives the identity back.
    pub(super) async fn release(
        &mut self,
        agent: &AgentInfo,
        registry: &dyn Registry,
    ) -> Result<(), RegistryError> {
        let epoch = match self {
            Self::None => None,
            Self::Held(epoch) => Some(*epoch),
            Self::InDoubt { .. } => self.find(agent, None, registry).await?,
        };
        if let Some(epoch) = epoch {
            match registry.release(&agent.key, epoch).await {
                // Fenced: somebody else has it, so it is not ours to give.
                Ok(()) | Err(RegistryError::Fenced { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        *self = Self::None;
        Ok(())
    }

    /// The last epoch that was certainly given to this claim.
    fn last(&self) -> Option<Epoch> {
        match self {
            Self::None => None,
            Self::Held(epoch) => Some(*epoch),
            Self::InDoubt { last, .. } => *last,
        }
    }

    /// The epoch of the present claim, if it is this one: the last that is known of,
    /// or one that this host made under `lease` or under a lease of the claim in doubt.
    /// No other process has those leases.
    async fn find(
        &self,
        agent: &AgentInfo,
        lease: Option<&LeaseId>,
        registry: &dyn Registry,
    ) -> Result<Option<Epoch>, RegistryError> {
        let in_doubt = match self {
            Self::InDoubt { leases, .. } => leases.as_slice(),
            Self::None | Self::Held(_) => &[],
        };
        let found = registry.agent(&agent.key).await?;
        let ours = found.filter(|found| {
            let by_us = lease == Some(&found.lease) || in_doubt.contains(&found.lease);
            Some(found.agent.epoch) == self.last() || (found.agent.host == agent.host && by_us)
        });
        Ok(ours.map(|found| found.agent.epoch))
    }
}
