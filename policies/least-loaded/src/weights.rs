//! What operators may set, and the load that follows from it.

use guildhall_policy::{Candidate, InvalidSettings, Settings, Standing};

/// How much each share counts in a host's load; only their ratios matter.
///
/// Slots count double by default: the policy knows at once what it has placed,
/// while CPU and memory are as old as the host's last heartbeat. The settings, with
/// the defaults: `{"weights": {"slots": 1.0, "cpu": 0.5, "memory": 0.5}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Agents over capacity. Default 1.0.
    pub slots: f64,
    /// CPU in use. Default 0.5.
    pub cpu: f64,
    /// Memory in use. Default 0.5.
    pub memory: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { slots: 1.0, cpu: 0.5, memory: 0.5 }
    }
}

/// Reported shares are taken in steps of one twentieth.
const STEPS: f64 = 20.0;

/// What is not known counts as half: a host that does not report is neither
/// preferred nor avoided.
const UNKNOWN: f64 = 0.5;

impl Weights {
    pub(crate) fn read(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        let default = Self::default();
        settings.object("weights", |weights| {
            let read = Self {
                slots: weight(weights, "slots", default.slots)?,
                cpu: weight(weights, "cpu", default.cpu)?,
                memory: weight(weights, "memory", default.memory)?,
            };
            match read.slots + read.cpu + read.memory > 0.0 {
                true => Ok(read),
                false => Err(weights.invalid("slots", "must be above 0 when cpu and memory are 0")),
            }
        })
    }

    /// The host's load, 0 to 1, with `placed` agents more than it has reported;
    /// `None` when it takes no more.
    pub(crate) fn load(&self, host: &Candidate, placed: u32) -> Option<f64> {
        let running = host.running.saturating_add(placed);
        let takes = host.standing == Standing::Open && running < host.capacity;
        takes.then(|| self.share(host, placed.into()))
    }

    /// The host's load with so many agents more or fewer, whether it takes them or not.
    pub(crate) fn share(&self, host: &Candidate, more: i64) -> f64 {
        let running = i64::from(host.running).saturating_add(more);
        let slots = running as f64 / f64::from(host.capacity);
        let cpu = reported(host.load.cpu_fraction);
        // 0 of 0 is NaN: unknown.
        let memory = reported(host.load.memory_used as f64 / host.load.memory_total as f64);
        let weighted = self.slots * slots + self.cpu * cpu + self.memory * memory;
        weighted / (self.slots + self.cpu + self.memory)
    }
}

fn weight(weights: &mut Settings<'_>, field: &str, default: f64) -> Result<f64, InvalidSettings> {
    let weight = weights.number(field)?.unwrap_or(default);
    match (0.0..=1e6).contains(&weight) {
        true => Ok(weight),
        false => Err(weights.invalid(field, "must be from 0 to 1000000")),
    }
}

fn reported(share: f64) -> f64 {
    match share.is_finite() {
        true => f64::from((share.clamp(0.0, 1.0) * STEPS + 0.5) as u32) / STEPS,
        false => UNKNOWN,
    }
}
