//! What the suite found: `chaos.json`, a summary to read, and the tables of
//! `docs/reliability.md`.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{nemesis::Fault, planted::Bug, redis::Setup, scenario::Outcome};

/// Whether a planted bug was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Found {
    /// The checker found what the bug does.
    Caught,
    /// It did not.
    Missed,
}

/// Milliseconds; `None` where nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    /// Half are at most this.
    p50: Option<f64>,
    /// 99 of 100 are at most this.
    p99: Option<f64>,
    /// All are at most this.
    max: Option<f64>,
}

impl Percentiles {
    /// Of nanoseconds, in any order.
    fn of(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        // The nearest rank: a value that was measured.
        let at = |share: f64| {
            let rank = (share * nanos.len() as f64).ceil() as usize;
            nanos.get(rank.saturating_sub(1)).map(|nanos| (*nanos as f64 / 1e5).round() / 10.0)
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// All runs together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    seed: u64,
    faults: BTreeMap<String, u64>,
    overlaps: u64,
    lost: u64,
    stale_writes_accepted: u64,
    failover_ms: Percentiles,
    planted: BTreeMap<String, Found>,
    epoch_regressions: u64,
    revived: u64,
    stale_writes_refused: u64,
    failovers: u64,
    ended_in_outages: u64,
    died_with_host: u64,
    processes: u64,
    accepted: u64,
    stopped: u64,
    in_doubt: u64,
    hosts_ended_by_themselves: u64,
    hosts: usize,
    lease_ms: u128,
    seconds: BTreeMap<String, u64>,
    /// Nanoseconds, until they are summed up.
    #[serde(skip)]
    times: Vec<u64>,
}

impl Report {
    /// Nothing was run yet.
    pub(crate) fn new(seed: u64, hosts: usize, lease: std::time::Duration) -> Self {
        Self {
            seed,
            hosts,
            lease_ms: lease.as_millis(),
            faults: BTreeMap::new(),
            overlaps: 0,
            lost: 0,
            stale_writes_accepted: 0,
            failover_ms: Percentiles::default(),
            planted: BTreeMap::new(),
            epoch_regressions: 0,
            revived: 0,
            stale_writes_refused: 0,
            failovers: 0,
            ended_in_outages: 0,
            died_with_host: 0,
            processes: 0,
            accepted: 0,
            stopped: 0,
            in_doubt: 0,
            hosts_ended_by_themselves: 0,
            seconds: BTreeMap::new(),
            times: Vec::new(),
        }
    }

    /// Adds a run of the product as it is.
    pub(crate) fn add(&mut self, setup: Setup, outcome: &Outcome) {
        for (fault, times) in &outcome.faults {
            *self.faults.entry(fault.clone()).or_default() += times;
        }
        self.overlaps += outcome.overlaps.len() as u64;
        self.lost += outcome.lost.len() as u64;
        self.stale_writes_accepted += outcome.stale_writes.len() as u64;
        self.epoch_regressions += outcome.regressions.len() as u64;
        self.revived += outcome.revived.len() as u64;
        self.stale_writes_refused += outcome.stale_writes_refused;
        self.ended_in_outages += outcome.ended_in_outages.len() as u64;
        self.died_with_host += outcome.died_with_host;
        self.processes += outcome.processes;
        self.accepted += outcome.accepted;
        self.stopped += outcome.stopped;
        self.in_doubt += outcome.in_doubt;
        self.hosts_ended_by_themselves += outcome.hosts_ended;
        self.times.extend(&outcome.failovers);
        self.failovers = self.times.len() as u64;
        self.failover_ms = Percentiles::of(self.times.clone());
        *self.seconds.entry(format!("{setup:?}").to_lowercase()).or_default() += outcome.seconds;
    }

    /// Adds a run with a planted bug. Found is what breaks a promise, not what is lost:
    /// such a run is too short to know.
    pub(crate) fn add_planted(&mut self, bug: Bug, outcome: &Outcome) {
        let harm = outcome.overlaps.len() + outcome.regressions.len() + outcome.stale_writes.len();
        let found = if harm > 0 { Found::Caught } else { Found::Missed };
        self.planted.insert(bug.name().to_owned(), found);
    }

    /// Whether all that must hold held, and each planted bug was found.
    pub(crate) fn is_clean(&self) -> bool {
        self.overlaps + self.lost + self.revived + self.stale_writes_accepted + self.epoch_regressions == 0
            && self.planted.values().all(|found| *found == Found::Caught)
    }

    /// Writes `chaos.json` into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let file = folder.join("chaos.json");
        fs::write(&file, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(file)
    }

    /// The figures, as a table in Markdown.
    pub(crate) fn figures(&self) -> String {
        let ms = |value: Option<f64>| value.map_or("–".to_owned(), |ms| format!("{ms:.0} ms"));
        let faults: u64 = self.faults.values().sum();
        let runs: Vec<_> =
            self.seconds.iter().map(|(setup, seconds)| format!("{setup}: {seconds} s")).collect();
        let mut rows = vec![
            ("seed".to_owned(), self.seed.to_string()),
            ("hosts, lease".to_owned(), format!("{}, {} ms", self.hosts, self.lease_ms)),
            ("Redis, and for how long".to_owned(), runs.join(", ")),
            ("faults injected".to_owned(), format!("{faults}, of {} kinds", self.faults.len())),
            (
                "launches accepted, stops carried out".to_owned(),
                format!("{}, {}", self.accepted, self.stopped),
            ),
            ("agents' processes".to_owned(), self.processes.to_string()),
            ("**overlaps found**".to_owned(), self.overlaps.to_string()),
            ("**agents lost**".to_owned(), self.lost.to_string()),
            ("agents that live though they were stopped".to_owned(), self.revived.to_string()),
            ("epochs that did not grow".to_owned(), self.epoch_regressions.to_string()),
            (
                "stale writes accepted, refused".to_owned(),
                format!("{}, {}", self.stale_writes_accepted, self.stale_writes_refused),
            ),
            ("agents that ended while only Redis was away".to_owned(), self.ended_in_outages.to_string()),
            (
                "host's death to agent running elsewhere: p50, p99, longest".to_owned(),
                format!(
                    "{}, {}, {} (of {})",
                    ms(self.failover_ms.p50),
                    ms(self.failover_ms.p99),
                    ms(self.failover_ms.max),
                    self.failovers
                ),
            ),
        ];
        rows.extend(self.planted.iter().map(|(bug, found)| {
            let found = if *found == Found::Caught { "caught" } else { "missed" };
            (format!("planted bug `{bug}`"), found.to_owned())
        }));
        table(["figure", "value"], &rows)
    }
}

/// The faults and what must come of them, as a table in Markdown.
fn faults(done: &BTreeMap<String, u64>) -> String {
    let mut text =
        "| fault | what is done | what must come of it | times |\n| --- | --- | --- | --- |\n".to_owned();
    for fault in Fault::ALL {
        let times = done.get(fault.name()).copied().unwrap_or(0);
        let _ = writeln!(text, "| `{}` | {} | {} | {times} |", fault.name(), fault.what(), fault.expected());
    }
    text
}

fn table(head: [&str; 2], rows: &[(String, String)]) -> String {
    let mut text = format!("| {} | {} |\n| --- | --- |\n", head[0], head[1]);
    for (left, right) in rows {
        let _ = writeln!(text, "| {left} | {right} |");
    }
    text
}

/// Puts the tables of a report between the marks of a page.
pub(crate) fn write_docs(report: &Report, page: &Path) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("{} cannot be read", page.display()))?;
    let text = between(&text, "figures", &report.figures())?;
    let text = between(&text, "faults", &faults(&report.faults))?;
    Ok(fs::write(page, text)?)
}

/// A page with something else between the marks of this name.
fn between(page: &str, name: &str, new: &str) -> Result<String> {
    let begin = format!("<!-- {name}: made by `make chaos ARGS=--write-docs` -->\n");
    let end = format!("<!-- end of {name} -->\n");
    let from = page.find(&begin).with_context(|| format!("there is no line {begin:?}"))? + begin.len();
    let to = page[from..].find(&end).with_context(|| format!("there is no line {end:?}"))? + from;
    Ok(format!("{}{new}{}", &page[..from], &page[to..]))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            faults: [("host-kill".to_owned(), 2)].into(),
            failovers: (1..=100).map(|n| n * 1_000_000).rev().collect(),
            ..Outcome::default()
        }
    }

    #[test]
    fn the_report_has_the_form_that_was_promised() {
        let mut report = Report::new(7, 5, Duration::from_secs(2));
        report.add(Setup::Single, &outcome());
        report.add(Setup::Cluster, &outcome());
        report
            .add_planted(Bug::NoSelfFence, &Outcome { overlaps: vec!["found".into()], ..Outcome::default() });
        assert!(report.is_clean());
        report
            .add_planted(Bug::IgnoreStaleEpochs, &Outcome { lost: vec!["one".into()], ..Outcome::default() });
        assert!(!report.is_clean());
        let json: serde_json::Value = serde_json::to_value(&report).unwrap();
        assert_eq!(json["seed"], 7);
        assert_eq!(json["faults"]["host-kill"], 4);
        for count in ["overlaps", "lost", "stale_writes_accepted"] {
            assert_eq!(json[count], 0, "{count}");
        }
        let wanted = serde_json::json!({"p50": 50.0, "p99": 99.0, "max": 100.0});
        assert_eq!(json["failover_ms"], wanted);
        assert_eq!(json["planted"]["no-self-fence"], "caught");
        assert_eq!(json["planted"]["ignore-stale-epochs"], "missed");
    }

    #[test]
    fn what_breaks_a_promise_makes_a_report_unclean() {
        let one = || vec!["found".to_owned()];
        for outcome in [
            Outcome { overlaps: one(), ..outcome() },
            Outcome { lost: one(), ..outcome() },
            Outcome { regressions: one(), ..outcome() },
            Outcome { revived: one(), ..outcome() },
            Outcome { stale_writes: one(), ..outcome() },
        ] {
            let mut report = Report::new(7, 5, Duration::from_secs(2));
            report.add(Setup::Single, &outcome);
            assert!(!report.is_clean() && !outcome.is_clean(), "{outcome:?}");
        }
    }

    #[test]
    fn nothing_measured_is_said_to_be_so() {
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
        assert!(Report::new(7, 5, Duration::from_secs(2)).figures().contains("–, –, – (of 0)"));
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page =
            "a\n<!-- figures: made by `make chaos ARGS=--write-docs` -->\nold\n<!-- end of figures -->\nb\n";
        let new = between(page, "figures", "new\n").unwrap();
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(between(&new, "figures", "new\n").unwrap(), new);
        assert!(between(page, "faults", "new\n").is_err());
    }
}
