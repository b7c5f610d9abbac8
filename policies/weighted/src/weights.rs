//! What operators may set: how much each part of a score counts.

use guildhall_policy::{InvalidSettings, Settings};

/// The parts of a score.
pub(crate) const PARTS: usize = 8;

/// What each is called, in settings and in reasons.
pub(crate) const NAMES: [&str; PARTS] =
    ["slots", "cpu", "memory", "allocatable", "starts", "warm", "guild", "failed"];

pub(crate) const SLOTS: usize = 0;
pub(crate) const CPU: usize = 1;
pub(crate) const MEMORY: usize = 2;
pub(crate) const ALLOCATABLE: usize = 3;
pub(crate) const STARTS: usize = 4;
pub(crate) const WARM: usize = 5;
pub(crate) const GUILD: usize = 6;
pub(crate) const FAILED: usize = 7;

const DEFAULTS: [f64; PARTS] = [1.0, 0.5, 0.5, 0.0, 0.0, 0.5, 0.0, 1.0];

const MOST: f64 = 1e6;

/// How much each part counts: shares of 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    shares: [f32; PARTS],
    /// The guild's agents are to be spread: the fewer of them, the better.
    spread: bool,
}

impl Weights {
    pub(crate) fn read(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        let mut weights = DEFAULTS;
        settings.object("weights", |fields| {
            for (nth, weight) in weights.iter_mut().enumerate() {
                *weight = fields.number(NAMES[nth])?.unwrap_or(*weight);
                let (least, problem) = match nth {
                    GUILD => (-MOST, "must be from -1000000 to 1000000"),
                    _ => (0.0, "must be from 0 to 1000000"),
                };
                if !(least..=MOST).contains(weight) {
                    return Err(fields.invalid(NAMES[nth], problem));
                }
            }
            Ok(())
        })?;
        let spread = weights[GUILD] < 0.0;
        weights[GUILD] = weights[GUILD].abs();
        let all: f64 = weights.iter().sum();
        match all > 0.0 {
            true => Ok(Self { shares: weights.map(|weight| (weight / all) as f32), spread }),
            false => Err(settings.invalid("weights", "must not all be 0")),
        }
    }

    /// Whether the part counts at all.
    pub(crate) fn counts(&self, part: usize) -> bool {
        self.shares[part] > 0.0
    }

    /// What the part adds to a score when it is worth so much, from 0 to 1.
    pub(crate) fn of(&self, part: usize, worth: f32) -> f32 {
        match part == GUILD && self.spread {
            true => self.shares[part] * (1.0 - worth),
            false => self.shares[part] * worth,
        }
    }
}
