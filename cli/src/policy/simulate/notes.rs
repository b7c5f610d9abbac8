//! What is noted while a simulation goes on.

use std::{collections::BTreeMap, time::Duration};

use guildhall::placement::{PlaceError, Refusal};

use super::{look::Look, reasons::Reasons};

#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Agents that were started, each once.
    pub(super) placed: u64,
    /// Agents that nobody took as long as they waited.
    pub(super) given_up: u64,
    /// Agents that needed another host because theirs had died, or was leaving.
    pub(super) restarted: u64,
    pub(super) drained: u64,
    /// Agents that the policy moved.
    pub(super) moves: u64,
    /// How many agents waited how many milliseconds.
    pub(super) waits: BTreeMap<u64, u64>,
    /// How often a host that the policy chose took no agent, and why.
    pub(super) refused_by_hosts: u64,
    pub(super) refused_by_hosts_for: Reasons,
    /// How often the policy found no host, and why.
    pub(super) refused_by_policy: u64,
    pub(super) refused_by_policy_for: Reasons,
    /// How often the policy failed, and how.
    pub(super) failed: u64,
    pub(super) failed_by: Reasons,
    /// All looks, and how many of the first were before the fleet was warm.
    pub(super) looks: Vec<Look>,
    pub(super) too_early: usize,
    /// The end, and the loads of all hosts then, in order.
    pub(super) end: Duration,
    pub(super) loads: Vec<f64>,
    /// Of this machine's time.
    pub(super) decisions: u64,
    pub(super) deciding: Duration,
    pub(super) reports: u64,
    pub(super) learning: Duration,
}

impl Notes {
    pub(super) fn waited(&mut self, wait: Duration) {
        *self.waits.entry(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)).or_default() += 1;
    }

    pub(super) fn looked(&mut self, look: Look, is_warm: bool) {
        self.looks.push(look);
        self.too_early += usize::from(!is_warm);
    }

    pub(super) fn decided(&mut self, took: Duration) {
        self.decisions += 1;
        self.deciding += took;
    }

    pub(super) fn learned(&mut self, took: Duration, reports: usize) {
        self.reports += reports as u64;
        self.learning += took;
    }

    pub(super) fn host_refused(&mut self, why: &str) {
        self.refused_by_hosts += 1;
        self.refused_by_hosts_for.add(why, 0);
    }

    /// A refusal counts for each reason that the policy gives for some hosts, or for its
    /// own when it gives none.
    pub(super) fn policy_refused(&mut self, refusal: Refusal) {
        self.refused_by_policy += 1;
        for rejection in &refusal.rejections {
            self.refused_by_policy_for.add(&rejection.reason, rejection.count);
        }
        if refusal.rejections.is_empty() {
            self.refused_by_policy_for.add(&refusal.reason, 0);
        }
    }

    pub(super) fn failed(&mut self, error: &PlaceError) {
        self.failed += 1;
        self.failed_by.add(&error.to_string(), 0);
    }

    pub(super) fn ended(&mut self, now: Duration, loads: Vec<f64>) {
        self.end = now;
        self.loads = loads;
    }
}
