//! What a policy may use.

use std::time::Duration;

/// What one instance of a policy may use. A policy that wants more fails, alone:
/// that decision has an error, and the next one is made by a fresh instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLimits {
    /// Memory, bytes. The default is 16 MiB; the stock policies with 10,000 hosts
    /// of five labels each stay under half of it.
    pub memory_bytes: usize,
    /// Table elements. The default is 10,000; a stock policy has under 100.
    pub table_elements: usize,
    /// CPU time of one call (a decision, or learning of up to 256 changes). The
    /// default is 50 ms; it is measured in steps of 10 ms.
    pub cpu_budget: Duration,
}

impl PolicyLimits {
    /// Core instances, memories and tables of a component. One of each is usual;
    /// `wit-component` adds instances of its own for some components.
    pub(super) const INSTANCES: usize = 16;
    pub(super) const TABLES: usize = 16;
    pub(super) const MEMORIES: usize = 4;
}

impl Default for PolicyLimits {
    fn default() -> Self {
        Self { memory_bytes: 16 << 20, table_elements: 10_000, cpu_budget: Duration::from_millis(50) }
    }
}
