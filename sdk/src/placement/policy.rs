//! Loading a policy: from a source, through the compiler or its cache, checked.

use std::{fs::File, io::Read, path::PathBuf, sync::Arc};

use wasmtime::component::{Component, Linker};

use super::{
    cache::CompiledCache,
    digest::Sha256Digest,
    error::LoadError,
    runtime::{Runtime, runtime},
    types::PolicyIdentity,
    wit::PlacementPre,
};

/// Largest policy that is loaded, bytes. The stock ones have under 64 KiB; policies
/// in languages that bring a runtime along need a few MiB.
pub const MAX_POLICY_BYTES: u64 = 32 << 20;

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicySource {
    /// One that comes with the SDK.
    BuiltIn(BuiltIn),
    /// A component in a file.
    File(PathBuf),
    /// A component in memory.
    Bytes {
        /// What to call it in errors and logs.
        name: String,
        /// The component.
        bytes: Arc<[u8]>,
    },
}

/// The policies that come with the SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuiltIn {
    /// Each host in its turn, over all engines of the fleet.
    RoundRobin,
    /// The host with the most room, by agents, CPU and memory.
    LeastLoaded,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::RoundRobin, Self::LeastLoaded];

    /// The name operators write.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastLoaded => "least-loaded",
        }
    }

    /// The component.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::RoundRobin => include_bytes!("components/round-robin.wasm"),
            Self::LeastLoaded => include_bytes!("components/least-loaded.wasm"),
        }
    }
}

impl PolicySource {
    /// Reads what an operator writes: the name of a built-in policy, or the path
    /// of a file.
    pub fn parse(text: &str) -> Self {
        match BuiltIn::ALL.into_iter().find(|policy| policy.name() == text) {
            Some(policy) => Self::BuiltIn(policy),
            None => Self::File(PathBuf::from(text)),
        }
    }

    /// The policy's name: the built-in one's, or the file's without its ending.
    pub fn name(&self) -> String {
        match self {
            Self::BuiltIn(policy) => policy.name().to_owned(),
            Self::File(path) => path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            Self::Bytes { name, .. } => name.clone(),
        }
    }

    /// Whether there is a component to load: a quick look, without compiling it.
    ///
    /// # Errors
    /// [`LoadError`] when the source cannot be read, is too large, or is not a component.
    pub fn check(&self) -> Result<(), LoadError> {
        check_is_component(&self.name(), &self.read()?)
    }

    fn read(&self) -> Result<Arc<[u8]>, LoadError> {
        let bytes = match self {
            Self::BuiltIn(policy) => return Ok(policy.bytes().into()),
            Self::Bytes { bytes, .. } => bytes.clone(),
            Self::File(path) => {
                let unreadable = |source| LoadError::Unreadable { path: path.clone(), source };
                let mut bytes = Vec::new();
                let file = File::open(path).map_err(unreadable)?;
                // One byte more than allowed says that there is more.
                file.take(MAX_POLICY_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
                bytes.into()
            }
        };
        match bytes.len() as u64 > MAX_POLICY_BYTES {
            true => Err(LoadError::TooLarge { name: self.name() }),
            false => Ok(bytes),
        }
    }
}

impl From<BuiltIn> for PolicySource {
    fn from(policy: BuiltIn) -> Self {
        Self::BuiltIn(policy)
    }
}

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
    identity: PolicyIdentity,
    compiled: Compiled,
    ready: PlacementPre<super::instance::Bounds>,
    runtime: &'static Runtime,
}

impl Policy {
    /// Loads a policy. Compiling takes tens of milliseconds of CPU, or a fraction
    /// of one when `cache` has it: in async code, call this on a blocking thread.
    ///
    /// # Errors
    /// [`LoadError`] when the source cannot be read, is not a component, imports
    /// anything, or does not export what a policy exports.
    pub fn load(source: &PolicySource, cache: &CompiledCache) -> Result<Self, LoadError> {
        let name = source.name();
        let bytes = source.read()?;
        check_is_component(&name, &bytes)?;
        let runtime = runtime()?;
        let identity = PolicyIdentity { name, sha256: Sha256Digest::of(&bytes) };
        let (component, compiled) = compile(runtime, &identity, &bytes, cache)?;
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
    pub fn identity(&self) -> &PolicyIdentity {
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

/// The first eight bytes tell a component from everything else, in words that
/// help whoever wrote the wrong file's name.
fn check_is_component(name: &str, bytes: &[u8]) -> Result<(), LoadError> {
    let found = match bytes {
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            "it is a core module; `wasm-tools component new` makes a component of it"
        }
        [b'\0', b'a', b's', b'm', ..] => "it is WebAssembly of another version",
        [] => "it is empty",
        _ if bytes.trim_ascii_start().starts_with(b"(") => {
            "it is WebAssembly text; `wasm-tools parse` makes a binary of it"
        }
        _ => "it does not begin as WebAssembly does",
    };
    Err(LoadError::NotAComponent { name: name.to_owned(), found: found.to_owned() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_write_a_name_or_a_path() {
        for (text, name) in [
            ("round-robin", "round-robin"),
            ("least-loaded", "least-loaded"),
            ("policies/spread.wasm", "spread"),
            ("./round-robin", "round-robin"),
        ] {
            assert_eq!(PolicySource::parse(text).name(), name);
        }
        assert_eq!(PolicySource::parse("round-robin"), BuiltIn::RoundRobin.into());
        assert_eq!(PolicySource::parse("./round-robin"), PolicySource::File("./round-robin".into()));
    }
}
