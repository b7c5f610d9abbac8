//! What came of a simulation.

use std::time::Duration;

use guildhall::placement::PolicyIdentity;
use serde::Serialize;

use super::{
    look::Look,
    notes::Notes,
    quantiles::{Quantiles, Sorted},
    reasons::Reason,
};

/// What came of one policy.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// The policy, as the user named it.
    pub(super) label: String,
    pub(super) policy: PolicyIdentity,
    pub(super) settings: serde_json::Value,
    /// Simulated seconds.
    pub(super) seconds: f64,
    /// Agents that were started, each once, but for those that were there at the beginning.
    pub(super) placed: u64,
    /// Agents that nobody took as long as they waited.
    pub(super) given_up: u64,
    /// Agents that were started again because their host had died.
    pub(super) restarted: u64,
    /// Agents that were started again because their host was leaving.
    pub(super) drained: u64,
    /// Agents that the policy moved.
    pub(super) moves: u64,
    /// Seconds from an agent's arrival, or the loss of its host, to its start.
    pub(super) wait_s: Quantiles,
    /// Load of the fullest host, of all looks at a warm fleet; 1 is full.
    pub(super) fullest: Quantiles,
    /// Mean load of all hosts, the mean of these looks.
    pub(super) mean_load: f64,
    /// Load of the fullest host over the mean load of all: 1 is even.
    pub(super) imbalance: Option<Quantiles>,
    /// Share of the free CPU that is on hosts without room for a typical large agent; none
    /// where agents have no sizes.
    pub(super) fragmentation: Option<Quantiles>,
    /// How often a host that the policy chose did not take the agent, and why.
    pub(super) refused_by_hosts: u64,
    pub(super) refused_by_hosts_for: Vec<Reason>,
    /// How often the policy found no host, and why.
    pub(super) refused_by_policy: u64,
    pub(super) refused_by_policy_for: Vec<Reason>,
    /// How often the policy failed, and how.
    pub(super) failed: u64,
    pub(super) failed_by: Vec<Reason>,
    pub(super) cost: Cost,
    /// All looks at the loads.
    pub(super) looks: Vec<Look>,
    /// Looks, of the first, that the figures above leave out.
    pub(super) too_early: usize,
    /// Loads in the end, from that of the emptiest host to that of the fullest.
    pub(super) end_loads: Vec<f64>,
    /// Waits in seconds, from the shortest to the longest.
    pub(super) waits_s: Vec<f64>,
}

/// What this machine took: all that is not the same on another one.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    /// Microseconds of a decision, in the mean.
    pub(super) decision_us: f64,
    /// Microseconds in which an engine learns of one report, in the mean.
    pub(super) report_us: f64,
    /// Seconds of the whole simulation.
    pub(super) simulation_s: f64,
}

impl Outcome {
    pub(super) fn new(
        label: String,
        (policy, settings): (PolicyIdentity, serde_json::Value),
        notes: Notes,
        took: Duration,
    ) -> Self {
        let warm = &notes.looks[notes.too_early.min(notes.looks.len())..];
        let of = |value: fn(&Look) -> Option<f64>| {
            let mut values: Vec<_> = warm.iter().filter_map(value).map(|value| (value, 1)).collect();
            values.sort_by(|one, other| one.0.total_cmp(&other.0));
            Sorted(&values).quantiles()
        };
        let waits: Vec<_> = notes.waits.iter().map(|(ms, agents)| (*ms as f64 / 1e3, *agents)).collect();
        let loads: Vec<_> = notes.loads.iter().map(|load| (*load, 1)).collect();
        let micros = |time: Duration, times: u64| time.as_secs_f64() * 1e6 / times.max(1) as f64;
        Self {
            label,
            policy,
            settings,
            seconds: notes.end.as_millis() as f64 / 1e3,
            placed: notes.placed,
            given_up: notes.given_up,
            restarted: notes.restarted,
            drained: notes.drained,
            moves: notes.moves,
            wait_s: Sorted(&waits).quantiles().unwrap_or_default(),
            fullest: of(|look| Some(look.max)).unwrap_or_default(),
            mean_load: warm.iter().map(|look| look.mean).sum::<f64>() / warm.len().max(1) as f64,
            imbalance: of(Look::imbalance),
            fragmentation: of(|look| look.fragmentation),
            refused_by_hosts: notes.refused_by_hosts,
            refused_by_hosts_for: notes.refused_by_hosts_for.most_frequent(),
            refused_by_policy: notes.refused_by_policy,
            refused_by_policy_for: notes.refused_by_policy_for.most_frequent(),
            failed: notes.failed,
            failed_by: notes.failed_by.most_frequent(),
            cost: Cost {
                decision_us: micros(notes.deciding, notes.decisions),
                report_us: micros(notes.learning, notes.reports),
                simulation_s: took.as_secs_f64(),
            },
            too_early: notes.too_early,
            end_loads: Sorted(&loads).curve(),
            waits_s: Sorted(&waits).curve(),
            looks: notes.looks,
        }
    }
}
