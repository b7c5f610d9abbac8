//! JSON Schema, as much of it as settings need.
//!
//! A schema comes from a policy, which nobody trusts: a library that knows all of JSON
//! Schema would follow its references in circles and run its regular expressions. This
//! knows neither, and a keyword that it does not know is an error, not a check that
//! nobody makes. Its cost is bounded by the sizes of schema and settings.

use serde_json::{Map, Value};

/// Longest schema, bytes, and how deep it may be nested.
pub(in crate::placement) const MAX_SCHEMA_BYTES: usize = 64 << 10;
const DEPTH: usize = 16;

/// Keywords that say nothing about whether a value fits.
const NOTES: [&str; 6] = ["$schema", "title", "description", "default", "examples", "deprecated"];

/// A schema that was understood.
#[derive(Clone, Debug)]
pub(in crate::placement) struct Schema(Map<String, Value>);

impl Schema {
    /// Reads a schema. The error says what is not understood, and where.
    pub(in crate::placement) fn read(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(format!("it has {} bytes, of {MAX_SCHEMA_BYTES} at most", text.len()));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        understand(&schema, "", DEPTH)?;
        match schema {
            Value::Object(schema) => Ok(Self(schema)),
            _ => Err("it must be an object".to_owned()),
        }
    }

    /// The schema as JSON.
    pub(in crate::placement) fn json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// Sees that a value fits. The error names the field and what is wrong with it.
    pub(in crate::placement) fn check(&self, value: &Value) -> Result<(), String> {
        fits(&self.0, value, "")
    }
}

/// Whether all keywords are known and have a value that makes sense.
fn understand(schema: &Value, path: &str, depth: usize) -> Result<(), String> {
    let here = if path.is_empty() { "the schema" } else { path };
    if depth == 0 {
        return Err(format!("{here} is nested deeper than {DEPTH}"));
    }
    let Value::Object(keywords) = schema else { return Err(format!("{here} must be an object")) };
    for (keyword, value) in keywords {
        let path = format!("{path}/{keyword}");
        let good = match keyword.as_str() {
            "type" => value.as_str().is_some_and(|name| TYPES.iter().any(|(known, _)| *known == name)),
            "properties" => {
                let Some(fields) = value.as_object() else { return Err(format!("{path} must be an object")) };
                fields
                    .iter()
                    .try_for_each(|(name, field)| understand(field, &format!("{path}/{name}"), depth - 1))?;
                true
            }
            "items" => understand(value, &path, depth - 1).map(|()| true)?,
            "additionalProperties" if value.is_object() => {
                understand(value, &path, depth - 1).map(|()| true)?
            }
            "additionalProperties" => value.is_boolean(),
            "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
            "enum" => value.is_array(),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => value.is_number(),
            "minLength" | "maxLength" | "minItems" | "maxItems" => value.is_u64(),
            note if NOTES.contains(&note) => true,
            _ => return Err(format!("{path} is a keyword that is not known here")),
        };
        if !good {
            return Err(format!("{path} has no value that makes sense"));
        }
    }
    Ok(())
}

type Test = fn(&Value) -> bool;

const TYPES: [(&str, Test); 7] = [
    ("object", Value::is_object),
    ("array", Value::is_array),
    ("string", Value::is_string),
    ("number", Value::is_number),
    ("integer", is_whole),
    ("boolean", Value::is_boolean),
    ("null", Value::is_null),
];

fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn fits(schema: &Map<String, Value>, value: &Value, path: &str) -> Result<(), String> {
    let wrong = |problem: String| match path {
        "" => Err(format!("the settings {problem}")),
        path => Err(format!("{path}: {problem}")),
    };
    if let Some(name) = schema.get("type").and_then(Value::as_str)
        && let Some((_, is)) = TYPES.iter().find(|(known, _)| *known == name)
        && !is(value)
    {
        return wrong(format!("must be {}, not {}", words(name), kind(value)));
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        return wrong(format!("must be one of {}", allowed.join(", ")));
    }
    match value {
        Value::Number(number) => {
            number.as_f64().map_or(Ok(()), |number| number_fits(schema, number)).or_else(wrong)
        }
        Value::String(text) => {
            length_fits(schema, ["minLength", "maxLength"], text.chars().count(), "characters").or_else(wrong)
        }
        Value::Array(items) => {
            length_fits(schema, ["minItems", "maxItems"], items.len(), "items").or_else(wrong)?;
            let Some(Value::Object(item)) = schema.get("items") else { return Ok(()) };
            items.iter().enumerate().try_for_each(|(at, value)| fits(item, value, &format!("{path}[{at}]")))
        }
        Value::Object(fields) => fields_fit(schema, fields, path),
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

/// Whether a number is within a bound.
type Within = fn(f64, f64) -> bool;

fn number_fits(schema: &Map<String, Value>, number: f64) -> Result<(), String> {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    let tests: [(&str, Within, &str); 4] = [
        ("minimum", |number, bound| number >= bound, "at least"),
        ("maximum", |number, bound| number <= bound, "at most"),
        ("exclusiveMinimum", |number, bound| number > bound, "above"),
        ("exclusiveMaximum", |number, bound| number < bound, "below"),
    ];
    for (keyword, good, words) in tests {
        if let Some(bound) = bound(keyword)
            && !good(number, bound)
        {
            return Err(format!("must be {words} {bound}"));
        }
    }
    Ok(())
}

fn length_fits(
    schema: &Map<String, Value>,
    [least, most]: [&str; 2],
    length: usize,
    of: &str,
) -> Result<(), String> {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
    match (bound(least), bound(most)) {
        (Some(least), _) if (length as u64) < least => Err(format!("must have at least {least} {of}")),
        (_, Some(most)) if length as u64 > most => Err(format!("must have at most {most} {of}")),
        _ => Ok(()),
    }
}

fn fields_fit(schema: &Map<String, Value>, fields: &Map<String, Value>, path: &str) -> Result<(), String> {
    let dot = if path.is_empty() { "" } else { "." };
    let known = schema.get("properties").and_then(Value::as_object);
    for (name, value) in fields {
        let path = format!("{path}{dot}{name}");
        match (known.and_then(|known| known.get(name)), schema.get("additionalProperties")) {
            (Some(Value::Object(field)), _) | (None, Some(Value::Object(field))) => {
                fits(field, value, &path)?
            }
            (None, Some(Value::Bool(false))) => {
                return Err(format!("{path}: is not a setting of this policy"));
            }
            _ => {}
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Err(format!("{path}{dot}{name}: must be set"));
        }
    }
    Ok(())
}

fn words(name: &str) -> &str {
    match name {
        "object" => "an object",
        "array" => "a list",
        "string" => "text",
        "number" => "a number",
        "integer" => "a whole number",
        "boolean" => "true or false",
        other => other,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_is_told_by_its_field() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["zone"],
            "properties": {
                "zone": {"type": "string", "minLength": 1, "maxLength": 5},
                "mode": {"enum": ["pack", "spread"]},
                "share": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
                "count": {"type": "integer"},
                "rules": {"type": "array", "minItems": 1, "maxItems": 2, "items": {
                    "type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"],
                }},
                "weights": {"type": "object", "additionalProperties": {"type": "number"}},
            },
        });
        let schema = Schema::read(&schema.to_string()).unwrap();
        let good = json!({"zone": "north", "mode": "pack", "share": 0, "count": 2.0,
            "rules": [{"key": "a", "more": 1}], "weights": {"any": 1.5}});
        assert_eq!(schema.check(&good), Ok(()));
        for (settings, wanted) in [
            (json!([]), "the settings must be an object, not a list"),
            (json!({}), "zone: must be set"),
            (json!({"zone": 1}), "zone: must be text, not a number"),
            (json!({"zone": ""}), "zone: must have at least 1 characters"),
            (json!({"zone": "éééééé"}), "zone: must have at most 5 characters"),
            (json!({"zone": "a", "mode": "x"}), r#"mode: must be one of "pack", "spread""#),
            (json!({"zone": "a", "share": -0.1}), "share: must be at least 0"),
            (json!({"zone": "a", "share": 1}), "share: must be below 1"),
            (json!({"zone": "a", "count": 1.5}), "count: must be a whole number, not a number"),
            (json!({"zone": "a", "rules": []}), "rules: must have at least 1 items"),
            (json!({"zone": "a", "rules": [{"key": "a"}, {}]}), "rules[1].key: must be set"),
            (json!({"zone": "a", "weights": {"cpu": "1"}}), "weights.cpu: must be a number, not text"),
            (json!({"zone": "a", "zoen": 1}), "zoen: is not a setting of this policy"),
        ] {
            assert_eq!(schema.check(&settings), Err(wanted.to_owned()), "{settings}");
        }
    }

    #[test]
    fn a_schema_that_is_not_understood_is_refused() {
        let deep = (0..20).fold(json!({}), |inner, _| json!({"items": inner}));
        for (schema, wanted) in [
            ("", "it is not JSON: EOF while parsing a value at line 1 column 0"),
            ("true", "the schema must be an object"),
            (r##"{"$ref": "#"}"##, "/$ref is a keyword that is not known here"),
            (
                r#"{"properties": {"a": {"pattern": "(a*)*b"}}}"#,
                "/properties/a/pattern is a keyword that is not known here",
            ),
            (r#"{"type": "text"}"#, "/type has no value that makes sense"),
            (r#"{"required": [1]}"#, "/required has no value that makes sense"),
            (r#"{"properties": 1}"#, "/properties must be an object"),
        ] {
            assert_eq!(Schema::read(schema).unwrap_err(), wanted, "{schema}");
        }
        assert!(Schema::read(&deep.to_string()).unwrap_err().ends_with("is nested deeper than 16"));
        assert!(
            Schema::read(&" ".repeat(MAX_SCHEMA_BYTES + 1)).unwrap_err().starts_with("it has 65537 bytes")
        );
    }
}
