//! Azure's public trace of functions of 2019: how often each was called in each minute.
//!
//! <https://github.com/Azure/AzurePublicDataset> describes it. Each call is an agent; it
//! comes at any moment of its minute, and stays as long as agents that are invented. The
//! app is the guild, the trigger the class. Nothing says how large a call is.

use std::path::Path;

use anyhow::ensure;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    super::seconds,
    Read, Roll, Size, exponential,
    rows::{self, Row},
};

const NAMES: [&str; 4] = ["HashOwner", "HashApp", "HashFunction", "Trigger"];
const APP: usize = 1;
const FUNCTION: usize = 2;
const TRIGGER: usize = 3;

/// Seconds in a minute.
const MINUTE: f64 = 60.0;

/// How much of a function's hash is in the ids of its agents: enough to tell it apart.
const HASH: usize = 12;

pub(super) fn read(file: &Path, stay: f64, seed: u64) -> anyhow::Result<Roll> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut columns = None;
    let mut roll = Roll::default();
    rows::each(file, |row| match columns {
        None => {
            let named =
                row.len() > NAMES.len() && NAMES.iter().zip(row.iter()).all(|(name, found)| *name == found);
            ensure!(named, "the columns are not {}, and the minutes of a day", NAMES.join(", "));
            columns = Some(row.len());
            Ok(())
        }
        Some(columns) => {
            row.must_have(columns)?;
            called(row, &mut roll, stay, &mut chance)
        }
    })?;
    Ok(roll)
}

/// The calls of one function.
fn called(row: &Row<'_>, roll: &mut Roll, stay: f64, chance: &mut StdRng) -> anyhow::Result<()> {
    for minute in 1..=row.len() - NAMES.len() {
        let calls = row.whole(NAMES.len() + minute - 1, &format!("minute {minute}"))?;
        roll.has_room(calls)?;
        for nth in 0..calls {
            roll.add(Read {
                guild: row.text(APP),
                agent: &format!("{:.HASH$}-{minute}-{nth}", row.text(FUNCTION)),
                class: row.text(TRIGGER),
                arrives: seconds(((minute - 1) as f64 + chance.random::<f64>()) * MINUTE),
                stays: seconds(exponential(chance, stay)),
                size: Size::default(),
            })?;
        }
    }
    Ok(())
}
