//! Reading the fields that several kinds of rules have.

use alloc::string::String;

use guildhall_policy::{InvalidSettings, Settings, text};

use super::{Rules, Topology};

/// The weight of a rule that is preferred; `None` when it is required.
pub(super) fn strength(rule: &mut Settings<'_>) -> Result<Option<f32>, InvalidSettings> {
    let weight = whole(rule, "weight", 100)?.unwrap_or(1);
    let required = rule.flag("required")?.unwrap_or(true);
    Ok((!required).then_some(weight as f32))
}

pub(super) fn topology(rule: &mut Settings<'_>, rules: &mut Rules) -> Result<Topology, InvalidSettings> {
    let topology = must_have(rule, "topology")?;
    Ok(match topology.as_str() {
        "host" => Topology::Host,
        label => Topology::Column(rules.column(label)),
    })
}

/// A text that must be there.
pub(super) fn must_have(rule: &mut Settings<'_>, field: &str) -> Result<String, InvalidSettings> {
    match rule.text(field)? {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) => Err(rule.invalid(field, "must not be empty")),
        None => Err(rule.invalid(field, "is missing")),
    }
}

/// Which of these words a field is.
pub(super) fn one_of(rule: &mut Settings<'_>, field: &str, words: &[&str]) -> Result<usize, InvalidSettings> {
    let word = must_have(rule, field)?;
    words.iter().position(|known| *known == word).ok_or_else(|| {
        let words = listed(words.iter().copied());
        rule.invalid(field, text!("must be one of ", words))
    })
}

/// A whole number from 1 to `most`.
pub(super) fn whole(rule: &mut Settings<'_>, field: &str, most: u32) -> Result<Option<u32>, InvalidSettings> {
    let Some(number) = rule.number(field)? else { return Ok(None) };
    match (1.0..=f64::from(most)).contains(&number) && f64::from(number as u32) == number {
        true => Ok(Some(number as u32)),
        false => Err(rule.invalid(field, text!("must be a whole number from 1 to ", most))),
    }
}

/// Words with commas between them.
pub(super) fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(word);
    }
    text
}
