//! What an instance may use, kept account of while it runs.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

use super::{
    error::{Call, PolicyError},
    instance::readable,
    limits::PolicyLimits,
    types::PolicyIdentity,
};

/// What an instance may use, and what it ran into.
pub(super) struct Bounds {
    limits: PolicyLimits,
    /// Linear memory so far, bytes, over all memories of the component.
    pub(super) memory: usize,
    /// Table elements so far, over all tables of the component.
    table: usize,
    /// CPU time of this thread at the first tick of this call. Reading it is a
    /// system call, which a decision of a few microseconds never makes.
    first_tick: Option<Duration>,
    hit: Option<Hit>,
    /// Where the stand-in for chance is.
    chance: u64,
}

#[derive(Clone, Copy)]
enum Hit {
    Memory,
    Table,
    Time,
}

impl Bounds {
    pub(super) fn new(limits: &PolicyLimits) -> Self {
        Self { limits: limits.clone(), memory: 0, table: 0, first_tick: None, hit: None, chance: 0 }
    }

    pub(super) fn begin(&mut self) {
        self.first_tick = None;
        self.hit = None;
    }

    /// The next number that only looks like chance (SplitMix64).
    pub(super) fn next_number(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// CPU time is what counts, not time on the wall: a machine that is too busy
    /// to run a policy is no fault of the policy.
    pub(super) fn over_budget(&mut self) -> bool {
        let now = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
        let first = *self.first_tick.get_or_insert(now);
        let over = now.saturating_sub(first) >= self.limits.cpu_budget;
        if over {
            self.hit = Some(Hit::Time);
        }
        over
    }

    pub(super) fn blame(&self, policy: &PolicyIdentity, call: Call, error: &wasmtime::Error) -> PolicyError {
        let policy = policy.name.clone();
        match self.hit {
            Some(Hit::Time) => PolicyError::OverTime { policy, call, budget: self.limits.cpu_budget },
            Some(Hit::Memory) => PolicyError::OverMemory { policy, call, limit: self.limits.memory_bytes },
            Some(Hit::Table) => PolicyError::OverTables { policy, call, limit: self.limits.table_elements },
            None => PolicyError::Trapped { policy, call, message: readable(format!("{error:#}")) },
        }
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, current: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(wanted.saturating_sub(current));
        let granted = total <= self.limits.memory_bytes;
        match granted {
            true => self.memory = total,
            false => self.hit = Some(Hit::Memory),
        }
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table.saturating_add(wanted.saturating_sub(current));
        let granted = total <= self.limits.table_elements;
        match granted {
            true => self.table = total,
            false => self.hit = Some(Hit::Table),
        }
        Ok(granted)
    }

    fn instances(&self) -> usize {
        PolicyLimits::INSTANCES
    }

    fn tables(&self) -> usize {
        PolicyLimits::TABLES
    }

    fn memories(&self) -> usize {
        PolicyLimits::MEMORIES
    }
}
