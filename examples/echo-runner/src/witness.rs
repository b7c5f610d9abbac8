//! The witness: an agent that writes down that it lives, so that somebody who trusts
//! no host and no registry can tell afterwards who ran when.
//!
//! When [`DIR_VARIABLE`] names a folder, the agent opens a file of its own there as soon
//! as it knows who it is, and appends the time of `CLOCK_MONOTONIC` every few
//! milliseconds ([`INTERVAL`]) until its process ends: eight bytes each, nanoseconds,
//! little-endian. All processes of one machine read the same clock, whatever the calendar
//! says, so their files can be compared. An agent that cannot write any more ends, for a
//! life without a witness proves nothing.
//!
//! The file's [name](Witness::file_name) says whose it is. [`read_all`] reads a folder
//! of them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use crate::LaunchDocument;

/// The variable that says in which folder agents testify. It comes from the operator's
/// runner table; without it they do not.
pub const DIR_VARIABLE: &str = "WITNESS_DIR";

/// Time between two records, unless [`INTERVAL_VARIABLE`] says otherwise.
pub const INTERVAL: Duration = Duration::from_millis(5);

/// The variable that says how many milliseconds there are between two records: where there
/// are a thousand agents, their testimonies are work for the machine.
pub const INTERVAL_VARIABLE: &str = "WITNESS_INTERVAL_MS";

/// How the names of the files end.
const EXTENSION: &str = ".witness";

/// Between the parts of a name. It is not in the parts, since they are encoded.
const SEPARATOR: char = '@';

const RECORD_BYTES: usize = 8;

/// Who testifies: one process of one agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Witness {
    /// The guild.
    pub guild: String,
    /// The agent within the guild.
    pub agent: String,
    /// The incarnation.
    pub epoch: u64,
    /// The host that started it.
    pub host: String,
    /// The process.
    pub pid: u32,
}

impl Witness {
    /// The name of its file: all that is known of it, each part percent-encoded.
    pub fn file_name(&self) -> String {
        let parts = [
            encoded(&self.guild),
            encoded(&self.agent),
            self.epoch.to_string(),
            encoded(&self.host),
            self.pid.to_string(),
        ];
        parts.join(&SEPARATOR.to_string()) + EXTENSION
    }

    /// Who has a file of this name; `None` when nobody does.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(EXTENSION)?.split(SEPARATOR);
        let witness = Self {
            guild: decoded(parts.next()?)?,
            agent: decoded(parts.next()?)?,
            epoch: parts.next()?.parse().ok()?,
            host: decoded(parts.next()?)?,
            pid: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(witness)
    }
}

/// What one file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// Whose it is.
    pub witness: Witness,
    /// When it lived, nanoseconds of `CLOCK_MONOTONIC`, in the order of writing.
    pub alive_at: Vec<u64>,
}

/// The time that records carry, in nanoseconds.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Monotonic time begins at the start of the machine and is never negative.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Reads all testimonies in a folder. A record that was not written whole does not count.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn read_all(dir: &Path) -> io::Result<Vec<Testimony>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some(witness) = entry.file_name().to_str().and_then(Witness::of_file_name) else { continue };
        let bytes = fs::read(entry.path())?;
        let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
        all.push(Testimony {
            witness,
            alive_at: records.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect(),
        });
    }
    all.sort_by(|a, b| a.witness.cmp(&b.witness));
    Ok(all)
}

/// Writes the first record, and goes on in a thread until the process ends.
pub(crate) fn testify(dir: &Path, document: &LaunchDocument) -> io::Result<()> {
    let LaunchDocument { guild_id, agent_id, epoch, host_id, .. } = document;
    let witness = Witness {
        guild: guild_id.clone(),
        agent: agent_id.clone(),
        epoch: *epoch,
        host: host_id.clone(),
        pid: std::process::id(),
    };
    let mut file = OpenOptions::new().create_new(true).append(true).open(dir.join(witness.file_name()))?;
    record(&mut file)?;
    let interval = std::env::var(INTERVAL_VARIABLE).ok().and_then(|ms| ms.parse().ok());
    let interval = interval.map_or(INTERVAL, Duration::from_millis);
    thread::Builder::new().name("witness".to_owned()).spawn(move || {
        loop {
            thread::sleep(interval);
            if let Err(error) = record(&mut file) {
                eprintln!("the witness cannot write any more: {error}");
                std::process::exit(1);
            }
        }
    })?;
    Ok(())
}

fn record(file: &mut File) -> io::Result<()> {
    file.write_all(&now().to_le_bytes())
}

fn encoded(part: &str) -> String {
    let mut name = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

fn decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_whose_it_is_whatever_its_ids_are() {
        for (guild, agent) in [("g", "a"), ("../etc", "a@b%2f"), ("Älteste:1/2", "agent 7"), (".", "-_.")] {
            let witness =
                Witness { guild: guild.into(), agent: agent.into(), epoch: 7, host: "h/1".into(), pid: 42 };
            let name = witness.file_name();
            assert!(!name.contains('/') && !name.starts_with('.'), "{name}");
            assert_eq!(Witness::of_file_name(&name), Some(witness));
        }
        for name in ["", "a@b@1@h@2", "a@b@x@h@2.witness", "a@b@1@h@2@3.witness", "%zz@b@1@h@2.witness"] {
            assert_eq!(Witness::of_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_record_that_was_cut_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let witness = Witness { guild: "g".into(), agent: "a".into(), epoch: 1, host: "h".into(), pid: 2 };
        let mut bytes = [7_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat();
        bytes.extend([1, 2, 3]);
        fs::write(dir.path().join(witness.file_name()), bytes).unwrap();
        fs::write(dir.path().join("README"), "not a testimony").unwrap();
        assert_eq!(read_all(dir.path()).unwrap(), [Testimony { witness, alive_at: vec![7, 9] }]);
    }
}
