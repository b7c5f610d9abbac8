//! How well an agent has to be served.

use std::time::Duration;

use serde_json::Value;

use crate::resources::Qos;

use super::{
    draft::{count, join, mapping, wrong_type},
    error::SpecError,
};

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
