//! Collecting mistakes, and the forms in which amounts and times are written.

use std::{fmt, time::Duration};

use guildhall::resources::Amounts;

/// Everything that is wrong with a configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(super) Vec<String>);

impl ConfigErrors {
    /// One sentence for each mistake.
    pub fn messages(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects mistakes.
#[derive(Default)]
pub(super) struct Check(pub(super) Vec<String>);

impl Check {
    pub(super) fn mistake(&mut self, name: &str, value: &str, what: &str) {
        self.0.push(format!("{name}={value:?} {what}"));
    }

    pub(super) fn missing(&mut self, name: &str, why: &str) {
        self.0.push(format!("{name} is not set: {why}"));
    }

    pub(super) fn parse<T: std::str::FromStr>(&mut self, name: &str, value: &str, what: &str) -> Option<T> {
        let parsed = value.trim().parse().ok();
        if parsed.is_none() {
            self.mistake(name, value, &format!("is not {what}"));
        }
        parsed
    }

    pub(super) fn check<T, E: fmt::Display>(
        &mut self,
        name: &str,
        value: &dyn fmt::Display,
        result: Result<T, E>,
    ) -> Option<T> {
        result
            .map_err(|error| self.mistake(name, &value.to_string(), &format!("cannot be used: {error}")))
            .ok()
    }

    /// A duration that is not zero; a bare number counts seconds.
    pub(super) fn duration(&mut self, name: &str, value: &str) -> Duration {
        let seconds = value.trim().parse().ok().map(Duration::from_secs);
        let parsed = seconds.or_else(|| humantime::parse_duration(value.trim()).ok());
        match parsed.filter(|duration| !duration.is_zero()) {
            Some(duration) => duration,
            None => {
                self.mistake(name, value, "is not a duration such as 20s, 500ms or 20");
                // Stands in until all mistakes are told.
                Duration::from_secs(3600)
            }
        }
    }
}

/// Amounts of resources as an operator writes them.
pub(super) fn amounts<'a>(parts: impl Iterator<Item = &'a str>) -> Result<Amounts, String> {
    let mut amounts = Amounts::default();
    for part in parts {
        let not_an_amount = || format!("{part} is not of the form cpus=3.5, memory=8Gi or name=2");
        let (name, amount) = part.split_once('=').ok_or_else(not_an_amount)?;
        let amount = quantity(amount.trim()).ok_or_else(not_an_amount)?;
        match name.trim() {
            "" => return Err(not_an_amount()),
            "cpus" => amounts.cpu_millis = (amount * 1000.0) as u64,
            "gpus" => amounts.accelerator_millis = (amount * 1000.0) as u64,
            "memory" => amounts.memory = amount as u64,
            name => drop(amounts.custom.insert(name.to_owned(), amount)),
        }
    }
    Ok(amounts)
}

/// A number that is not negative, with or without a binary unit.
fn quantity(text: &str) -> Option<f64> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    let (number, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).unwrap_or((text, 0));
    let number: f64 = number.parse().ok()?;
    (number.is_finite() && number >= 0.0).then(|| number * (1_u64 << shift) as f64)
}

/// The parts of a list with commas; none of an empty one.
pub(super) fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}
