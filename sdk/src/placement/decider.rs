//! What decides: an instance of one policy, or those of a chain.

use serde_json::Value;

use super::{
    chain::Chain,
    error::{ConfigureError, PolicyError},
    instance::Instance,
    limits::PolicyLimits,
    policy::{Form, Policy},
    table::Table,
    types::{Needs, PlacementRequest},
    wit::{Answer, Change, GuildAnswer, GuildQuestion, WireMove, WirePlaced},
};

pub(super) enum Decider {
    Single(Instance),
    Chain(Chain),
}

impl Decider {
    pub(super) fn start(
        policy: &Policy,
        settings: &Value,
        limits: &PolicyLimits,
    ) -> Result<Self, ConfigureError> {
        match policy.form() {
            Form::Single(component) => {
                Instance::start(policy.identity(), component, settings, limits).map(Self::Single)
            }
            Form::Chain(links) => Chain::start(links, limits).map(Self::Chain),
        }
    }

    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Single(instance) => instance.needs(),
            Self::Chain(chain) => chain.needs(),
        }
    }

    /// Memory that was taken so far.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Single(instance) => instance.memory_bytes(),
            Self::Chain(chain) => chain.memory_bytes(),
        }
    }

    pub(super) fn observe(&mut self, changes: &[Change<'_>]) -> Result<(), PolicyError> {
        match self {
            Self::Single(instance) => instance.observe(changes),
            Self::Chain(chain) => chain.observe(changes),
        }
    }

    /// Asks for a host of `fleet`, which must be what it was told of.
    pub(super) fn place(&mut self, fleet: &Table, request: &PlacementRequest) -> Result<Answer, PolicyError> {
        match self {
            Self::Single(instance) => instance.place(request),
            Self::Chain(chain) => chain.place(fleet, request),
        }
    }

    /// Asks for hosts for a guild; `None` when it places single agents only.
    pub(super) fn place_guild(
        &mut self,
        question: &GuildQuestion<'_>,
    ) -> Result<Option<GuildAnswer>, PolicyError> {
        match self {
            Self::Single(instance) => instance.place_guild(question),
            Self::Chain(_) => Ok(None),
        }
    }

    /// Asks which of these agents to move; `None` when it moves none.
    pub(super) fn propose_moves(
        &mut self,
        placed: &[WirePlaced<'_>],
        most: u32,
    ) -> Result<Option<Vec<WireMove>>, PolicyError> {
        match self {
            Self::Single(instance) => instance.propose_moves(placed, most),
            Self::Chain(chain) => chain.propose_moves(placed, most),
        }
    }
}
