//! A policy's settings: checked against its schema, and taken apart into values.

mod schema;

use serde_json::Value as Json;

pub(in crate::placement) use schema::Schema;

/// Most values in settings, and how deep they may lie.
const MOST_VALUES: usize = 10_000;
const DEPTH: usize = 32;

/// Settings as a policy gets them.
#[derive(Clone, Debug)]
pub(in crate::placement) struct Settings {
    json: Json,
    text: String,
    values: Vec<(String, Value)>,
}

/// One value in the settings.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::placement) enum Value {
    Flag(bool),
    Number(f64),
    Text(String),
}

impl Settings {
    /// Reads a JSON object, or null for an empty one. The error says what is wrong.
    pub(in crate::placement) fn read(json: &Json) -> Result<Self, String> {
        let json = match json {
            Json::Null => Json::Object(serde_json::Map::new()),
            Json::Object(_) => json.clone(),
            _ => return Err("the settings must be an object".to_owned()),
        };
        let mut values = Vec::new();
        flatten(String::new(), &json, DEPTH, &mut values)?;
        Ok(Self { text: json.to_string(), json, values })
    }

    /// The whole as JSON.
    pub(in crate::placement) fn json(&self) -> &str {
        &self.text
    }

    /// Each value with its path: `weights.cpu`, `rules[0].key`.
    pub(in crate::placement) fn values(&self) -> &[(String, Value)] {
        &self.values
    }

    /// Sees that the settings fit a schema. The error names the field.
    pub(in crate::placement) fn check(&self, schema: &Schema) -> Result<(), String> {
        schema.check(&self.json)
    }
}

fn flatten(path: String, json: &Json, depth: usize, values: &mut Vec<(String, Value)>) -> Result<(), String> {
    let value = match json {
        _ if depth == 0 => return Err(format!("{path}: is nested deeper than {DEPTH}")),
        Json::Null => return Ok(()),
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => {
            return items
                .iter()
                .enumerate()
                .try_for_each(|(at, item)| flatten(format!("{path}[{at}]"), item, depth - 1, values));
        }
        Json::Object(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
            return fields.iter().try_for_each(|(name, field)| {
                let path = format!("{path}{dot}{name}");
                // What would make two paths look the same.
                match name.is_empty() || name.contains(['.', '[', ']']) {
                    true => Err(format!("{path}: a field's name must have no dot and no bracket")),
                    false => flatten(path, field, depth - 1, values),
                }
            });
        }
    };
    values.push((path, value));
    match values.len() > MOST_VALUES {
        true => Err(format!("the settings have more than {MOST_VALUES} values")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_value_has_its_path() {
        let settings = json!({"a": 1, "b": {"c": "x", "d": [true, {"e": 0.5}]}, "none": null, "empty": {}});
        let settings = Settings::read(&settings).unwrap();
        let value = |path: &str, value| (path.to_owned(), value);
        assert_eq!(
            settings.values(),
            [
                value("a", Value::Number(1.0)),
                value("b.c", Value::Text("x".to_owned())),
                value("b.d[0]", Value::Flag(true)),
                value("b.d[1].e", Value::Number(0.5)),
            ]
        );
        assert_eq!(Settings::read(&Json::Null).unwrap().json(), "{}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let deep = (0..40).fold(json!(1), |json, _| json!({"a": json}));
        let many = json!({"a": vec![0; MOST_VALUES + 1]});
        for (settings, wanted) in [
            (json!([1]), "the settings must be an object"),
            (json!({"a.b": 1}), "a.b: a field's name must have no dot and no bracket"),
            (json!({"a": {"": 1}}), "a.: a field's name must have no dot and no bracket"),
            (many, "the settings have more than 10000 values"),
        ] {
            assert_eq!(Settings::read(&settings).unwrap_err(), wanted);
        }
        assert!(Settings::read(&deep).unwrap_err().ends_with("is nested deeper than 32"));
    }
}
