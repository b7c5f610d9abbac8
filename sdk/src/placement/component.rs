//! A component: compiled, or taken from the cache; checked, and linked.

use wasmtime::component::{self, Linker};

use super::{
    artifact::PolicyArtifact,
    bounds::Bounds,
    cache::CompiledCache,
    error::LoadError,
    runtime::{Runtime, runtime},
    stubs,
    types::PolicyIdentity,
    wit::Ready,
};

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

/// A component, linked.
pub(super) struct Component {
    pub(super) ready: Ready<Bounds>,
    pub(super) runtime: &'static Runtime,
    /// What it imports, and gets a stand-in for.
    pub(super) stubbed: Vec<String>,
}

impl Component {
    /// Compiles a component and links it.
    pub(super) fn load(
        identity: &PolicyIdentity,
        artifact: &PolicyArtifact,
        cache: &CompiledCache,
        imports: Imports,
    ) -> Result<(Self, Compiled), LoadError> {
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
        Ok((Self { ready, runtime, stubbed }, compiled))
    }
}

fn compile(
    runtime: &Runtime,
    identity: &PolicyIdentity,
    bytes: &[u8],
    cache: &CompiledCache,
) -> Result<(component::Component, Compiled), LoadError> {
    let key = cache.key(&runtime.engine, identity.sha256);
    if let Some(component) = cache.load(&runtime.engine, &key) {
        return Ok((component, Compiled::Earlier));
    }
    let component = component::Component::new(&runtime.engine, bytes).map_err(|error| {
        LoadError::Invalid { name: identity.name.clone(), source: error.into_boxed_dyn_error() }
    })?;
    cache.store(&key, &component);
    Ok((component, Compiled::Now))
}

/// What the component imports, if it may.
fn check_imports(
    runtime: &Runtime,
    name: &str,
    component: &component::Component,
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
