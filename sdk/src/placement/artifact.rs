//! A policy as it lies somewhere: its component, and what came along with it.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{chain::ChainDocument, digest::Sha256Digest, error::LoadError, types::PolicyIdentity};

/// Largest policy that is loaded, bytes. The stock ones have under 64 KiB; policies
/// in languages that bring a runtime along need a few MiB.
pub const MAX_POLICY_BYTES: u64 = 32 << 20;

/// Largest file of settings, bytes.
const MAX_SETTINGS_BYTES: u64 = 1 << 20;

/// Largest file with a signature, bytes. A signature has 64.
const MAX_SIGNATURE_BYTES: u64 = 4 << 10;

/// The policies that come with the SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuiltIn {
    /// Each host in its turn, over all engines of the fleet.
    RoundRobin,
    /// The host with more room, by agents, CPU and memory, of two that are drawn; in small
    /// fleets of all.
    LeastLoaded,
    /// A host that has what the agent asks for: the emptiest or the fullest.
    ResourceFit,
    /// A host by its labels and by where the other agents of the guild are.
    Affinity,
    /// The host with the greatest weighted sum of what speaks for it.
    Weighted,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::RoundRobin, Self::LeastLoaded, Self::ResourceFit, Self::Affinity, Self::Weighted];

    /// The name operators write.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastLoaded => "least-loaded",
            Self::ResourceFit => "resource-fit",
            Self::Affinity => "affinity",
            Self::Weighted => "weighted",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// The component.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::RoundRobin => include_bytes!("components/round-robin.wasm"),
            Self::LeastLoaded => include_bytes!("components/least-loaded.wasm"),
            Self::ResourceFit => include_bytes!("components/resource-fit.wasm"),
            Self::Affinity => include_bytes!("components/affinity.wasm"),
            Self::Weighted => include_bytes!("components/weighted.wasm"),
        }
    }
}

/// A policy as a [source](super::PolicySource) has it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PolicyArtifact {
    /// What to call it in errors and logs.
    pub name: String,
    /// The component.
    pub component: Arc<[u8]>,
    /// An ed25519 signature of the component, 64 bytes, if there is one.
    pub signature: Option<Vec<u8>>,
    /// The settings that come with it, a JSON object; `None` leaves them to the
    /// configuration of whoever loads it.
    pub settings: Option<serde_json::Value>,
    /// Which policy of the SDK it is, if it is one.
    built_in: Option<BuiltIn>,
}

impl PolicyArtifact {
    /// A component in memory.
    pub fn new(name: impl Into<String>, component: impl Into<Arc<[u8]>>) -> Self {
        Self {
            name: name.into(),
            component: component.into(),
            signature: None,
            settings: None,
            built_in: None,
        }
    }

    /// The chain of these built-in policies: they decide together, each with the weight 1
    /// and without settings.
    ///
    /// # Errors
    /// [`LoadError::Chain`] when there is no built-in policy of a name.
    pub fn chain(names: &[&str]) -> Result<Self, LoadError> {
        if let Some(unknown) = names.iter().find(|name| BuiltIn::named(name).is_none()) {
            let problem = format!("{unknown} is no built-in policy");
            return Err(LoadError::Chain { name: names.join("+"), problem });
        }
        Ok(ChainDocument::of_built_in(names).into_artifact())
    }

    /// The policy that an operator names: a built-in one, several of those with commas
    /// between them, a file, or a directory.
    ///
    /// # Errors
    /// [`LoadError`] when there is no such policy, or it cannot be read.
    pub fn named(text: &str) -> Result<Self, LoadError> {
        if let Some(policy) = BuiltIn::named(text) {
            return Ok(policy.into());
        }
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        let path = Path::new(text);
        match Self::chain(&names) {
            Ok(chain) => Ok(chain),
            Err(_) if path.is_dir() => Self::read_directory(path),
            Err(_) => Self::read(path),
        }
    }

    /// Reads a component, or a chain of policies in JSON, from a file, and its signature from the file of the same name
    /// with `.sig` at the end, if that is there. The policy is called as the file is,
    /// without its ending.
    ///
    /// # Errors
    /// [`LoadError`] when a file is there and cannot be read, or is too large.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let component = read(path, MAX_POLICY_BYTES)?;
        let signature = if_there(read(&signature_of(path), MAX_SIGNATURE_BYTES))?;
        let artifact = Self { signature, ..Self::new(name, component) };
        match ChainDocument::of(&artifact)? {
            Some(chain) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                Ok(Self { signature: artifact.signature, ..chain.take_in(folder)?.into_artifact() })
            }
            None => Ok(artifact),
        }
    }

    /// Whether it is a chain of policies rather than one.
    pub fn is_chain(&self) -> bool {
        self.component.trim_ascii_start().starts_with(b"{")
    }

    /// Reads a directory, such as a mounted ConfigMap: `policy.wasm`, and if they are
    /// there its signature `policy.wasm.sig` and its settings `settings.json`. The
    /// policy is called as the directory is.
    ///
    /// # Errors
    /// [`LoadError`] when there is no policy, a file cannot be read or is too large, or
    /// the settings are no JSON.
    pub fn read_directory(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let [component, _, settings] = files_of(path);
        let artifact = Self { name, ..Self::read(component)? };
        let Some(text) = if_there(read(&settings, MAX_SETTINGS_BYTES))? else { return Ok(artifact) };
        let unusable = |source| LoadError::Settings { path: settings.clone(), source };
        Ok(Self { settings: Some(serde_json::from_slice(&text).map_err(unusable)?), ..artifact })
    }

    /// The policy of the SDK that it is, if it is one.
    pub fn built_in(&self) -> Option<BuiltIn> {
        self.built_in
    }

    /// What it is called and the digest of its component.
    pub fn identity(&self) -> PolicyIdentity {
        PolicyIdentity { name: self.name.clone(), sha256: Sha256Digest::of(&self.component) }
    }

    /// The digest of all of it: the name, the component, its signature and its settings.
    pub fn digest(&self) -> Sha256Digest {
        let settings = self.settings.as_ref().map(ToString::to_string);
        let parts: [Option<&[u8]>; 4] = [
            Some(self.name.as_bytes()),
            Some(&self.component),
            self.signature.as_deref(),
            settings.as_deref().map(str::as_bytes),
        ];
        let mut hash = Sha256::new();
        for part in parts {
            // The lengths keep the parts apart.
            hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hash.update(part.unwrap_or_default());
        }
        Sha256Digest::from(<[u8; 32]>::from(hash.finalize()))
    }

    /// The same with these settings.
    #[must_use]
    pub fn with_settings(self, settings: serde_json::Value) -> Self {
        Self { settings: Some(settings), ..self }
    }

    /// Whether it is a component: a quick look, without compiling it.
    ///
    /// # Errors
    /// [`LoadError`] says what it is instead.
    pub fn check(&self) -> Result<(), LoadError> {
        if self.component.len() as u64 > MAX_POLICY_BYTES {
            return Err(LoadError::TooLarge { name: self.name.clone() });
        }
        // The first eight bytes tell a component from everything else, in words that
        // help whoever wrote the wrong file's name.
        let found = match &*self.component {
            [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
            _ if self.is_chain() => return Ok(()),
            [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => {
                "it is a core module; `wasm-tools component new` makes a component of it"
            }
            [b'\0', b'a', b's', b'm', ..] => "it is WebAssembly of another version",
            [] => "it is empty",
            bytes if bytes.trim_ascii_start().starts_with(b"(") => {
                "it is WebAssembly text; `wasm-tools parse` makes a binary of it"
            }
            _ => "it does not begin as WebAssembly does",
        };
        Err(LoadError::NotAComponent { name: self.name.clone(), found: found.to_owned() })
    }
}

impl From<BuiltIn> for PolicyArtifact {
    fn from(policy: BuiltIn) -> Self {
        Self { built_in: Some(policy), ..Self::new(policy.name(), policy.bytes()) }
    }
}

/// Component, signature and settings of a policy in a directory.
pub(super) fn files_of(directory: &Path) -> [PathBuf; 3] {
    let component = directory.join("policy.wasm");
    let signature = signature_of(&component);
    [component, signature, directory.join("settings.json")]
}

/// Where the signature of a component is.
pub(super) fn signature_of(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    // One byte more than allowed says that there is more.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > limit {
        true => {
            Err(LoadError::TooLarge { name: path.file_stem().unwrap_or_default().to_string_lossy().into() })
        }
        false => Ok(bytes),
    }
}

fn if_there(result: Result<Vec<u8>, LoadError>) -> Result<Option<Vec<u8>>, LoadError> {
    match result {
        Err(LoadError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
