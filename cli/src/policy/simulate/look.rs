//! One look at the loads of all hosts.

use std::time::Duration;

use serde::Serialize;

use super::{host::Host, trace::Size};

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Look {
    pub(super) at_s: f64,
    /// The mean of the hosts' loads, and the largest; 1 is a full host.
    pub(super) mean: f64,
    pub(super) max: f64,
    /// Agents without a host.
    waiting: usize,
    /// Where agents have sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fragmentation: Option<f64>,
}

/// The mean load below which the fullest host says nothing: a nearly empty fleet is never even.
const NEARLY_EMPTY: f64 = 0.05;

impl Look {
    pub(super) fn at(now: Duration, loads: &[f64], waiting: usize) -> Self {
        let sum: f64 = loads.iter().sum();
        Self {
            at_s: now.as_millis() as f64 / 1e3,
            mean: sum / loads.len().max(1) as f64,
            max: loads.iter().copied().fold(0.0, f64::max),
            waiting,
            fragmentation: None,
        }
    }

    /// How much fuller the fullest host is than the mean: 1 is even.
    pub(super) fn imbalance(&self) -> Option<f64> {
        (self.mean > NEARLY_EMPTY).then(|| self.max / self.mean)
    }

    pub(super) fn with_fragmentation(self, hosts: &[Host], typical: Size) -> Self {
        let room = |host: &Host| (host.free_cpu(), host.has_room(typical).is_ok());
        let fragmentation = (typical.cpu_millis > 0)
            .then(|| fragmentation(hosts.iter().filter(|host| host.is_open()).map(room), typical.cpu_millis));
        Self { fragmentation, ..self }
    }
}

/// The share of all free CPU that lies on hosts without room for a typical agent, which
/// all of it together could take: of each host its free CPU, and whether it has the room.
fn fragmentation(hosts: impl Iterator<Item = (u64, bool)>, typical: u64) -> f64 {
    let (mut free, mut useless) = (0_u64, 0_u64);
    for (cpu, has_room) in hosts {
        free += cpu;
        useless += if has_room { 0 } else { cpu };
    }
    if free < typical.max(1) { 0.0 } else { useless as f64 / free as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_cpu_that_takes_nobody_is_fragmented() {
        for (hosts, typical, wanted) in [
            (&[][..], 100, 0.0),
            (&[(0, false), (0, false)], 100, 0.0),
            (&[(50, false), (40, false)], 100, 0.0),
            (&[(50, false), (60, false)], 100, 1.0),
            (&[(50, false), (150, true)], 100, 0.25),
            (&[(100, true), (300, true)], 100, 0.0),
        ] {
            assert_eq!(fragmentation(hosts.iter().copied(), typical), wanted, "{hosts:?}");
        }
    }

    #[test]
    fn a_nearly_empty_fleet_has_no_imbalance() {
        let look = |loads: &[f64]| Look::at(Duration::from_secs(1), loads, 0);
        assert_eq!(look(&[0.25, 0.75]).imbalance(), Some(1.5));
        assert_eq!(look(&[0.0, 0.01]).imbalance(), None);
        assert_eq!(look(&[]).imbalance(), None);
    }
}
