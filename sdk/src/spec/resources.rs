//! What an agent needs from its host.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    draft::{amount, join, mapping, wrong_type},
    error::SpecError,
};

/// What an agent needs from its host, from `resources:` of its spec. A policy may
/// heed it when it places the agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// CPU cores, in parts of one if need be.
    pub num_cpus: Option<f64>,
    /// GPUs, in parts of one if need be.
    pub num_gpus: Option<f64>,
    /// Anything else, by name; the unit is the user's.
    pub custom_resources: BTreeMap<String, f64>,
}

impl Resources {
    pub(super) fn read(value: Option<&Value>, path: &str) -> Result<Self, SpecError> {
        let Some(fields) = mapping(value, || path.to_owned())? else { return Ok(Self::default()) };
        let custom_path = join(path, "custom_resources");
        let custom = mapping(fields.get("custom_resources"), || custom_path.clone())?;
        Ok(Self {
            num_cpus: optional(fields, "num_cpus", path)?,
            num_gpus: optional(fields, "num_gpus", path)?,
            custom_resources: custom
                .into_iter()
                .flatten()
                .map(|(name, value)| Ok((name.clone(), required(value, join(&custom_path, name))?)))
                .collect::<Result<_, SpecError>>()?,
        })
    }
}

fn optional(fields: &Map<String, Value>, field: &str, path: &str) -> Result<Option<f64>, SpecError> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => required(value, join(path, field)).map(Some),
    }
}

fn required(value: &Value, path: String) -> Result<f64, SpecError> {
    amount(value).ok_or_else(|| wrong_type(path, "a number of at least 0", value))
}
