//! `vmtable.csv` of Azure's public traces of 2017 and 2019: a virtual machine a line.
//!
//! <https://github.com/Azure/AzurePublicDataset> names the columns, as the file does not.
//! A machine is an agent, its deployment the guild, its category the class. How much of
//! its CPU it used is not looked at: it counts as what it asked for.

use std::path::Path;

use anyhow::ensure;

use super::{
    Read, Roll, Size,
    rows::{self, Row},
};

pub(super) const COLUMNS: usize = 11;
const VM: usize = 0;
const DEPLOYMENT: usize = 2;
const CREATED: usize = 3;
const DELETED: usize = 4;
const CATEGORY: usize = 8;
const CORES: usize = 9;
const MEMORY: usize = 10;

/// What the buckets without an upper end are taken for, as Azure's own analysis does.
const OPEN_BUCKETS: [(&str, f64); 2] = [(">24", 30.0), (">64", 70.0)];

pub(super) fn read(file: &Path) -> anyhow::Result<Roll> {
    let mut roll = Roll::default();
    rows::each(file, |row| {
        row.must_have(COLUMNS)?;
        let (created, deleted) = (row.time(CREATED, "vmcreated")?, row.time(DELETED, "vmdeleted")?);
        ensure!(created <= deleted, "vmdeleted is before vmcreated");
        let cores = bucket(row, CORES, "vmcorecountbucket")?;
        let gib = bucket(row, MEMORY, "vmmemorybucket")?;
        roll.add(Read {
            guild: row.text(DEPLOYMENT),
            agent: row.text(VM),
            class: row.text(CATEGORY),
            arrives: created,
            stays: deleted - created,
            size: Size::new(cores, gib),
        })
    })?;
    Ok(roll)
}

/// A number, or a bucket such as `>24`.
fn bucket(row: &Row<'_>, at: usize, name: &str) -> anyhow::Result<f64> {
    let open = OPEN_BUCKETS.iter().find(|(bucket, _)| *bucket == row.text(at));
    open.map_or_else(|| row.number(at, name), |(_, number)| Ok(*number))
}
