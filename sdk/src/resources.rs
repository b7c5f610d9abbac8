//! What an agent says it needs: resources and quality of service.
//!
//! Both come from the agent's spec and travel to the policy unchanged. Guildhall
//! itself enforces neither.

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
