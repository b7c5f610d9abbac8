//! One live instance of a policy: its store, its bounds, and its calls.
//!
//! An instance that has failed once is thrown away: nobody knows what state a
//! trap left it in. The service makes the next one.

use std::sync::Arc;

use wasmtime::{Store, UpdateDeadline};

use crate::ids::HostId;

use super::{
    bounds::Bounds,
    component::Component,
    error::{Call, ConfigureError, PolicyError},
    limits::PolicyLimits,
    runtime::Runtime,
    settings::{Schema, Settings},
    types::{Needs, PlacementRequest, PolicyIdentity},
    wit::{Answer, Change, Exports, GuildAnswer, GuildQuestion, Scores, WireMove, WirePlaced},
};

pub(super) struct Instance {
    store: Store<Bounds>,
    exports: Exports,
    runtime: &'static Runtime,
    policy: Arc<PolicyIdentity>,
    needs: Needs,
    schema: Option<Schema>,
}

impl Instance {
    /// Instantiates a component, sees that the settings fit its schema, and configures it.
    pub(super) fn start(
        policy: &Arc<PolicyIdentity>,
        component: &Component,
        settings: &serde_json::Value,
        limits: &PolicyLimits,
    ) -> Result<Self, ConfigureError> {
        let mut instance = Self::bare(policy, component, limits)?;
        let refused = |message: String| ConfigureError::Settings {
            policy: policy.name.clone(),
            message: readable(message),
        };
        let settings = Settings::read(settings).map_err(refused)?;
        if let Some(schema) = &instance.schema {
            settings.check(schema).map_err(refused)?;
        }
        instance.needs = instance
            .call(Call::Configure, |exports, store| exports.configure(store, &settings))?
            .map_err(refused)?;
        Ok(instance)
    }

    /// Instantiates a component, and has it say its schema.
    pub(super) fn bare(
        policy: &Arc<PolicyIdentity>,
        component: &Component,
        limits: &PolicyLimits,
    ) -> Result<Self, ConfigureError> {
        let runtime = component.runtime;
        let mut store = Store::new(&runtime.engine, Bounds::new(limits));
        store.limiter(|bounds| bounds);
        store.epoch_deadline_callback(|mut store| {
            Ok(match store.data_mut().over_budget() {
                true => UpdateDeadline::Interrupt,
                false => UpdateDeadline::Continue(1),
            })
        });
        store.set_epoch_deadline(1);
        let exports = runtime
            .run(|| component.ready.instantiate(&mut store))
            .map_err(|error| store.data().blame(policy, Call::Start, &error))?;
        let policy = Arc::clone(policy);
        let mut instance = Self { store, exports, runtime, policy, needs: Needs::default(), schema: None };
        let schema = instance.call(Call::Configure, |exports, store| exports.schema(store))?;
        instance.schema = schema.map(|text| Schema::read(&text)).transpose().map_err(|problem| {
            ConfigureError::Schema { policy: instance.policy.name.clone(), problem: readable(problem) }
        })?;
        Ok(instance)
    }

    /// What each request to it must carry.
    pub(super) fn needs(&self) -> Needs {
        self.needs
    }

    /// The JSON Schema of its settings, if it has one.
    pub(super) fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }

    pub(super) fn policy(&self) -> &Arc<PolicyIdentity> {
        &self.policy
    }

    /// Memory that it has taken so far.
    pub(super) fn memory_bytes(&self) -> usize {
        self.store.data().memory
    }

    /// Tells it what changed.
    pub(super) fn observe(&mut self, changes: &[Change<'_>]) -> Result<(), PolicyError> {
        self.call(Call::Observe, |exports, store| exports.observe(store, changes))
    }

    /// Asks it for a host. Only the request crosses the boundary.
    pub(super) fn place(&mut self, request: &PlacementRequest) -> Result<Answer, PolicyError> {
        let needs = self.needs;
        self.call(Call::Place, |exports, store| exports.place(store, request, needs))
    }

    /// Asks it for hosts for a guild; `None` when it places single agents only.
    pub(super) fn place_guild(
        &mut self,
        question: &GuildQuestion<'_>,
    ) -> Result<Option<GuildAnswer>, PolicyError> {
        self.call(Call::PlaceGuild, |exports, store| exports.place_guild(store, question))
    }

    /// Asks what it says of `count` hosts from the position `first` on; `None` when it
    /// judges no single hosts.
    pub(super) fn score(
        &mut self,
        request: &PlacementRequest,
        first: u32,
        count: u32,
    ) -> Result<Option<Scores>, PolicyError> {
        let needs = self.needs;
        self.call(Call::Score, |exports, store| exports.score(store, request, needs, first, count))
    }

    /// Tells it where the agent goes that it was last asked about.
    pub(super) fn chosen(&mut self, host: &HostId) -> Result<(), PolicyError> {
        self.call(Call::Score, |exports, store| exports.chosen(store, host))
    }

    /// Asks which of these agents to move; `None` when it moves none.
    pub(super) fn propose_moves(
        &mut self,
        placed: &[WirePlaced<'_>],
        most: u32,
    ) -> Result<Option<Vec<WireMove>>, PolicyError> {
        self.call(Call::ProposeMoves, |exports, store| exports.propose_moves(store, placed, most))
    }

    /// Blames it for an answer that cannot be meant.
    pub(super) fn nonsense(&self, call: Call, problem: impl Into<String>) -> PolicyError {
        PolicyError::Nonsense { policy: self.policy.name.clone(), call, problem: readable(problem.into()) }
    }

    fn call<T>(
        &mut self,
        call: Call,
        run: impl FnOnce(&Exports, &mut Store<Bounds>) -> wasmtime::Result<T>,
    ) -> Result<T, PolicyError> {
        self.store.data_mut().begin();
        self.store.set_epoch_deadline(1);
        self.runtime
            .run(|| run(&self.exports, &mut self.store))
            .map_err(|error| self.store.data().blame(&self.policy, call, &error))
    }
}

/// Longest text that is taken from a policy, bytes.
pub const MAX_REASON_BYTES: usize = 4096;

/// What a policy said, fit for logs and terminals: cut, and without control characters.
pub(super) fn readable(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_REASON_BYTES));
    match text.contains(char::is_control) {
        true => text.replace(char::is_control, " "),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_policy_is_cut_at_a_character_and_has_no_control_characters() {
        assert_eq!(readable("a\u{1b}[2J\nb".to_owned()), "a [2J b");
        let long = readable("é".repeat(5000));
        assert_eq!(long.len(), MAX_REASON_BYTES);
        let odd = readable(format!("x{}", "é".repeat(5000)));
        assert_eq!(odd.len(), MAX_REASON_BYTES - 1);
    }
}
