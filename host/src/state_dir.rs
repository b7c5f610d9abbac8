//! What a host remembers across its processes: which lease the one before held, and that
//! nothing of it runs any more.
//!
//! There is one file for each host id, and a lock on it. The process that has the lock
//! gives it to its fence as well, and the kernel frees it only when both are gone. So
//! whoever gets it knows that the process before has ended with all its agents, and may
//! bury the lease that is written there.
//!
//! This holds as long as the folder is the machine's own: a lock in a network file system
//! may not be known to other machines, or be lost; and on a volume that can be moved to
//! another machine it says nothing of the one that it was taken from.

use std::{
    fmt::Write as _,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use guildhall::{host::LeaseId, ids::HostId, placement::Sha256Digest};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::geteuid,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How often the lock is tried while another has it.
const RETRY: Duration = Duration::from_millis(20);

/// Longest name that is used as it is, bytes. Most file systems allow 255.
const LONGEST_NAME: usize = 200;

/// What is changed by every boot of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDirError {
    /// Another process has it, or the fence of one that is dead, which has not ended all
    /// its agents.
    #[error("{} is locked: another host has this id and this folder, or what is left of one", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct State {
    lease: LeaseId,
    /// For people: a lease of another boot ended with that.
    boot_id: String,
}

/// The state of a host, locked until this and all copies of its descriptor are closed.
#[derive(Debug)]
pub struct Locked {
    path: PathBuf,
    file: File,
    predecessor: Option<LeaseId>,
}

impl Locked {
    /// The last lease that the process before noted. Nothing runs under it any more, so it
    /// may be buried. `None` when there was none, or it is not known.
    pub fn predecessor(&self) -> Option<&LeaseId> {
        self.predecessor.as_ref()
    }

    /// Notes the lease under which this process runs agents from now on, so before it
    /// registers that, and after it has buried the [`predecessor`](Self::predecessor).
    /// Waits for the disk.
    ///
    /// When the disk does not take it, it is logged, and nothing is noted: then the next
    /// process does not know this one's lease, which is buried as any other host's.
    pub fn note(&self, lease: &LeaseId) {
        if let Err(error) = self.write(lease) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the lease is not noted; a restart of this host takes longer to take effect");
        }
    }

    /// In place, since a new file in this one's place would have no lock. Whatever
    /// interrupts it leaves a file that is no JSON, and so names no lease.
    fn write(&self, lease: &LeaseId) -> io::Result<()> {
        self.file.set_len(0)?;
        let boot_id = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
        let state = State { lease: lease.clone(), boot_id: boot_id.trim().to_owned() };
        let written = self.file.write_all_at(&serde_json::to_vec(&state)?, 0);
        let written = written.and_then(|()| self.file.sync_data());
        written.inspect_err(|_| drop(self.file.set_len(0)))
    }

    /// A copy of the descriptor with the lock, to be held by the fence.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn hold(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }
}

impl AsFd for Locked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Locks the state of `host` in the folder `dir`, which must be the machine's own, and
/// waits for as long as `within` while another has it: the fence of a process that has
/// just ended may still be at its work.
///
/// # Errors
/// [`StateDirError`].
pub async fn lock(dir: &Path, host: &HostId, within: Duration) -> Result<Locked, StateDirError> {
    let path = dir.join(file_name(host));
    let until = Instant::now() + within;
    loop {
        match try_lock(&path) {
            Ok(Some(file)) => {
                let predecessor = read(&file);
                return Ok(Locked { path, file, predecessor });
            }
            Ok(None) if Instant::now() >= until => return Err(StateDirError::Locked { path }),
            Ok(None) => tokio::time::sleep(RETRY).await,
            Err(source) => return Err(StateDirError::Io { path, source }),
        }
    }
}

/// Answers with the file when it is locked now, and `None` when another has the lock.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        // The folder may be one that everybody writes to, and what the file says is trusted.
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags(libc::O_NOFOLLOW).open(path)?;
        let own = file.metadata()?;
        if own.uid() != geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        // Somebody may have removed it in between, as cleaners of temporary files do. Then
        // the next to come would make another, and lock that.
        match path.metadata() {
            Ok(there) if (there.dev(), there.ino()) == (own.dev(), own.ino()) => return Ok(Some(file)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

fn read(file: &File) -> Option<LeaseId> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut &*file, &mut text).ok()?;
    let state: State = serde_json::from_slice(&text).ok()?;
    Some(state.lease).filter(|lease| *lease != LeaseId::default())
}

/// A name that no other host id has.
fn file_name(host: &HostId) -> String {
    let mut name = String::new();
    for byte in host.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(byte.into()),
            _ => write!(name, "%{byte:02X}").unwrap_or_default(),
        }
    }
    if name.len() > LONGEST_NAME {
        name = Sha256Digest::of(host.as_str().as_bytes()).to_string();
    }
    name + ".lease"
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn host(id: &str) -> HostId {
        HostId::new(id).unwrap()
    }

    #[test]
    fn each_host_has_a_file() {
        assert_eq!(file_name(&host("host-1.example")), "host-1.example.lease");
        assert_eq!(file_name(&host("../a b%ü")), "..%2Fa%20b%25%C3%BC.lease");
        let long = [file_name(&host(&"a".repeat(256))), file_name(&host(&"a".repeat(255)))];
        assert!(long[0] != long[1] && long.iter().all(|name| name.len() < 255), "{long:?}");
    }

    #[tokio::test]
    async fn what_was_noted_is_told_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let take = async || lock(dir.path(), &host("h"), SOON).await;
        let leases = [LeaseId::fresh(), LeaseId::fresh()];
        let first = take().await.unwrap();
        assert_eq!(first.predecessor(), None);
        leases.iter().for_each(|lease| first.note(lease));
        drop(first);
        let second = take().await.unwrap();
        assert_eq!(second.predecessor(), Some(&leases[1]), "the last counts");
        drop(second);
        assert_eq!(take().await.unwrap().predecessor(), Some(&leases[1]), "the second noted none");
        let other = lock(dir.path(), &host("other"), SOON).await.unwrap();
        assert_eq!(other.predecessor(), None);
    }

    #[tokio::test]
    async fn only_one_has_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path(), &host("h"), SOON).await.unwrap();
        let hold = first.hold().unwrap();
        drop(first);
        let refused = lock(dir.path(), &host("h"), RETRY * 2).await.unwrap_err();
        assert!(matches!(refused, StateDirError::Locked { .. }), "{refused}");
        let waiting = tokio::spawn({
            let dir = dir.path().to_owned();
            async move { lock(&dir, &host("h"), SOON).await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(hold);
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_file_that_says_nothing_is_no_mistake() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.lease");
        let fine = format!("{{\"lease\":\"{}\",\"boot_id\":\"b\"}}", LeaseId::fresh().as_str());
        for torn in [&fine[..fine.len() - 1], "", "{}", "\0\0\0", "{\"lease\":\"\",\"boot_id\":\"\"}"] {
            std::fs::write(&path, torn).unwrap();
            let locked = lock(dir.path(), &host("h"), SOON).await.unwrap();
            assert_eq!(locked.predecessor(), None, "{torn:?}");
        }
        std::fs::write(&path, &fine).unwrap();
        assert!(lock(dir.path(), &host("h"), SOON).await.unwrap().predecessor().is_some());
        // Nor is what another put in the way trusted.
        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        let refused = lock(dir.path(), &host("h"), SOON).await.unwrap_err();
        assert!(matches!(refused, StateDirError::Io { .. }), "{refused}");
        let nowhere = lock(&dir.path().join("none"), &host("h"), SOON).await.unwrap_err();
        assert!(matches!(nowhere, StateDirError::Io { .. }), "{nowhere}");
    }

    #[tokio::test]
    async fn a_full_disk_leaves_no_lease_rather_than_a_wrong_one() {
        let file = File::options().read(true).write(true).open("/dev/full").unwrap();
        let locked = Locked { path: "/dev/full".into(), file, predecessor: None };
        assert!(locked.write(&LeaseId::fresh()).is_err());
        locked.note(&LeaseId::fresh());
    }
}
