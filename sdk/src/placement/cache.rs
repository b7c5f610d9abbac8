//! Compiled policies on disk, so that only the first process compiles one.
//!
//! A compiled policy is machine code that will run in this process, so an entry
//! is used only when nobody else can have written it (the directory is ours, and
//! no one else may even look into it) and nothing has damaged it (it begins with
//! a digest of its name and content). Whatever fails the test is compiled anew
//! and replaced. Processes share the directory without locks: an entry appears
//! whole, by a rename, or not at all. It may be deleted at any time.

use std::{
    env,
    fs::{DirBuilder, File},
    hash::{Hash, Hasher},
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat};
use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

use super::digest::Sha256Digest;

/// Where compiled policies are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledCache {
    dir: Option<PathBuf>,
}

/// Names one compiled form: of this policy, by this compiler, for this CPU.
pub(super) struct Key([u8; 32]);

impl Key {
    fn file_name(&self) -> String {
        format!("{}.compiled", Sha256Digest::from(self.0))
    }

    /// What an entry begins with. The key is in it, so that an entry under
    /// another's name is as good as damaged.
    fn seal(&self, compiled: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.0).chain_update(compiled).finalize().into()
    }
}

impl CompiledCache {
    /// No cache: each load compiles.
    pub fn off() -> Self {
        Self { dir: None }
    }

    /// A cache in `dir`, which is made (mode 0700) when it is not there. A `dir`
    /// that belongs to another user, or that others can enter, is not used.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: Some(dir.into()) }
    }

    /// The user's cache: `$XDG_CACHE_HOME/guildhall/policies`, or
    /// `~/.cache/guildhall/policies`; [off](Self::off) when neither has a home.
    pub fn of_user() -> Self {
        let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        Self { dir: home.map(|home| home.join("guildhall/policies")) }
    }

    /// The directory, unless the cache is off.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    pub(super) fn key(&self, engine: &Engine, policy: Sha256Digest) -> Key {
        let mut hash = ShaHasher(Sha256::new());
        policy.as_bytes().hash(&mut hash);
        // Compiler version, its settings, and the features of this CPU.
        engine.precompile_compatibility_hash().hash(&mut hash);
        Key(hash.0.finalize().into())
    }

    /// The compiled form, when there is one that can be trusted.
    pub(super) fn load(&self, engine: &Engine, key: &Key) -> Option<Component> {
        let dir = self.dir.as_deref()?;
        let compiled = match read(dir, key) {
            Ok(compiled) => compiled,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(dir = %dir.display(), %error, "compiled policy is not used");
                }
                return None;
            }
        };
        // SAFETY: `deserialize` must only be given what `serialize` made. `read`
        // returns bytes from a directory that only this user can enter or write,
        // sealed by a digest of key and content: they are what `store` wrote under
        // this key, and the key holds the engine's version, settings and CPU.
        // Whoever can forge that already runs code as this user.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize(engine, compiled) };
        component
            .inspect_err(|error| tracing::warn!(dir = %dir.display(), %error, "compiled policy is not used"))
            .ok()
    }

    /// Keeps a compiled form. That this fails costs a later load its time, no more.
    pub(super) fn store(&self, key: &Key, component: &Component) {
        let Some(dir) = self.dir.as_deref() else { return };
        let stored =
            component.serialize().map_err(io::Error::other).and_then(|bytes| write(dir, key, &bytes));
        if let Err(error) = stored {
            tracing::warn!(dir = %dir.display(), %error, "compiled policy is not kept");
        }
    }
}

impl Default for CompiledCache {
    /// The [user's cache](Self::of_user).
    fn default() -> Self {
        Self::of_user()
    }
}

/// Opens `dir` if it is ours alone. Entries are reached through the open
/// directory, so that nobody can swap it for another after this check.
fn open(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = File::from(openat(CWD, dir, flags, Mode::empty())?);
    let metadata = opened.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("the directory belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(io::Error::other(format!(
            "others can enter the directory (mode {mode:03o}, 700 is needed)"
        )));
    }
    Ok(opened.into())
}

fn read(dir: &Path, key: &Key) -> io::Result<Vec<u8>> {
    let dir = open(dir)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut entry = File::from(openat(dir, key.file_name(), flags, Mode::empty())?);
    let mut seal = [0; 32];
    let mut compiled = Vec::new();
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the entry is damaged");
    entry.read_exact(&mut seal).map_err(|_| damaged())?;
    entry.read_to_end(&mut compiled)?;
    match seal == key.seal(&compiled) {
        true => Ok(compiled),
        false => Err(damaged()),
    }
}

fn write(dir: &Path, key: &Key, compiled: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let dir = open(dir)?;
    let temporary = format!(".{}", uuid::Uuid::new_v4());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut entry = File::from(openat(&dir, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
    let written = entry
        .write_all(&key.seal(compiled))
        .and_then(|()| entry.write_all(compiled))
        .and_then(|()| Ok(renameat(&dir, &temporary, &dir, key.file_name())?));
    if written.is_err() {
        // The first error is the one worth telling.
        let _ = unlinkat(&dir, &temporary, AtFlags::empty());
    }
    written
}

/// Collects what a `Hash` writes into a SHA-256: the standard hasher may change
/// with the Rust version, and 64 bits are few for a name.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Never asked for: the digest is taken from the inside.
    fn finish(&self) -> u64 {
        0
    }
}
