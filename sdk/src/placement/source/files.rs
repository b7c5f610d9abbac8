//! A policy in a file or a directory, and when it was last written.
//!
//! Looked at now and then rather than watched: that works on every file system, and
//! through the symbolic links by which an orchestrator swaps a mounted directory.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::PolicySource;
use crate::placement::{
    LoadError,
    artifact::{PolicyArtifact, files_of, signature_of},
};

/// A policy in a file or a directory: see [`PolicyArtifact::read`] and
/// [`PolicyArtifact::read_directory`]. Looked at every two seconds.
#[derive(Clone, Debug)]
pub struct PolicyFiles {
    path: PathBuf,
    look_every: Duration,
}

impl PolicyFiles {
    /// The policy at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), look_every: Duration::from_secs(2) }
    }

    /// The same, with another time between two looks.
    #[must_use]
    pub fn look_every(self, interval: Duration) -> Self {
        Self { look_every: interval, ..self }
    }
}

#[async_trait]
impl PolicySource for PolicyFiles {
    async fn fetch(&self) -> Result<PolicyArtifact, LoadError> {
        let path = self.path.clone();
        spawn_blocking(move || read(&path)).await.map_err(|_| LoadError::ShutDown)?
    }

    async fn version(&self) -> Result<String, LoadError> {
        let path = self.path.clone();
        spawn_blocking(move || state(&path)).await.map_err(|_| LoadError::ShutDown)
    }

    fn look_every(&self) -> Option<Duration> {
        Some(self.look_every)
    }
}

/// Reads the policy at `path`.
pub(super) fn read(path: &Path) -> Result<PolicyArtifact, LoadError> {
    match path.is_dir() {
        true => PolicyArtifact::read_directory(path),
        false => PolicyArtifact::read(path),
    }
}

/// What tells one state of the files from another, without reading them: of each that is
/// there its device, number, size and time of change.
fn state(path: &Path) -> String {
    let files = match path.is_dir() {
        true => files_of(path).to_vec(),
        false => vec![path.to_owned(), signature_of(path)],
    };
    let of = |file: &PathBuf| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec()))
    };
    format!("{:?}", files.iter().map(of).collect::<Vec<_>>())
}
