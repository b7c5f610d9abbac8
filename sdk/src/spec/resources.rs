//! What an agent needs from its host.

use serde_json::{Map, Value};

use crate::resources::Resources;

use super::{
    draft::{amount, join, mapping, wrong_type},
    error::SpecError,
};

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
