//! Which compiler makes which bytes: the file beside the components.
//!
//! The same source gives the same bytes with the same compiler only, so a check
//! has to know what to expect of the one that is at hand.

use std::{fmt::Write, fs, path::Path};

use anyhow::Context;
use sha2::{Digest, Sha256};

/// The file's name.
pub(crate) const FILE: &str = "built-by.txt";

const HEADER: &str = "\
# What each compiler makes of the stock policies: SHA-256, policy, compiler.
# The components beside this file are those of the first compiler.
# Written by `cargo run --release -p xtask -- policies`.
";

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sha256: String,
    pub(crate) policy: String,
    pub(crate) compiler: String,
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub(crate) fn read(components: &Path) -> anyhow::Result<Vec<Entry>> {
    let path = components.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut word =
                || words.next().map(str::to_owned).with_context(|| format!("not an entry: {line}"));
            Ok(Entry { sha256: word()?, policy: word()?, compiler: word()? })
        })
        .collect()
}

pub(crate) fn write(components: &Path, entries: &[Entry]) -> anyhow::Result<()> {
    let lines: String = entries
        .iter()
        .map(|Entry { sha256, policy, compiler }| format!("{sha256} {policy} {compiler}\n"))
        .collect();
    fs::write(components.join(FILE), format!("{HEADER}{lines}")).context("cannot write the record")
}
