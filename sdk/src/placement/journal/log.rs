//! Decisions written down, so that they can be replayed: to the byte by the policy that
//! made them, or to see what another one would have said.
//!
//! A log is a folder: `decisions.jsonl`, a line an [`Entry`], and `policies/`, each policy
//! under its digest. It begins with the service, so a replay knows all that the policy knew.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::placement::{
    artifact::PolicyArtifact,
    journal::{Entry, InCharge, Journal, Next, policy_file},
    types::PolicyIdentity,
};

/// Largest log, bytes; then it ends, and says so.
const MAX_LOG_BYTES: u64 = 1 << 30;

/// Longest line that is read back, bytes.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// How long entries may wait before they are on the disk.
const FLUSH_AFTER: Duration = Duration::from_millis(200);

const FILE: &str = "decisions.jsonl";

/// Writes a log. Dropped, it has written everything that happened until then.
#[derive(Debug)]
pub struct DecisionLog {
    writer: Option<JoinHandle<()>>,
    ending: Arc<AtomicBool>,
}

impl DecisionLog {
    /// Begins a log in a folder that has none.
    pub(in crate::placement) fn begin(folder: &Path, journal: Journal) -> io::Result<Self> {
        fs::create_dir_all(folder.join("policies"))?;
        // Who may read it may see names and labels of all agents.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(FILE))?;
        let ending = Arc::<AtomicBool>::default();
        let mut log = Writer {
            folder: folder.to_owned(),
            file: BufWriter::new(file),
            bytes: 0,
            ending: Arc::clone(&ending),
        };
        let write = move || {
            if let Err(error) = log.write(&journal) {
                tracing::error!(%error, folder = %log.folder.display(), "the log of decisions ends here");
            }
        };
        let writer = std::thread::Builder::new().name("decision-log".to_owned()).spawn(write)?;
        Ok(Self { writer: Some(writer), ending })
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

struct Writer {
    folder: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    /// Nobody waits for more than what is in the journal.
    ending: Arc<AtomicBool>,
}

impl Writer {
    fn write(&mut self, journal: &Journal) -> io::Result<()> {
        loop {
            match journal.next(FLUSH_AFTER) {
                Next::Entry(entry) => self.entry(&entry)?,
                Next::Nothing => {
                    self.file.flush()?;
                    if self.ending.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                }
                Next::End { left_behind } => {
                    self.file.flush()?;
                    return match left_behind {
                        true => Err(io::Error::other("decisions came faster than they could be written")),
                        false => Ok(()),
                    };
                }
            }
        }
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        if let Entry::Policy(InCharge { artifacts, .. }) = entry {
            for artifact in artifacts {
                fs::write(self.folder.join(policy_file(&artifact.identity())), &artifact.component)?;
            }
        }
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.bytes += line.len() as u64;
        if self.bytes > MAX_LOG_BYTES {
            self.file.flush()?;
            return Err(io::Error::other(format!("it would have more than {MAX_LOG_BYTES} bytes")));
        }
        self.file.write_all(&line)
    }
}

/// A log that is read back.
#[derive(Debug)]
pub struct RecordedDecisions {
    folder: PathBuf,
    lines: BufReader<File>,
    line: u64,
}

/// A log that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {problem}", folder.display())]
pub struct UnreadableLog {
    folder: PathBuf,
    line: u64,
    problem: String,
}

impl RecordedDecisions {
    /// Opens the log in a folder.
    ///
    /// # Errors
    /// [`UnreadableLog`] when there is none.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, UnreadableLog> {
        let folder = folder.into();
        match File::open(folder.join(FILE)) {
            Ok(file) => Ok(Self { folder, lines: BufReader::new(file), line: 0 }),
            Err(error) => Err(UnreadableLog { folder, line: 0, problem: format!("{FILE}: {error}") }),
        }
    }

    /// The next entry; `None` at the end. A policy comes with its artifacts.
    ///
    /// # Errors
    /// [`UnreadableLog`] says which line makes no sense, or which policy is missing or
    /// is another one by now.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, UnreadableLog> {
        let mut line = Vec::new();
        self.line += 1;
        let read = io::Read::take(&mut self.lines, MAX_LINE_BYTES).read_until(b'\n', &mut line);
        if read.map_err(|error| self.unreadable(error.to_string()))? == 0 {
            return Ok(None);
        }
        if !line.ends_with(b"\n") {
            // The process was killed while it wrote.
            return Ok(None);
        }
        let mut entry: Entry =
            serde_json::from_slice(&line).map_err(|error| self.unreadable(error.to_string()))?;
        if let Entry::Policy(in_charge) = &mut entry {
            let fallback = in_charge.fallback.as_ref().map(|(fallback, _)| fallback);
            let policies = [Some(&in_charge.policy), fallback].into_iter().flatten();
            in_charge.artifacts = policies.map(|policy| self.artifact(policy)).collect::<Result<_, _>>()?;
        }
        Ok(Some(entry))
    }

    fn artifact(&self, policy: &PolicyIdentity) -> Result<PolicyArtifact, UnreadableLog> {
        let file = policy_file(policy);
        let read = fs::read(self.folder.join(&file));
        let bytes = read.map_err(|error| self.unreadable(format!("{}: {error}", file.display())))?;
        let artifact = PolicyArtifact::new(policy.name.as_str(), bytes);
        match artifact.identity() == *policy {
            true => Ok(artifact),
            false => Err(self.unreadable(format!("{} is not what its name says", file.display()))),
        }
    }

    fn unreadable(&self, problem: String) -> UnreadableLog {
        UnreadableLog { folder: self.folder.clone(), line: self.line, problem }
    }
}
