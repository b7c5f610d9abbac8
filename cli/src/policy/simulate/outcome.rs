//! What came of a simulation.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use guildhall::placement::PolicyIdentity;
use serde::Serialize;

/// What came of one policy.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    policy: PolicyIdentity,
    /// Agents that were started, each once.
    placed: u64,
    /// Agents that nobody took as long as they waited.
    given_up: u64,
    /// Agents that were started again because their host had died.
    moved: u64,
    /// Seconds from an agent's arrival to its start.
    wait_s: Quantiles,
    /// Load of the fullest host over the mean load of all: 1 is even.
    imbalance: Quantiles,
    /// How often a host that the policy chose was full or dead.
    refused_by_hosts: u64,
    /// How often the policy found no host.
    refused_by_policy: u64,
    /// How often the policy failed.
    failed: u64,
    /// Microseconds of this machine that a decision took, in the mean.
    decision_us: f64,
}

/// Some of many values, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
    max: f64,
}

/// What is noted while the simulation goes on.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) placed: u64,
    pub(super) given_up: u64,
    pub(super) moved: u64,
    pub(super) refused_by_hosts: u64,
    pub(super) refused_by_policy: u64,
    pub(super) failed: u64,
    pub(super) decisions: u64,
    pub(super) deciding: Duration,
    /// How many agents waited how many milliseconds.
    waits: BTreeMap<u64, u64>,
    imbalance: Vec<f64>,
}

impl Notes {
    pub(super) fn waited(&mut self, wait: Duration) {
        *self.waits.entry(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)).or_default() += 1;
    }

    /// Takes a look at the loads of all living hosts.
    pub(super) fn look(&mut self, loads: impl Iterator<Item = f64>) {
        let (mut hosts, mut sum, mut max) = (0_u32, 0.0, 0.0_f64);
        for load in loads {
            (hosts, sum, max) = (hosts + 1, sum + load, max.max(load));
        }
        let mean = sum / f64::from(hosts.max(1));
        // A nearly empty fleet is never even.
        if mean > 0.05 {
            self.imbalance.push(max / mean);
        }
    }

    pub(super) fn outcome(mut self, policy: PolicyIdentity) -> Outcome {
        self.imbalance.sort_by(f64::total_cmp);
        let imbalance = |share: f64| match self.imbalance.len() {
            0 => 1.0,
            values => self.imbalance[((values - 1) as f64 * share).round() as usize],
        };
        let wait = |share: f64| {
            let wanted = (self.waits.values().sum::<u64>() as f64 * share).ceil() as u64;
            let mut seen = 0;
            let found = self.waits.iter().find(|(_, agents)| {
                seen += **agents;
                seen >= wanted
            });
            found.map_or(0.0, |(ms, _)| *ms as f64 / 1e3)
        };
        Outcome {
            policy,
            placed: self.placed,
            given_up: self.given_up,
            moved: self.moved,
            wait_s: Quantiles { p50: wait(0.5), p99: wait(0.99), max: wait(1.0) },
            imbalance: Quantiles { p50: imbalance(0.5), p99: imbalance(0.99), max: imbalance(1.0) },
            refused_by_hosts: self.refused_by_hosts,
            refused_by_policy: self.refused_by_policy,
            failed: self.failed,
            decision_us: self.deciding.as_secs_f64() * 1e6 / self.decisions.max(1) as f64,
        }
    }
}

/// A line of the table: what it is about, and what it says of each policy.
type Line = (&'static str, fn(&Outcome) -> String);

impl Outcome {
    /// A column a policy.
    pub(super) fn table(outcomes: &[Self]) -> Table {
        let lines: [Line; 10] = [
            ("agents started", |o| o.placed.to_string()),
            ("given up after waiting", |o| o.given_up.to_string()),
            ("started again, for their host died", |o| o.moved.to_string()),
            ("wait, p50 / p99 / max, s", |o| o.wait_s.show(1)),
            ("fullest host / mean, p50 / p99 / max", |o| o.imbalance.show(2)),
            ("chosen host was full or dead", |o| o.refused_by_hosts.to_string()),
            ("policy found no host", |o| o.refused_by_policy.to_string()),
            ("policy failed", |o| o.failed.to_string()),
            ("a decision, µs of this machine", |o| format!("{:.1}", o.decision_us)),
            ("sha256", |o| format!("{:.12}", o.policy.sha256)),
        ];
        let mut table = Table::new();
        let names = outcomes.iter().map(|outcome| outcome.policy.name.clone());
        table.load_style(UTF8_HORIZONTAL_ONLY).set_header([String::new()].into_iter().chain(names));
        for (what, say) in lines {
            table.add_row([what.to_owned()].into_iter().chain(outcomes.iter().map(say)));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

impl Quantiles {
    fn show(&self, digits: usize) -> String {
        format!("{:.digits$} / {:.digits$} / {:.digits$}", self.p50, self.p99, self.max)
    }
}
