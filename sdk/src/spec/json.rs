//! JSON text to a value, without losing a number on the way.

use serde_json::Value;

use super::{
    document::{Document, MAX_DEPTH},
    error::{SpecError, shorten},
    location::Location,
};

/// Reads a whole JSON document.
pub(super) fn read(document: &Document<'_>) -> Result<Value, SpecError> {
    check(document)?;
    serde_json::from_str(document.text()).map_err(|error| {
        // The place is shown once, in our own way.
        let mut reason = error.to_string();
        if let Some(place) = reason.rfind(" at line ") {
            reason.truncate(place);
        }
        SpecError::Malformed { format: "JSON", at: document.at(error.line(), error.column().max(1)), reason }
    })
}

/// Finds what the parser would not report: nesting over our own limit, and
/// integers of more than 64 bits, which it would silently round to floats.
fn check(document: &Document<'_>) -> Result<(), SpecError> {
    let text = document.text();
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'"' => at = string_end(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(SpecError::TooDeep { at: location(document, start) });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'-' | b'0'..=b'9' => {
                let number = |b: &u8| b.is_ascii_digit() || b"+-.eE".contains(b);
                at += bytes[at..].iter().take_while(|b| number(b)).count();
                let token = &text[start..at];
                let integer = token.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
                if integer
                    && token.len() > 18
                    && token.parse::<i64>().is_err()
                    && token.parse::<u64>().is_err()
                {
                    return Err(SpecError::Unsupported {
                        at: location(document, start),
                        value: shorten(token),
                        reason: "does not fit into 64 bits",
                    });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The position after the string's closing quote.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    bytes.len()
}

fn location(document: &Document<'_>, at: usize) -> Location {
    let before = &document.text()[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1) + 1;
    document.at(line, column)
}
