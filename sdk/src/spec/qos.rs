//! How well an agent has to be served.

use std::time::Duration;

use serde_json::Value;

use super::{
    draft::{count, join, mapping, wrong_type},
    error::SpecError,
};

/// How well an agent has to be served, from `qos:` of its spec. A policy may heed
/// it when it places the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qos {
    /// How long an operation of the agent may take; whole seconds in the spec.
    pub timeout: Option<Duration>,
    /// How often an operation of the agent is tried again.
    pub retry_count: Option<u32>,
    /// The latency that is acceptable; whole milliseconds in the spec.
    pub latency: Option<Duration>,
}

impl Qos {
    pub(super) fn read(value: Option<&Value>, path: &str) -> Result<Self, SpecError> {
        let Some(fields) = mapping(value, || path.to_owned())? else { return Ok(Self::default()) };
        let read = |field: &str| match fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match count(value) {
                Some(count) => Ok(Some(count)),
                None => Err(wrong_type(join(path, field), "a whole number from 0 to 4294967295", value)),
            },
        };
        Ok(Self {
            timeout: read("timeout")?.map(|seconds| Duration::from_secs(seconds.into())),
            retry_count: read("retry_count")?,
            latency: read("latency")?.map(|millis| Duration::from_millis(millis.into())),
        })
    }
}
