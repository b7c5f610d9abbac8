//! What the host measures of its machine: how busy the CPUs and the memory are.
//! In a container with a memory limit, the limit counts.

use guildhall::{host::HostLoad, resources::Amounts};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, System};

use crate::supervisor::Counts;

/// Measures. CPU use is the average since the measurement before.
pub(crate) struct LoadMeter {
    /// `None` on a system that cannot be measured.
    system: Option<System>,
}

impl LoadMeter {
    /// A meter whose first CPU figure counts from now.
    pub(crate) fn new() -> Self {
        let mut system = System::new()
            .inspect_err(|error| tracing::warn!(%error, "the machine's load cannot be measured"))
            .ok();
        if let Some(system) = &mut system {
            system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        }
        Self { system }
    }

    /// The load at this moment; a machine that cannot be measured has no memory.
    pub(crate) fn measure(&mut self, counts: Counts) -> HostLoad {
        let load = HostLoad {
            running: counts.running,
            starts_in_flight: counts.starts_in_flight,
            requested: counts.requested,
            warm: counts.warm,
            ..HostLoad::default()
        };
        let Some(system) = &mut self.system else { return load };
        system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let (memory_used, memory_total) = memory(system);
        let cpu_fraction = (f64::from(system.global_cpu_usage()) / 100.0).clamp(0.0, 1.0);
        let cpu_used_millis = (cpu_fraction * 1000.0 * system.cpus().len() as f64) as u64;
        HostLoad { cpu_fraction, cpu_used_millis, memory_used, memory_total, ..load }
    }

    /// What the machine, or the container, has for agents: its CPUs and its memory.
    pub(crate) fn allocatable(&mut self) -> Option<Amounts> {
        let memory = self.measure(Counts::default()).memory_total;
        let cpus = std::thread::available_parallelism().ok()?;
        let cpu_millis = u64::try_from(cpus.get()).unwrap_or(u64::MAX).saturating_mul(1000);
        Some(Amounts { cpu_millis, memory, ..Amounts::default() })
    }
}

/// Memory in use and memory there is, bytes, as last refreshed.
fn memory(system: &System) -> (u64, u64) {
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory < system.total_memory() => {
            (limits.total_memory.saturating_sub(limits.free_memory), limits.total_memory)
        }
        _ => (system.used_memory(), system.total_memory()),
    }
}

/// Share of the memory that nobody uses, 0.0 to 1.0; `None` where it cannot be measured.
pub(crate) fn memory_left() -> Option<f64> {
    let mut system = System::new().ok()?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let (used, total) = memory(&system);
    (total > 0).then(|| total.saturating_sub(used) as f64 / total as f64)
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
