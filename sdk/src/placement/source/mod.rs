//! Where policies come from, and how it is seen that one has changed.
//!
//! [`PolicySource`] is the door; a [`PolicyChoice`] is what an operator writes.

mod files;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;

pub use self::files::PolicyFiles;
use super::{
    artifact::{BuiltIn, PolicyArtifact},
    error::LoadError,
};

/// A place that has a policy, and may have another one later. Who follows it asks for
/// the [version](Self::version) now and then, and fetches when that is another one.
#[async_trait]
pub trait PolicySource: Send + Sync + fmt::Debug + 'static {
    /// The policy that is there now.
    ///
    /// # Errors
    /// [`LoadError`] when it cannot be had.
    async fn fetch(&self) -> Result<PolicyArtifact, LoadError>;

    /// Names what is there now: whatever else is put there, or that nothing is there,
    /// has another name. Costs little.
    ///
    /// # Errors
    /// [`LoadError`] when that is not known at present.
    async fn version(&self) -> Result<String, LoadError>;

    /// The time from one look at the version to the next; `None` when it never changes.
    fn look_every(&self) -> Option<Duration>;
}

/// A policy of the SDK is always the same.
#[async_trait]
impl PolicySource for BuiltIn {
    async fn fetch(&self) -> Result<PolicyArtifact, LoadError> {
        Ok((*self).into())
    }

    async fn version(&self) -> Result<String, LoadError> {
        Ok(self.name().to_owned())
    }

    fn look_every(&self) -> Option<Duration> {
        None
    }
}

/// An artifact in memory is always the same.
#[async_trait]
impl PolicySource for PolicyArtifact {
    async fn fetch(&self) -> Result<PolicyArtifact, LoadError> {
        Ok(self.clone())
    }

    async fn version(&self) -> Result<String, LoadError> {
        Ok(self.digest().to_string())
    }

    fn look_every(&self) -> Option<Duration> {
        None
    }
}

/// Which policy decides.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum PolicyChoice {
    /// The one that the registry names for the whole fleet; `round-robin` as long as it
    /// names none, or when there is no registry.
    #[default]
    Fleet,
    /// One that comes with the SDK.
    BuiltIn(BuiltIn),
    /// A file, or a directory as [`PolicyArtifact::read_directory`] reads it. Followed:
    /// what is put in its place is taken over.
    Path(PathBuf),
    /// One from anywhere else.
    Source(Arc<dyn PolicySource>),
}

impl PolicyChoice {
    /// Reads what an operator writes: `fleet`, the name of a built-in policy, several with
    /// commas between them, which decide together, or a path.
    pub fn parse(text: &str) -> Self {
        if let Some(policy) = BuiltIn::named(text) {
            return Self::BuiltIn(policy);
        }
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        match PolicyArtifact::chain(&names) {
            Ok(chain) => Self::Source(Arc::new(chain)),
            Err(_) if text == "fleet" => Self::Fleet,
            Err(_) => Self::Path(text.into()),
        }
    }

    /// Whether there is a component, where that can be known without a registry.
    ///
    /// # Errors
    /// [`LoadError`] when a file cannot be read, is too large, or is no component.
    pub fn check(&self) -> Result<(), LoadError> {
        match self {
            Self::Path(path) => files::read(path)?.check(),
            Self::Fleet | Self::BuiltIn(_) | Self::Source(_) => Ok(()),
        }
    }
}

impl From<BuiltIn> for PolicyChoice {
    fn from(policy: BuiltIn) -> Self {
        Self::BuiltIn(policy)
    }
}

impl From<&Path> for PolicyChoice {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<PolicyArtifact> for PolicyChoice {
    fn from(artifact: PolicyArtifact) -> Self {
        Self::Source(Arc::new(artifact))
    }
}

impl From<Arc<dyn PolicySource>> for PolicyChoice {
    fn from(source: Arc<dyn PolicySource>) -> Self {
        Self::Source(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_write_a_name_or_a_path() {
        for (text, meant) in [
            ("fleet", "Fleet"),
            ("round-robin", "BuiltIn(RoundRobin)"),
            ("least-loaded", "BuiltIn(LeastLoaded)"),
            ("policies/spread.wasm", r#"Path("policies/spread.wasm")"#),
            ("./round-robin", r#"Path("./round-robin")"#),
        ] {
            assert_eq!(format!("{:?}", PolicyChoice::parse(text)), meant);
        }
    }
}
