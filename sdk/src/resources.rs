//! What an agent says it needs: resources and quality of service.
//!
//! Both come from the agent's spec and travel to the policy. Guildhall itself enforces
//! neither.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// What an agent asks of its host; `None` where its spec says nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// CPUs, in whole CPUs: `0.5` is half of one.
    pub num_cpus: Option<f64>,
    /// GPUs, in whole GPUs.
    pub num_gpus: Option<f64>,
    /// Resources that the operator named, in the operator's own units.
    pub custom_resources: BTreeMap<String, f64>,
}

/// The custom resource that is memory, in bytes.
const MEMORY: &str = "memory";

/// How much a host has, or agents ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Memory, bytes.
    pub memory: u64,
    /// Thousandths of an accelerator, such as a GPU.
    pub accelerator_millis: u64,
    /// Resources that the operator named, in the operator's own units.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, f64>,
}

impl Amounts {
    /// These and others together.
    pub fn add(&mut self, other: &Self) {
        self.cpu_millis = self.cpu_millis.saturating_add(other.cpu_millis);
        self.memory = self.memory.saturating_add(other.memory);
        self.accelerator_millis = self.accelerator_millis.saturating_add(other.accelerator_millis);
        for (name, amount) in &other.custom {
            *self.custom.entry(name.clone()).or_default() += amount;
        }
    }

    /// These without others, which were part of them.
    pub fn subtract(&mut self, other: &Self) {
        self.cpu_millis = self.cpu_millis.saturating_sub(other.cpu_millis);
        self.memory = self.memory.saturating_sub(other.memory);
        self.accelerator_millis = self.accelerator_millis.saturating_sub(other.accelerator_millis);
        for (name, amount) in &other.custom {
            if let Some(left) = self.custom.get_mut(name) {
                *left -= amount;
            }
        }
        // What is left of fractions that cancel out is no resource.
        self.custom.retain(|_, left| *left > 1e-9);
    }
}

/// What an agent asks for as amounts; of what its spec does not name, none. The custom
/// resource `memory` is memory in bytes.
impl From<&Resources> for Amounts {
    fn from(resources: &Resources) -> Self {
        let millis = |whole: Option<f64>| (whole.unwrap_or(0.0) * 1000.0).ceil() as u64;
        let mut custom = resources.custom_resources.clone();
        Self {
            cpu_millis: millis(resources.num_cpus),
            accelerator_millis: millis(resources.num_gpus),
            memory: custom.remove(MEMORY).unwrap_or(0.0).ceil() as u64,
            custom,
        }
    }
}

/// The quality of service an agent asks for; `None` where its spec says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Qos {
    /// How long an operation may take.
    pub timeout: Option<Duration>,
    /// How often a failed operation is tried again.
    pub retry_count: Option<u32>,
    /// Acceptable latency.
    pub latency: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_what_a_spec_names_and_add_up_to_nothing_again() {
        let custom = |name: &str, amount| (name.to_owned(), amount);
        let resources = Resources {
            num_cpus: Some(0.25),
            num_gpus: None,
            custom_resources: [custom("memory", 1024.0), custom("licence", 0.1)].into(),
        };
        let one = Amounts::from(&resources);
        assert_eq!((one.cpu_millis, one.memory, one.accelerator_millis), (250, 1024, 0));
        assert_eq!(one.custom, BTreeMap::from([custom("licence", 0.1)]));
        let mut all = Amounts::default();
        (0..3).for_each(|_| all.add(&one));
        assert_eq!((all.cpu_millis, all.memory), (750, 3072));
        (0..3).for_each(|_| all.subtract(&one));
        assert_eq!(all, Amounts::default());
        all.subtract(&one);
        assert_eq!(all, Amounts::default());
        let odd = Resources { num_cpus: Some(f64::NAN), num_gpus: Some(-1.0), ..Resources::default() };
        assert_eq!(Amounts::from(&odd), Amounts::default());
    }
}
