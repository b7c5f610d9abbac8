//! Loading a policy: from an artifact, through the compiler or its cache, checked.

use std::sync::Arc;

use wasmtime::component::{Component, Linker};

use super::{
    artifact::PolicyArtifact,
    cache::CompiledCache,
    error::LoadError,
    runtime::{Runtime, runtime},
    types::PolicyIdentity,
    wit::PlacementPre,
};

/// The version of `placement.wit` that policies are written against.
pub const CONTRACT: &str = "guildhall:placement@0.1.0";

/// How a policy became machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiled {
    /// It was compiled now.
    Now,
    /// Its compiled form was in the cache.
    Earlier,
}

/// A policy that is compiled, checked, and ready to be instantiated. Clones share it.
#[derive(Clone)]
pub struct Policy(Arc<Loaded>);

struct Loaded {
    identity: Arc<PolicyIdentity>,
    compiled: Compiled,
    ready: PlacementPre<super::instance::Bounds>,
    runtime: &'static Runtime,
}

impl Policy {
    /// Loads a policy. Compiling takes tens of milliseconds of CPU, or a fraction
    /// of one when `cache` has it: in async code, call this on a blocking thread.
    ///
    /// # Errors
    /// [`LoadError`] when the artifact is not a component, imports anything, or does
    /// not export what a policy exports.
    pub fn load(artifact: &PolicyArtifact, cache: &CompiledCache) -> Result<Self, LoadError> {
        artifact.check()?;
        let runtime = runtime()?;
        let identity = Arc::new(artifact.identity());
        let (component, compiled) = compile(runtime, &identity, &artifact.component, cache)?;
        check_imports(runtime, &identity.name, &component)?;
        let wrong_world = |error: wasmtime::Error| LoadError::WrongWorld {
            name: identity.name.clone(),
            source: error.into_boxed_dyn_error(),
        };
        let linked = Linker::new(&runtime.engine).instantiate_pre(&component).map_err(wrong_world)?;
        let ready = PlacementPre::new(linked).map_err(wrong_world)?;
        tracing::debug!(policy = %identity, ?compiled, "policy loaded");
        Ok(Self(Arc::new(Loaded { identity, compiled, ready, runtime })))
    }

    /// Which policy it is.
    pub fn identity(&self) -> &Arc<PolicyIdentity> {
        &self.0.identity
    }

    /// Whether it had to be compiled.
    pub fn compiled(&self) -> Compiled {
        self.0.compiled
    }

    pub(super) fn ready(&self) -> &PlacementPre<super::instance::Bounds> {
        &self.0.ready
    }

    pub(super) fn runtime(&self) -> &'static Runtime {
        self.0.runtime
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
) -> Result<(Component, Compiled), LoadError> {
    let key = cache.key(&runtime.engine, identity.sha256);
    if let Some(component) = cache.load(&runtime.engine, &key) {
        return Ok((component, Compiled::Earlier));
    }
    let component = Component::new(&runtime.engine, bytes).map_err(|error| LoadError::Invalid {
        name: identity.name.clone(),
        source: error.into_boxed_dyn_error(),
    })?;
    cache.store(&key, &component);
    Ok((component, Compiled::Now))
}

fn check_imports(runtime: &Runtime, name: &str, component: &Component) -> Result<(), LoadError> {
    let component = component.component_type();
    let imports: Vec<String> =
        component.imports(&runtime.engine).map(|(import, _)| import.to_owned()).collect();
    match imports.is_empty() {
        true => Ok(()),
        false => Err(LoadError::Imports { name: name.to_owned(), imports }),
    }
}
