//! Keys of a YAML mapping, and what `<<` merges into it.

use serde_json::{Map, Value};

use crate::spec::python;

/// The left side of a pair.
pub(super) enum Key {
    Text(String),
    /// `<<`
    Merge,
}

impl Key {
    /// A key as text, the way Python's `json.dumps` makes it.
    pub(super) fn of(value: Value) -> Result<Self, &'static str> {
        Ok(Self::Text(match value {
            Value::String(text) => text,
            Value::Number(number) => python::number(&number),
            Value::Bool(value) => value.to_string(),
            Value::Null => "null".to_owned(),
            Value::Array(_) | Value::Object(_) => {
                return Err("is a list or a mapping; keys are single words");
            }
        }))
    }
}

/// The pairs of one mapping while it is read.
#[derive(Default)]
pub(super) struct Pairs {
    merged: Map<String, Value>,
    own: Vec<(String, Value)>,
}

impl Pairs {
    pub(super) fn add(&mut self, key: Key, value: Value) -> Result<(), &'static str> {
        const NOT_MERGEABLE: &str = "merges a mapping or a list of mappings, nothing else";
        match (key, value) {
            (Key::Text(key), value) => self.own.push((key, value)),
            (Key::Merge, Value::Object(map)) => self.merged.extend(map),
            (Key::Merge, Value::Array(maps)) => {
                // Of two that have a key, the earlier one wins.
                for map in maps.into_iter().rev() {
                    let Value::Object(map) = map else { return Err(NOT_MERGEABLE) };
                    self.merged.extend(map);
                }
            }
            (Key::Merge, _) => return Err(NOT_MERGEABLE),
        }
        Ok(())
    }

    /// Merged pairs come first and give way to the mapping's own; of a key that
    /// is there twice the last one counts.
    pub(super) fn into_map(self) -> Map<String, Value> {
        let mut map = self.merged;
        map.extend(self.own);
        map
    }
}
