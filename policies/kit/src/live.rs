//! A policy at work: its state and the fleet, driven call by call.

use crate::{Change, Decision, Fleet, InvalidSettings, Policy, Refusal, Request, Settings};

/// A configured policy and the fleet it was told of.
///
/// The component drives a policy through this, and so do native tests and
/// benchmarks: they run the very same code.
#[derive(Clone, Debug)]
pub struct Live<P> {
    fleet: Fleet,
    policy: P,
}

impl<P: Policy> Live<P> {
    /// Configures a policy from its settings, a JSON object.
    ///
    /// # Errors
    /// [`InvalidSettings`] names the field that is wrong.
    pub fn configure(settings: &str) -> Result<Self, InvalidSettings> {
        let policy = Settings::read(settings, P::configure)?;
        Ok(Self { fleet: Fleet::default(), policy })
    }

    /// Tells the policy what changed, in this order.
    pub fn observe(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            if let Some(observed) = self.fleet.apply(change) {
                self.policy.observe(&self.fleet, &observed);
            }
        }
    }

    /// Asks the policy for a host.
    ///
    /// # Errors
    /// [`Refusal`] says why there is none.
    pub fn place(&mut self, request: &Request) -> Result<Decision, Refusal> {
        self.policy.place(&self.fleet, request)
    }

    /// The fleet as the policy sees it.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }
}
