//! What is known of one host, whichever agent is asked about.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use guildhall_policy::{Candidate, Resources, Standing};

use crate::{
    classes::{Classes, OTHERS},
    usage::Usage,
    weights::{ALLOCATABLE, CPU, MEMORY, SLOTS, STARTS, Weights},
};

/// What is not known counts as half: a host that does not report is neither preferred nor
/// avoided.
pub(crate) const UNKNOWN: f32 = 0.5;

/// A host as it last reported, with what was placed there since.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Agents it takes still; 0 when it takes none.
    slots: u32,
    /// Agents placed since it reported.
    placed: u32,
    /// Their classes.
    placed_classes: Vec<String>,
    /// What was asked for of what it has; `None` when it does not say, or that does not count.
    pub(crate) usage: Option<Usage>,
    /// What a search looks at.
    pub(crate) seen: Seen,
}

/// What a search looks at of each host: little, because it looks at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// What the parts add to its score that do not depend on the agent.
    pub(crate) base: f32,
    /// Whether it takes no more agents.
    pub(crate) full: bool,
    /// Whether this agent must look at it by itself: for the length of a search.
    pub(crate) marked: bool,
    /// Classes that it has runners of that are ready: a bit for each.
    pub(crate) warm: u64,
}

impl Host {
    pub(crate) fn of(candidate: &Candidate, weights: &Weights, classes: &mut Classes) -> Self {
        let open = candidate.standing == Standing::Open;
        let mut host = Self {
            slots: if open { candidate.capacity.saturating_sub(candidate.running) } else { 0 },
            placed: 0,
            placed_classes: Vec::new(),
            usage: if weights.counts(ALLOCATABLE) { Usage::of(candidate) } else { None },
            seen: Seen { base: 0.0, full: false, marked: false, warm: 0 },
        };
        for runners in candidate.warm.iter().filter(|runners| runners.ready > 0) {
            host.seen.warm |= classes.bit(&runners.class_name);
        }
        host.sum(candidate, weights);
        host
    }

    /// Counts an agent that was placed here.
    pub(crate) fn take(
        &mut self,
        candidate: &Candidate,
        weights: &Weights,
        classes: &Classes,
        class: &str,
        asked: &Resources,
    ) {
        self.slots = self.slots.saturating_sub(1);
        self.placed = self.placed.saturating_add(1);
        if let Some(usage) = &mut self.usage {
            usage.take(asked);
        }
        if !candidate.warm.is_empty() {
            self.placed_classes.push(class.to_owned());
            if !self.has_warm(candidate, class) {
                self.seen.warm &= !classes.find(class) | OTHERS;
            }
        }
        self.sum(candidate, weights);
    }

    fn sum(&mut self, candidate: &Candidate, weights: &Weights) {
        let bases = self.bases(candidate).into_iter();
        self.seen.base = bases.map(|(part, worth)| weights.of(part, worth)).sum();
        self.seen.full = self.slots == 0;
    }

    /// Whether a runner of the class is ready that no agent was placed for since.
    pub(crate) fn has_warm(&self, candidate: &Candidate, class: &str) -> bool {
        let ready = candidate.warm.iter().filter(|runners| runners.class_name == class);
        let ready: u64 = ready.map(|runners| u64::from(runners.ready)).sum();
        let taken = self.placed_classes.iter().filter(|placed| *placed == class).count();
        ready > taken as u64
    }

    /// What each part is worth that does not depend on the agent, from 0 to 1.
    pub(crate) fn bases(&self, candidate: &Candidate) -> [(usize, f32); 4] {
        let load = &candidate.load;
        let starting = f64::from(load.starts_in_flight) + f64::from(self.placed);
        [
            (SLOTS, self.slots as f32 / candidate.capacity.max(1) as f32),
            (CPU, left(load.cpu_fraction)),
            // 0 of 0 is NaN: unknown.
            (MEMORY, left(load.memory_used as f64 / load.memory_total as f64)),
            (STARTS, (1.0 / (1.0 + starting)) as f32),
        ]
    }
}

/// What is left of a share in use.
fn left(used: f64) -> f32 {
    match used.is_finite() {
        true => 1.0 - used.clamp(0.0, 1.0) as f32,
        false => UNKNOWN,
    }
}
