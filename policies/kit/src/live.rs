//! A policy at work: its state and the fleet, driven call by call.

use alloc::vec::Vec;

use crate::{
    Change, Decision, Fleet, GuildDecision, GuildRequest, InvalidSettings, Move, Placed, Policy, Refusal,
    Request, Setting, Settings, Verdict,
};

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
    /// Configures a policy from its settings, as a component gets them.
    ///
    /// # Errors
    /// [`InvalidSettings`] names the field that is wrong.
    pub fn start(settings: Vec<Setting>) -> Result<Self, InvalidSettings> {
        let policy = Settings::read(settings, P::configure)?;
        Ok(Self { fleet: Fleet::default(), policy })
    }

    /// Configures a policy from its settings, a JSON object.
    ///
    /// # Errors
    /// [`InvalidSettings`] names the field that is wrong.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn configure(settings: &str) -> Result<Self, InvalidSettings> {
        Self::start(crate::json::settings(settings)?)
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

    /// Asks the policy for hosts for a whole guild.
    pub fn place_guild(&mut self, request: &GuildRequest) -> GuildDecision {
        self.policy.place_guild(&self.fleet, request)
    }

    /// Asks the policy what it says of the host at this position.
    pub fn score(&mut self, request: &Request, at: usize) -> Verdict {
        self.policy.score(&self.fleet, request, at)
    }

    /// Tells the policy that the agent it was last asked about goes to this host.
    pub fn chosen(&mut self, host: &str) {
        if let Some(at) = self.fleet.position(host) {
            self.policy.chosen(&self.fleet, at);
        }
    }

    /// Asks the policy which of these agents to move, so many at most.
    pub fn propose_moves(&mut self, placed: &[Placed], most: usize) -> Vec<Move> {
        self.policy.propose_moves(&self.fleet, placed, most)
    }

    /// The fleet as the policy sees it.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }
}
