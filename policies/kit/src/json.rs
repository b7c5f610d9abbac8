//! Settings as a service reads them, for tests and benchmarks that run a policy natively.

use alloc::{format, string::ToString, vec::Vec};

use crate::{InvalidSettings, Setting, Value};

/// The values in a JSON object, each with its path.
pub(crate) fn settings(json: &str) -> Result<Vec<Setting>, InvalidSettings> {
    let json: serde_json::Value = serde_json::from_str(json)
        .map_err(|error| InvalidSettings::new("", format!("the settings are not JSON: {error}")))?;
    if !json.is_object() {
        return Err(InvalidSettings::new("", "the settings must be an object"));
    }
    let mut settings = Vec::new();
    flatten("", &json, &mut settings);
    Ok(settings)
}

fn flatten(path: &str, json: &serde_json::Value, settings: &mut Vec<Setting>) {
    let value = match json {
        serde_json::Value::Object(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
            fields.iter().for_each(|(name, json)| flatten(&format!("{path}{dot}{name}"), json, settings));
            return;
        }
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, json)| flatten(&format!("{path}[{at}]"), json, settings));
            return;
        }
        serde_json::Value::Null => return,
        serde_json::Value::Bool(flag) => Value::Flag(*flag),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::Text(text.clone()),
    };
    settings.push(Setting { path: path.to_string(), value });
}
