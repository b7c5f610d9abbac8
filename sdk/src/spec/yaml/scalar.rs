//! What a YAML word means by the rules of PyYAML's safe loader (YAML 1.1).
//!
//! They differ from YAML 1.2 where people trip: `yes` and `off` are booleans,
//! `010` is eight, `1:30` is ninety, `1_000` is a thousand, and `1e3` is text
//! because a float needs its point.

use serde_json::{Number, Value};

const TOO_WIDE: &str = "does not fit into 64 bits";
const NOT_FINITE: &str = "is not a number that JSON can hold";

/// A word without quotes or tag.
pub(super) fn plain(text: &str) -> Result<Value, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Ok(Value::Null),
        _ if let Some(value) = boolean(text) => Ok(Value::Bool(value)),
        _ if is_integer(text) => integer(text),
        _ if is_float(text) => float(text),
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// A word with a tag: `name` is the tag as people write it.
pub(super) fn tagged(name: &str, text: &str) -> Result<Value, &'static str> {
    match name.strip_prefix("!!") {
        Some("str" | "timestamp") => Ok(Value::String(text.to_owned())),
        Some("null") => Ok(Value::Null),
        Some("bool") => match text.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" => Ok(Value::Bool(true)),
            "no" | "false" | "off" => Ok(Value::Bool(false)),
            _ => Err("is not a boolean, as its tag says"),
        },
        Some("int") => integer(text),
        Some("float") => float(text),
        _ => Err(super::NO_SUCH_TAG),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn unsigned(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Some of `allowed`, and nothing else.
fn is_all(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(allowed)
}

fn digit_or_gap(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'_'
}

/// The minutes and seconds of `1:30:00`: up to 59 each, one or two digits.
fn is_sixtieth(part: &str) -> bool {
    matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
}

fn is_integer(text: &str) -> bool {
    let (_, digits) = unsigned(text);
    if let Some(binary) = digits.strip_prefix("0b") {
        return is_all(binary, |b| matches!(b, b'0' | b'1' | b'_'));
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return is_all(hex, |b| b.is_ascii_hexdigit() || b == b'_');
    }
    if let Some(octal) = digits.strip_prefix('0') {
        return octal.is_empty() || is_all(octal, |b| matches!(b, b'0'..=b'7' | b'_'));
    }
    let mut parts = digits.split(':');
    digits.starts_with(|c: char| c.is_ascii_digit())
        && parts.next().is_some_and(|first| is_all(first, digit_or_gap))
        && parts.all(is_sixtieth)
}

fn integer(text: &str) -> Result<Value, &'static str> {
    const NOT_AN_INTEGER: &str = "is not an integer, as its form or tag says";
    let text = text.replace('_', "");
    let (negative, digits) = unsigned(&text);
    let parse = |digits: &str, radix| {
        if !is_all(digits, |b| char::from(b).is_digit(radix)) {
            return Err(NOT_AN_INTEGER);
        }
        i128::from_str_radix(digits, radix).map_err(|_| TOO_WIDE)
    };
    let value = if let Some(binary) = digits.strip_prefix("0b") {
        parse(binary, 2)?
    } else if let Some(hex) = digits.strip_prefix("0x") {
        parse(hex, 16)?
    } else if digits.len() > 1 && digits.starts_with('0') {
        parse(digits, 8)?
    } else {
        digits.split(':').try_fold(0_i128, |sum, part| {
            let part = parse(part, 10)?;
            sum.checked_mul(60).and_then(|sum| sum.checked_add(part)).ok_or(TOO_WIDE)
        })?
    };
    let value = if negative { -value } else { value };
    Number::from_i128(value).map(Value::Number).ok_or(TOO_WIDE)
}

fn is_float(text: &str) -> bool {
    let (_, number) = unsigned(text);
    if matches!(number, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some((whole, rest)) = number.split_once('.') else { return false };
    if whole.is_empty() {
        // No sign before a bare point.
        let (fraction, exponent) = split_exponent(rest);
        return text.starts_with('.')
            && fraction.starts_with(|c: char| c.is_ascii_digit())
            && is_all(fraction, digit_or_gap)
            && exponent.is_none_or(is_exponent);
    }
    if !whole.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let mut parts = whole.split(':');
    if !parts.next().is_some_and(|first| is_all(first, digit_or_gap)) {
        return false;
    }
    let (fraction, exponent) = split_exponent(rest);
    if !fraction.bytes().all(digit_or_gap) {
        return false;
    }
    match whole.contains(':') {
        true => parts.all(is_sixtieth) && exponent.is_none(),
        false => exponent.is_none_or(is_exponent),
    }
}

fn split_exponent(text: &str) -> (&str, Option<&str>) {
    match text.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (text, None),
    }
}

/// The sign of an exponent is required.
fn is_exponent(text: &str) -> bool {
    text.strip_prefix(['+', '-']).is_some_and(|digits| is_all(digits, |b| b.is_ascii_digit()))
}

fn float(text: &str) -> Result<Value, &'static str> {
    let text = text.replace('_', "").to_ascii_lowercase();
    let (negative, number) = unsigned(&text);
    if matches!(number, ".inf" | ".nan") {
        return Err(NOT_FINITE);
    }
    let parse = |part: &str| {
        let is_number = is_all(part, |b| b.is_ascii_digit() || b".e+-".contains(&b));
        part.parse::<f64>().ok().filter(|_| is_number).ok_or("is not a float, as its tag says")
    };
    let value = match number.rsplit_once(':') {
        None => parse(number)?,
        // Python adds from the right; so do we, as the sum of floats depends on it.
        Some(_) => {
            let mut sum = 0.0;
            let mut base = 1.0;
            for part in number.rsplit(':') {
                sum += parse(part)? * base;
                base *= 60.0;
            }
            sum
        }
    };
    let value = if negative { -value } else { value };
    Number::from_f64(value).map(Value::Number).ok_or(NOT_FINITE)
}
