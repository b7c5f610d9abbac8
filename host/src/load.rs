//! What the host measures of its machine: how busy the CPUs and the memory are.
//! In a container with a memory limit, the limit counts.

use guildhall::host::HostLoad;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, System};

use crate::supervisor::Counts;

/// Measures. CPU use is the average since the measurement before.
pub struct LoadMeter {
    system: System,
}

impl LoadMeter {
    /// A meter whose first CPU figure counts from now.
    pub fn new() -> Self {
        let mut system = System::new();
        system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_cpu_usage());
        Self { system }
    }

    /// The load at this moment.
    pub fn measure(&mut self, counts: Counts) -> HostLoad {
        self.system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_cpu_usage());
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let (memory_used, memory_total) = match self.system.cgroup_limits() {
            Some(limits) if limits.total_memory < self.system.total_memory() => {
                (limits.total_memory.saturating_sub(limits.free_memory), limits.total_memory)
            }
            _ => (self.system.used_memory(), self.system.total_memory()),
        };
        HostLoad {
            running: counts.running,
            starts_in_flight: counts.starts_in_flight,
            cpu_fraction: (f64::from(self.system.global_cpu_usage()) / 100.0).clamp(0.0, 1.0),
            memory_used,
            memory_total,
        }
    }
}

impl Default for LoadMeter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_memory_and_uses_some() {
        let load = LoadMeter::new().measure(Counts::default());
        assert!(0 < load.memory_used && load.memory_used <= load.memory_total, "{load:?}");
        assert!((0.0..=1.0).contains(&load.cpu_fraction), "{load:?}");
    }
}
