//! Settings: values from the operator, taken field by field.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::text;

/// A value in the operator's settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// True or false.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// One value, and where in the settings it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// `weights.cpu` in an object, `rules[0].key` in the first object of a list.
    pub path: String,
    /// The value.
    pub value: Value,
}

/// What the operator wrote: a JSON object whose fields the policy takes one by
/// one. A field that the policy did not take is an error that names it.
///
/// ```
/// use guildhall_policy::{InvalidSettings, Setting, Settings, Value};
///
/// fn read(settings: &mut Settings<'_>) -> Result<(f64, String), InvalidSettings> {
///     let headroom = settings.number("headroom")?.unwrap_or(0.2);
///     let zone = settings.object("labels", |labels| labels.text("zone"))?;
///     Ok((headroom, zone.unwrap_or_default()))
/// }
///
/// let read = |path: &str, value| Settings::read(vec![Setting { path: path.to_owned(), value }], read);
/// assert_eq!(read("labels.zone", Value::Text("north".to_owned())), Ok((0.2, "north".to_owned())));
/// let error = read("labels.zone", Value::Number(7.0)).unwrap_err();
/// assert_eq!(error.to_string(), "labels.zone: must be text, not a number");
/// let error = read("labels.zoen", Value::Text("north".to_owned())).unwrap_err();
/// assert_eq!(error.to_string(), "labels.zoen: is not a setting of this policy");
/// ```
#[derive(Debug)]
pub struct Settings<'a> {
    /// Those that were not taken yet.
    left: &'a mut Vec<Setting>,
    /// The object that fields are taken from: empty, or `outer.inner.` with a dot at its end.
    path: String,
}

impl Settings<'_> {
    /// Reads settings, and sees that `take` leaves no field behind.
    ///
    /// # Errors
    /// [`InvalidSettings`] when `take` says so, and when a field is left.
    pub fn read<T>(
        mut settings: Vec<Setting>,
        take: impl FnOnce(&mut Settings<'_>) -> Result<T, InvalidSettings>,
    ) -> Result<T, InvalidSettings> {
        let taken = take(&mut Settings { left: &mut settings, path: String::new() })?;
        match settings.into_iter().next() {
            Some(left) => Err(InvalidSettings::new(left.path, "is not a setting of this policy")),
            None => Ok(taken),
        }
    }

    /// Takes a number.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the field is there and is something else.
    #[cold]
    pub fn number(&mut self, field: &str) -> Result<Option<f64>, InvalidSettings> {
        match self.take(field, "a number")? {
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(other) => Err(self.wrong(field, "a number", &other)),
            None => Ok(None),
        }
    }

    /// Takes text.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the field is there and is something else.
    #[cold]
    pub fn text(&mut self, field: &str) -> Result<Option<String>, InvalidSettings> {
        match self.take(field, "text")? {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, "text", &other)),
            None => Ok(None),
        }
    }

    /// Takes `true` or `false`.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the field is there and is something else.
    #[cold]
    pub fn flag(&mut self, field: &str) -> Result<Option<bool>, InvalidSettings> {
        match self.take(field, "true or false")? {
            Some(Value::Flag(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.wrong(field, "true or false", &other)),
            None => Ok(None),
        }
    }

    /// Takes an object, whose fields `take` takes. An absent object is an empty one.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the field is there and is not an object, and when `take`
    /// says so.
    pub fn object<T>(
        &mut self,
        field: &str,
        take: impl FnOnce(&mut Settings<'_>) -> Result<T, InvalidSettings>,
    ) -> Result<T, InvalidSettings> {
        self.must_not_be_a_value(field, "an object")?;
        let path = text!(self.path, field, ".");
        take(&mut Settings { left: &mut *self.left, path })
    }

    /// Takes a list of objects, each of which `take` takes. An absent list is empty.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the field is there and is not a list of objects, and when
    /// `take` says so.
    pub fn list<T>(
        &mut self,
        field: &str,
        mut take: impl FnMut(&mut Settings<'_>) -> Result<T, InvalidSettings>,
    ) -> Result<Vec<T>, InvalidSettings> {
        self.must_not_be_a_value(field, "a list")?;
        let mut items = Vec::new();
        loop {
            let item = text!(field, "[", items.len(), "]");
            let path = text!(self.path, item);
            if !self.left.iter().any(|left| left.path.starts_with(&path)) {
                return Ok(items);
            }
            items.push(self.object(&item, &mut take)?);
        }
    }

    /// Takes a list of texts. An absent list is empty.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the field is there and is not a list of texts.
    #[cold]
    pub fn texts(&mut self, field: &str) -> Result<Vec<String>, InvalidSettings> {
        self.must_not_be_a_value(field, "a list")?;
        let mut texts = Vec::new();
        while let Some(text) = self.text(&text!(field, "[", texts.len(), "]"))? {
            texts.push(text);
        }
        Ok(texts)
    }

    /// Blames a field of this object, for a policy's own checks.
    #[cold]
    pub fn invalid(&self, field: &str, problem: impl Into<String>) -> InvalidSettings {
        InvalidSettings::new(text!(self.path, field), problem)
    }

    /// Takes what is at this field itself.
    #[cold]
    fn take(&mut self, field: &str, wanted: &str) -> Result<Option<Value>, InvalidSettings> {
        let path = text!(self.path, field);
        if let Some(at) = self.left.iter().position(|left| left.path == path) {
            return Ok(Some(self.left.swap_remove(at).value));
        }
        // Something in it is there, so it is no value.
        let below = |left: &Setting| left.path.strip_prefix(&*path).map(|rest| rest.bytes().next());
        match self.left.iter().find_map(below).flatten() {
            Some(b'.') => Err(self.invalid(field, text!("must be ", wanted, ", not an object"))),
            Some(b'[') => Err(self.invalid(field, text!("must be ", wanted, ", not a list"))),
            _ => Ok(None),
        }
    }

    #[cold]
    fn must_not_be_a_value(&self, field: &str, wanted: &str) -> Result<(), InvalidSettings> {
        let path = text!(self.path, field);
        match self.left.iter().find(|left| left.path == path) {
            Some(found) => Err(self.wrong(field, wanted, &found.value)),
            None => Ok(()),
        }
    }

    #[cold]
    fn wrong(&self, field: &str, wanted: &str, found: &Value) -> InvalidSettings {
        let found = match found {
            Value::Flag(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
        };
        self.invalid(field, text!("must be ", wanted, ", not ", found))
    }
}

/// Settings that a policy does not take, and which field is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings {
    /// The field, as `outer.inner`; empty when it is the settings as a whole.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl InvalidSettings {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// Both in one line.
    pub fn text(&self) -> String {
        match self.field.as_str() {
            "" => self.problem.clone(),
            field => text!(field, ": ", self.problem),
        }
    }
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl core::error::Error for InvalidSettings {}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, string::ToString, vec};

    use super::*;

    fn read<T>(
        json: &str,
        take: impl FnOnce(&mut Settings<'_>) -> Result<T, InvalidSettings>,
    ) -> Result<T, String> {
        let settings = crate::json::settings(json).unwrap();
        Settings::read(settings, take).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_are_taken_by_name_and_type() {
        let json = r#"{"n": -1.5e2, "t": "a\"\u00e9", "f": true, "o": {"n": 0}}"#;
        let taken = read(json, |settings| {
            let inner = settings.object("o", |inner| inner.number("n"))?;
            let none = settings.object("absent", |absent| absent.flag("f"))?;
            Ok((settings.number("n")?, settings.text("t")?, settings.flag("f")?, inner, none))
        });
        assert_eq!(taken, Ok((Some(-150.0), Some("a\"é".to_owned()), Some(true), Some(0.0), None)));
        for (json, wanted) in [
            (r#"{"n": "1"}"#, "n: must be a number, not text"),
            (r#"{"n": {"m": 1}}"#, "n: must be a number, not an object"),
            (r#"{"n": [1]}"#, "n: must be a number, not a list"),
            (r#"{"nn": 1}"#, "nn: is not a setting of this policy"),
        ] {
            assert_eq!(read(json, |settings| settings.number("n")), Err(wanted.to_owned()), "{json}");
        }
        let object = |json| read(json, |settings| settings.object("o", |inner| inner.number("n")));
        assert_eq!(object(r#"{"o": 1}"#), Err("o: must be an object, not a number".to_owned()));
        assert_eq!(object(r#"{"o": {"m": 1}}"#), Err("o.m: is not a setting of this policy".to_owned()));
    }

    #[test]
    fn lists_are_taken_item_by_item_and_what_is_wrong_is_told_by_its_place() {
        let rules = |json: &str| {
            read(json, |settings| {
                settings.list("rules", |rule| Ok((rule.text("key")?, rule.texts("values")?)))
            })
        };
        let rule = |key: &str, values: &[&str]| {
            (Some(key.to_owned()), values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>())
        };
        let json = r#"{"rules": [{"key": "zone", "values": ["a", "b"]}, {"key": "node"}]}"#;
        assert_eq!(rules(json), Ok(vec![rule("zone", &["a", "b"]), rule("node", &[])]));
        assert_eq!(rules("{}"), Ok(Vec::new()));
        for (json, wanted) in [
            (r#"{"rules": 1}"#, "rules: must be a list, not a number"),
            (r#"{"rules": ["a"]}"#, "rules[0]: must be an object, not text"),
            (r#"{"rules": [{"key": "a", "values": [1]}]}"#, "rules[0].values[0]: must be text, not a number"),
            (r#"{"rules": [{"kye": "a"}]}"#, "rules[0].kye: is not a setting of this policy"),
        ] {
            assert_eq!(rules(json), Err(wanted.to_owned()), "{json}");
        }
    }
}
