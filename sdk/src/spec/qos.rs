//! How well an agent has to be served.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::resources::Qos;

use super::{
    draft::{count, join, mapping, wrong_type},
    error::SpecError,
};

impl Qos {
    pub(super) fn read(value: Option<&Value>, path: &str) -> Result<Self, SpecError> {
        let Some(fields) = mapping(value, || path.to_owned())? else { return Ok(Self::default()) };
        Ok(Self {
            timeout: optional(fields, "timeout", path, |seconds| Some(Duration::from_secs(seconds)))?,
            retry_count: optional(fields, "retry_count", path, |count| u32::try_from(count).ok())?,
            latency: optional(fields, "latency", path, |millis| Some(Duration::from_millis(millis)))?,
        })
    }
}

fn optional<T>(
    fields: &Map<String, Value>,
    field: &str,
    path: &str,
    make: impl Fn(u64) -> Option<T>,
) -> Result<Option<T>, SpecError> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match count(value).and_then(make) {
            Some(made) => Ok(Some(made)),
            None => Err(wrong_type(join(path, field), "a whole number of at least 0", value)),
        },
    }
}
