//! Loading a policy: from an artifact, through the compiler or its cache, checked.

use std::sync::Arc;

use wasmtime::component::Linker;

use super::{
    artifact::PolicyArtifact,
    cache::CompiledCache,
    chain::ChainDocument,
    error::{ConfigureError, LoadError},
    instance::{Bounds, Instance},
    limits::PolicyLimits,
    runtime::{Runtime, runtime},
    stubs,
    types::PolicyIdentity,
    wit::Ready,
};

/// The version of `placement.wit` that policies are written against. Those that were
/// written against an earlier one go on working.
pub const CONTRACT: &str = "guildhall:placement@0.2.0";

/// How a policy became machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiled {
    /// It was compiled now.
    Now,
    /// Its compiled form was in the cache.
    Earlier,
}

/// What a policy may import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Imports {
    /// Nothing: a policy that imports anything is refused.
    #[default]
    Refused,
    /// WASI, which it gets stand-ins for: clocks that stand still, random numbers from a
    /// fixed seed, no environment, no files. What else it calls of WASI traps.
    WasiStubs,
}

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

/// A component, linked.
pub(super) struct Component {
    pub(super) ready: Ready<Bounds>,
    pub(super) runtime: &'static Runtime,
    /// What it imports, and gets a stand-in for.
    stubbed: Vec<String>,
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
            None => Self::load_component(&identity, artifact, cache, imports)?,
        };
        tracing::debug!(policy = %identity, ?compiled, "policy loaded");
        Ok(Self(Arc::new(Loaded { artifact: artifact.clone(), identity, compiled, form })))
    }

    fn load_component(
        identity: &PolicyIdentity,
        artifact: &PolicyArtifact,
        cache: &CompiledCache,
        imports: Imports,
    ) -> Result<(Form, Compiled), LoadError> {
        let runtime = runtime()?;
        let (component, compiled) = compile(runtime, identity, &artifact.component, cache)?;
        let stubbed = check_imports(runtime, &identity.name, &component, imports)?;
        let wrong_world = |error: wasmtime::Error| LoadError::WrongWorld {
            name: identity.name.clone(),
            source: error.into_boxed_dyn_error(),
        };
        let mut linker = Linker::new(&runtime.engine);
        if !stubbed.is_empty() {
            stubs::link(&mut linker, &component).map_err(wrong_world)?;
        }
        let linked = linker.instantiate_pre(&component).map_err(wrong_world)?;
        let ready = Ready::new(&component, linked).map_err(wrong_world)?;
        Ok((Form::Single(Component { ready, runtime, stubbed }), compiled))
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

fn compile(
    runtime: &Runtime,
    identity: &PolicyIdentity,
    bytes: &[u8],
    cache: &CompiledCache,
) -> Result<(wasmtime::component::Component, Compiled), LoadError> {
    let key = cache.key(&runtime.engine, identity.sha256);
    if let Some(component) = cache.load(&runtime.engine, &key) {
        return Ok((component, Compiled::Earlier));
    }
    let component = wasmtime::component::Component::new(&runtime.engine, bytes).map_err(|error| {
        LoadError::Invalid { name: identity.name.clone(), source: error.into_boxed_dyn_error() }
    })?;
    cache.store(&key, &component);
    Ok((component, Compiled::Now))
}

/// What the component imports, if it may.
fn check_imports(
    runtime: &Runtime,
    name: &str,
    component: &wasmtime::component::Component,
    allowed: Imports,
) -> Result<Vec<String>, LoadError> {
    let component = component.component_type();
    let imports: Vec<String> =
        component.imports(&runtime.engine).map(|(import, _)| import.to_owned()).collect();
    let fine = |import: &String| allowed == Imports::WasiStubs && import.starts_with(stubs::PREFIX);
    match imports.iter().all(fine) {
        true => Ok(imports),
        false => Err(LoadError::Imports { name: name.to_owned(), imports }),
    }
}
