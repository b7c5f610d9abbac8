//! The policies beside each other: a column each, on the terminal and on the page.

use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};

use super::{outcome::Outcome, quantiles::Quantiles, reasons::Reason};

/// Reasons that are shown of each kind.
const REASONS: usize = 3;

/// What a line is about, and what it says of each policy.
pub(super) struct Line {
    pub(super) about: String,
    pub(super) says: Vec<String>,
}

/// What is said of every policy.
type Figure = (&'static str, fn(&Outcome) -> String);

const STARTED: [Figure; 10] = [
    ("agents started", |o| o.placed.to_string()),
    ("given up after waiting", |o| o.given_up.to_string()),
    ("started again, for their host died", |o| o.restarted.to_string()),
    ("started again, for their host was leaving", |o| o.drained.to_string()),
    ("moved by the policy", |o| o.moves.to_string()),
    ("wait, p50 / p99 / max, s", |o| show(Some(o.wait_s), 1)),
    ("mean load", |o| format!("{:.3}", o.mean_load)),
    ("fullest host / mean, p50 / p99 / max", |o| show(o.imbalance, 2)),
    ("fragmentation, p50 / p99 / max", |o| show(o.fragmentation, 3)),
    ("chosen host refused", |o| o.refused_by_hosts.to_string()),
];

const COSTS: [Figure; 4] = [
    ("a decision, µs of this machine", |o| format!("{:.1}", o.cost.decision_us)),
    ("a report, µs of this machine", |o| format!("{:.1}", o.cost.report_us)),
    ("the simulation, s of this machine", |o| format!("{:.1}", o.cost.simulation_s)),
    ("sha256", |o| format!("{:.12}", o.policy.sha256)),
];

/// All that is said, line by line.
pub(super) fn lines(outcomes: &[Outcome]) -> Vec<Line> {
    let figure =
        |(about, say): &Figure| Line { about: (*about).to_owned(), says: outcomes.iter().map(say).collect() };
    let mut lines: Vec<Line> = STARTED.iter().map(figure).collect();
    lines.extend(reasons(outcomes, |o| &o.refused_by_hosts_for));
    lines.push(figure(&("policy found no host", |o| o.refused_by_policy.to_string())));
    lines.extend(reasons(outcomes, |o| &o.refused_by_policy_for));
    lines.push(figure(&("policy failed", |o| o.failed.to_string())));
    lines.extend(reasons(outcomes, |o| &o.failed_by));
    lines.extend(COSTS.iter().map(figure));
    lines
}

/// A line for each of the first reasons that any policy has.
fn reasons(outcomes: &[Outcome], of: fn(&Outcome) -> &Vec<Reason>) -> Vec<Line> {
    let mut known: Vec<&str> = Vec::new();
    for reason in outcomes.iter().flat_map(|outcome| of(outcome).iter().take(REASONS)) {
        if !known.contains(&reason.reason.as_str()) {
            known.push(&reason.reason);
        }
    }
    let times = |outcome: &Outcome, wanted: &str| {
        of(outcome).iter().find(|reason| reason.reason == wanted).map_or(0, |reason| reason.times).to_string()
    };
    let line = |reason: &str| Line {
        about: format!("  {reason}"),
        says: outcomes.iter().map(|outcome| times(outcome, reason)).collect(),
    };
    known.into_iter().map(line).collect()
}

pub(super) fn table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    let labels = outcomes.iter().map(|outcome| outcome.label.clone());
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header([String::new()].into_iter().chain(labels));
    for Line { about, says } in lines(outcomes) {
        table.add_row([about].into_iter().chain(says));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn show(quantiles: Option<Quantiles>, digits: usize) -> String {
    quantiles.map_or("–".to_owned(), |Quantiles { p50, p99, max }| {
        format!("{p50:.digits$} / {p99:.digits$} / {max:.digits$}")
    })
}
