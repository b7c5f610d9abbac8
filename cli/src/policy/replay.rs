//! Recorded decisions gone through again.

use std::path::PathBuf;

use anyhow::ensure;
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use guildhall::placement::{CompiledCache, Entry, Outcome, PolicyLimits, RecordedDecisions};
use serde_json::json;

use super::Subject;

#[derive(clap::Args)]
pub(crate) struct Replay {
    /// The folder that `RECORD_DECISIONS` named.
    log: PathBuf,

    /// A policy to try instead of the one that decided. Unset: the same again, which must
    /// decide the same to the byte.
    #[arg(long, value_name = "NAME|PATH")]
    policy: Option<String>,

    /// Its settings, a JSON object.
    #[arg(long, value_name = "JSON", requires = "policy")]
    settings: Option<String>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut log = RecordedDecisions::open(&self.log)?;
        let mut replay = guildhall::placement::Replay::new(CompiledCache::default(), PolicyLimits::default());
        let same_again = self.policy.is_none();
        if let Some(policy) = self.policy {
            let (_, policy, settings) =
                Subject { policy, settings: self.settings, wasi_stubs: false }.load()?;
            replay = replay.by(policy, settings);
        }
        while let Some(entry) = log.next_entry()? {
            replay.take(entry)?;
        }
        let found = replay.comparison();
        if self.json {
            println!("{}", json!(found));
        } else {
            println!("decisions   {}", found.decisions);
            println!("other host  {}", found.different);
            println!("other words {}", found.differently_said);
            println!("failed      {}", found.failed);
            if !found.differences.is_empty() {
                let mut table = Table::new();
                table.load_style(UTF8_HORIZONTAL_ONLY).set_header(["decision", "agent", "was", "is"]);
                for one in &found.differences {
                    let (agent, was) = words(&one.was);
                    table.add_row([one.decision.to_string(), agent, was, words(&one.is).1]);
                }
                println!("{table}");
            }
        }
        let changed = found.different + found.differently_said;
        ensure!(!same_again || changed == 0, "{changed} decisions are no longer what they were");
        Ok(())
    }
}

/// Whom a decision was about, and what it was.
fn words(entry: &Entry) -> (String, String) {
    match entry {
        Entry::Decided { request, outcome } => {
            let said = match outcome {
                Outcome::Placed { choice, .. } => format!("{}: {}", choice.host, choice.reason),
                Outcome::Refused(refusal) => format!("refused: {refusal}"),
                Outcome::Failed(error) => format!("failed: {error}"),
            };
            (request.key.to_string(), said)
        }
        Entry::DecidedGuild { request, said, .. } => (request.guild.to_string(), said.join("; ")),
        _ => (String::new(), String::new()),
    }
}
