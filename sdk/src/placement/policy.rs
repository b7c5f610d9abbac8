//! A policy that was loaded: one component, or a chain of them.

use std::sync::Arc;

use super::{
    artifact::PolicyArtifact,
    cache::CompiledCache,
    chain::ChainDocument,
    component::{Compiled, Component, Imports},
    error::{ConfigureError, LoadError},
    instance::Instance,
    limits::PolicyLimits,
    types::PolicyIdentity,
};

/// The version of `placement.wit` that policies are written against. Those that were
/// written against an earlier one go on working.
pub const CONTRACT: &str = "guildhall:placement@0.2.0";

/// A policy that is compiled, checked, and ready to be instantiated. Clones share it.
#[derive(Clone)]
pub struct Policy(Arc<Loaded>);

struct Loaded {
    artifact: PolicyArtifact,
    identity: Arc<PolicyIdentity>,
    compiled: Compiled,
    form: Form,
}

/// What a policy is made of.
pub(super) enum Form {
    Single(Component),
    /// Several that decide together.
    Chain(Vec<Link>),
}

/// One policy of a chain.
pub(super) struct Link {
    pub(super) policy: Policy,
    pub(super) weight: f64,
    pub(super) settings: serde_json::Value,
}

impl Policy {
    /// Loads a policy. Compiling takes tens of milliseconds of CPU, or a fraction
    /// of one when `cache` has it: in async code, call this on a blocking thread.
    ///
    /// # Errors
    /// [`LoadError`] when the artifact is not a component, imports anything, or does
    /// not export what a policy exports; of a chain, when that is so of one of its
    /// policies.
    pub fn load(artifact: &PolicyArtifact, cache: &CompiledCache) -> Result<Self, LoadError> {
        Self::load_with(artifact, cache, Imports::Refused)
    }

    /// Loads a policy that may import something.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn load_with(
        artifact: &PolicyArtifact,
        cache: &CompiledCache,
        imports: Imports,
    ) -> Result<Self, LoadError> {
        artifact.check()?;
        let identity = Arc::new(artifact.identity());
        let (form, compiled) = match ChainDocument::of(artifact)? {
            Some(chain) => chain.load(cache, imports)?,
            None => {
                let (component, compiled) = Component::load(&identity, artifact, cache, imports)?;
                (Form::Single(component), compiled)
            }
        };
        tracing::debug!(policy = %identity, ?compiled, "policy loaded");
        Ok(Self(Arc::new(Loaded { artifact: artifact.clone(), identity, compiled, form })))
    }

    /// Which policy it is.
    pub fn identity(&self) -> &Arc<PolicyIdentity> {
        &self.0.identity
    }

    /// Whether it, or one of a chain, had to be compiled.
    pub fn compiled(&self) -> Compiled {
        self.0.compiled
    }

    /// The version of the contract that it is written against; of a chain, this SDK's.
    pub fn contract(&self) -> &'static str {
        match &self.0.form {
            Form::Single(component) => component.ready.contract(),
            Form::Chain(_) => CONTRACT,
        }
    }

    /// The optional interfaces of the contract that it exports, by name.
    pub fn interfaces(&self) -> Vec<&'static str> {
        match &self.0.form {
            Form::Single(component) => component.ready.interfaces(),
            Form::Chain(_) => Vec::new(),
        }
    }

    /// What it imports of WASI, and gets a stand-in for.
    pub fn stubbed(&self) -> &[String] {
        match &self.0.form {
            Form::Single(component) => &component.stubbed,
            Form::Chain(_) => &[],
        }
    }

    /// The policies of a chain, the first one first; none for a single policy.
    pub fn parts(&self) -> Vec<Arc<PolicyIdentity>> {
        match &self.0.form {
            Form::Single(_) => Vec::new(),
            Form::Chain(links) => links.iter().map(|link| Arc::clone(link.policy.identity())).collect(),
        }
    }

    /// The JSON Schema of its settings, if it has one.
    ///
    /// # Errors
    /// [`ConfigureError`] when it cannot be started, or says a schema that is not understood.
    pub fn settings_schema(
        &self,
        limits: &PolicyLimits,
    ) -> Result<Option<serde_json::Value>, ConfigureError> {
        match &self.0.form {
            Form::Single(component) => {
                let instance = Instance::bare(self.identity(), component, limits)?;
                Ok(instance.schema().map(super::settings::Schema::json))
            }
            Form::Chain(_) => Ok(None),
        }
    }

    /// What it was loaded from.
    pub(super) fn artifact(&self) -> &PolicyArtifact {
        &self.0.artifact
    }

    pub(super) fn form(&self) -> &Form {
        &self.0.form
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Policy").field(self.identity()).finish()
    }
}
