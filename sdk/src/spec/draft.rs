//! A mapping of the document while it is checked, with the path that leads to it,
//! so that every complaint says where it belongs.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::{
    MAX_NAME_CHARS,
    error::{SpecError, shorten},
    shortuuid,
};
use crate::ids::InvalidId;

/// A mapping and its path; the top of the document has an empty path.
pub(super) struct Draft {
    pub(super) path: String,
    pub(super) map: Map<String, Value>,
}

impl Draft {
    pub(super) fn new(path: String, value: Value) -> Result<Self, SpecError> {
        match value {
            Value::Object(map) => Ok(Self { path, map }),
            value => Err(wrong_type(path, "a mapping", &value)),
        }
    }

    /// The path of one of its fields.
    pub(super) fn path_of(&self, field: &str) -> String {
        join(&self.path, field)
    }

    /// The id, or a fresh one where there is none (or null). It ends up in the
    /// mapping either way.
    pub(super) fn id<Id: FromStr<Err = InvalidId>>(&mut self) -> Result<Id, SpecError> {
        match self.map.get_mut("id") {
            Some(id @ Value::Null) => *id = Value::String(shortuuid::generate()),
            Some(_) => {}
            None => {
                self.map.shift_insert(0, "id".to_owned(), Value::String(shortuuid::generate()));
            }
        }
        let id = self.trimmed("id")?;
        id.parse().map_err(|source| SpecError::Id { path: self.path_of("id"), source })
    }

    /// A name of the allowed length.
    pub(super) fn name(&mut self) -> Result<String, SpecError> {
        let name = self.filled("name")?;
        let chars = name.chars().count();
        if chars > MAX_NAME_CHARS {
            return Err(SpecError::NameTooLong { path: self.path_of("name"), chars });
        }
        Ok(name)
    }

    /// A text that has to be there and not be empty.
    pub(super) fn filled(&mut self, field: &str) -> Result<String, SpecError> {
        let text = self.trimmed(field)?;
        if text.is_empty() { Err(SpecError::Empty { path: self.path_of(field) }) } else { Ok(text) }
    }

    /// A text without the white space around it; the mapping loses it too.
    fn trimmed(&mut self, field: &str) -> Result<String, SpecError> {
        match self.map.get_mut(field) {
            Some(Value::String(text)) => {
                if text.trim().len() != text.len() {
                    *text = text.trim().to_owned();
                }
                Ok(text.clone())
            }
            Some(value) => Err(wrong_type(join(&self.path, field), "text", value)),
            None => Err(SpecError::Missing { path: self.path_of(field) }),
        }
    }
}

/// A mapping that may be absent. Null is not absent: Rustic AI refuses it.
pub(super) fn mapping(
    value: Option<&Value>,
    path: impl FnOnce() -> String,
) -> Result<Option<&Map<String, Value>>, SpecError> {
    match value {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(value) => Err(wrong_type(path(), "a mapping", value)),
    }
}

/// The path of a field of what `path` leads to.
pub(super) fn join(path: &str, field: &str) -> String {
    let field = shorten(field);
    if path.is_empty() { field } else { format!("{path}.{field}") }
}

pub(super) fn wrong_type(path: String, expected: &'static str, found: &Value) -> SpecError {
    let path = if path.is_empty() { "the document".to_owned() } else { path };
    SpecError::WrongType { path, expected, found: describe(found) }
}

/// What a value is, for a message. Texts may hold secrets and stay out of it.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// A number of at least 0, or a text of one: `configuration` can only make texts,
/// and pydantic reads them as numbers.
pub(super) fn amount(value: &Value) -> Option<f64> {
    let amount = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    amount.filter(|amount| amount.is_finite() && *amount >= 0.0)
}

/// A whole number of 32 bits, or a text of one. `3.0` is whole too.
pub(super) fn count(value: &Value) -> Option<u32> {
    let amount = amount(value)?;
    (amount.fract() == 0.0 && amount <= f64::from(u32::MAX)).then_some(amount as u32)
}
