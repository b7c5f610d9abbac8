//! Settings: JSON from the operator, read field by field.
//!
//! Not by serde: its errors bring the formatting of floats along, and `f64`'s own
//! parser a table for the hardest cases. Together they weigh as much as all the
//! rest of a stock policy's component.

use std::{borrow::Cow, fmt};

use hifijson::{SliceLexer, token::Lex, value};

type Value<'a> = value::Value<&'a str, Cow<'a, str>>;

/// How deep settings may be nested.
const DEPTH: usize = 32;

/// What the operator wrote: a JSON object whose fields the policy takes one by
/// one. A field that the policy did not take is an error that names it.
///
/// ```
/// use guildhall_policy::{InvalidSettings, Settings};
///
/// fn read(settings: &mut Settings<'_>) -> Result<(f64, String), InvalidSettings> {
///     let headroom = settings.number("headroom")?.unwrap_or(0.2);
///     let zone = settings.object("labels", |labels| labels.text("zone"))?;
///     Ok((headroom, zone.unwrap_or_default()))
/// }
///
/// let read = |json| Settings::read(json, read);
/// assert_eq!(read(r#"{"labels": {"zone": "north"}}"#), Ok((0.2, "north".to_owned())));
/// let error = read(r#"{"labels": {"zone": 7}}"#).unwrap_err();
/// assert_eq!(error.to_string(), "labels.zone: must be text, not a number");
/// let error = read(r#"{"labels": {"zoen": "north"}}"#).unwrap_err();
/// assert_eq!(error.to_string(), "labels.zoen: is not a setting of this policy");
/// ```
#[derive(Debug)]
pub struct Settings<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
    /// The object these fields are in: empty, or `outer.inner.` with a dot at its end.
    path: String,
}

impl<'a> Settings<'a> {
    /// Reads a JSON object, and sees that `take` leaves no field behind.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the text is not a JSON object, when `take` says so,
    /// and when a field is left.
    pub fn read<T>(
        json: &'a str,
        take: impl FnOnce(&mut Self) -> Result<T, InvalidSettings>,
    ) -> Result<T, InvalidSettings> {
        let mut lexer = SliceLexer::new(json.as_bytes());
        let parse = |next, lexer: &mut _| value::parse_bounded(DEPTH, next, lexer);
        let value = lexer
            .exactly_one(Lex::ws_peek, parse)
            .map_err(|error| InvalidSettings::new("", format!("the settings are not JSON: {error}")))?;
        match value {
            Value::Object(fields) => Self { fields, path: String::new() }.consume(take),
            other => {
                Err(InvalidSettings::new("", format!("the settings must be an object, not {}", kind(&other))))
            }
        }
    }

    /// Takes a number of at most 15 digits, and of a size between 10⁻²² and 10²² or
    /// so: those that need one rounding to become an `f64`, not more.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the field is there and is something else.
    pub fn number(&mut self, field: &str) -> Result<Option<f64>, InvalidSettings> {
        let digits = self.take(field, "a number", |value| match value {
            Value::Number((digits, _)) => Some(*digits),
            _ => None,
        })?;
        let number = |digits| exact(digits).ok_or_else(|| self.invalid(field, "has too many digits"));
        digits.map(number).transpose()
    }

    /// Takes text.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the field is there and is something else.
    pub fn text(&mut self, field: &str) -> Result<Option<String>, InvalidSettings> {
        self.take(field, "text", |value| match value {
            Value::String(text) => Some(text.clone().into_owned()),
            _ => None,
        })
    }

    /// Takes `true` or `false`.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the field is there and is something else.
    pub fn flag(&mut self, field: &str) -> Result<Option<bool>, InvalidSettings> {
        self.take(field, "true or false", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// Takes an object, whose fields `take` takes. An absent object is an empty one.
    ///
    /// # Errors
    /// [`InvalidSettings`] when the field is there and is not an object, when `take`
    /// says so, and when a field of it is left.
    pub fn object<T>(
        &mut self,
        field: &str,
        take: impl FnOnce(&mut Self) -> Result<T, InvalidSettings>,
    ) -> Result<T, InvalidSettings> {
        let fields = match self.remove(field) {
            None => Vec::new(),
            Some(Value::Object(fields)) => fields,
            Some(other) => return Err(self.wrong(field, "an object", &other)),
        };
        Self { fields, path: format!("{}{field}.", self.path) }.consume(take)
    }

    /// Blames a field of this object, for a policy's own checks.
    pub fn invalid(&self, field: &str, problem: impl Into<String>) -> InvalidSettings {
        InvalidSettings::new(format!("{}{field}", self.path), problem)
    }

    fn consume<T>(
        mut self,
        take: impl FnOnce(&mut Self) -> Result<T, InvalidSettings>,
    ) -> Result<T, InvalidSettings> {
        let taken = take(&mut self)?;
        match self.fields.first() {
            Some((field, _)) => Err(self.invalid(field, "is not a setting of this policy")),
            None => Ok(taken),
        }
    }

    fn take<T>(
        &mut self,
        field: &str,
        wanted: &str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, InvalidSettings> {
        match self.remove(field) {
            None => Ok(None),
            Some(value) => read(&value).map(Some).ok_or_else(|| self.wrong(field, wanted, &value)),
        }
    }

    fn remove(&mut self, field: &str) -> Option<Value<'a>> {
        let at = self.fields.iter().position(|(name, _)| name == field)?;
        Some(self.fields.swap_remove(at).1)
    }

    fn wrong(&self, field: &str, wanted: &str, found: &Value<'a>) -> InvalidSettings {
        self.invalid(field, format!("must be {wanted}, not {}", kind(found)))
    }
}

/// The number, if its digits and its power of ten are both exact as `f64`: then one
/// multiplication or division is correctly rounded.
fn exact(number: &str) -> Option<f64> {
    const MOST_DIGITS: u64 = 1_000_000_000_000_000;
    let (digits, exponent) = match number.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let exponent = exponent.checked_sub(i32::try_from(fraction).ok()?)?;
    let mantissa: u64 = digits
        .bytes()
        .filter(u8::is_ascii_digit)
        .try_fold(0u64, |mantissa, digit| mantissa.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    if mantissa >= MOST_DIGITS {
        return None;
    }
    let power = (0..exponent.unsigned_abs().min(23)).fold(1.0, |power, _| power * 10.0);
    let magnitude = match exponent {
        0..=22 => mantissa as f64 * power,
        -22..0 => mantissa as f64 / power,
        _ => return None,
    };
    Some(if number.starts_with('-') { -magnitude } else { magnitude })
}

fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
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
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.problem),
            field => write!(f, "{field}: {}", self.problem),
        }
    }
}

impl std::error::Error for InvalidSettings {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_as_a_whole_are_a_json_object() {
        for (json, wanted) in [
            ("", "the settings are not JSON: value expected"),
            ("{", "the settings are not JSON: value or end of sequence expected"),
            ("{} {}", "the settings are not JSON: end of file expected"),
            ("[1]", "the settings must be an object, not a list"),
            ("null", "the settings must be an object, not null"),
            (&"[".repeat(100_000), "the settings are not JSON: maximal depth exceeded"),
        ] {
            let error = Settings::read(json, |_| Ok(())).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{json:.10}: {error}");
        }
    }

    #[test]
    fn numbers_are_what_rust_reads_or_refused() {
        for number in
            ["0", "-0", "1", "0.5", "0.1", "-12.375", "1e3", "2.5E-3", "1e+22", "999999999999999", "0.3e-1"]
        {
            let json = format!(r#"{{"n": {number}}}"#);
            let read = Settings::read(&json, |settings| settings.number("n"));
            assert_eq!(read, Ok(Some(number.parse().unwrap())), "{number}");
        }
        for number in [
            "1e300",
            "1e-300",
            "1234567890123456",
            "0.12345678901234567890",
            "1e99999999999",
            "99999999999999999999",
        ] {
            let json = format!(r#"{{"n": {number}}}"#);
            let error = Settings::read(&json, |settings| settings.number("n")).unwrap_err();
            assert_eq!(error.to_string(), "n: has too many digits", "{number}");
        }
    }

    #[test]
    fn fields_are_taken_by_name_and_type() {
        let json = r#" {"n": -1.5e2, "t": "a\"\u00e9", "f": true, "o": {"n": 0}} "#;
        let read = Settings::read(json, |settings| {
            let inner = settings.object("o", |inner| inner.number("n"))?;
            let none = settings.object("absent", |absent| absent.flag("f"))?;
            Ok((settings.number("n")?, settings.text("t")?, settings.flag("f")?, inner, none))
        });
        assert_eq!(read, Ok((Some(-150.0), Some("a\"é".to_owned()), Some(true), Some(0.0), None)));
    }
}
