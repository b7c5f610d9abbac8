//! Columns of our own, by name and in any order.

use std::path::Path;

use anyhow::{Context, ensure};

use super::{
    Read, Roll, Size,
    rows::{self, Row},
};

struct Columns {
    all: usize,
    arrives: usize,
    stays: usize,
    guild: Option<usize>,
    agent: Option<usize>,
    class: Option<usize>,
    cpu_millis: Option<usize>,
    memory: Option<usize>,
}

/// All agents belong to one guild, unless there is a column that says otherwise.
const GUILD: &str = "guild";

pub(super) fn read(file: &Path) -> anyhow::Result<Roll> {
    let mut columns: Option<Columns> = None;
    let mut roll = Roll::default();
    rows::each(file, |row| match &columns {
        None => {
            columns = Some(Columns::find(row)?);
            Ok(())
        }
        Some(columns) => columns.read(row, &mut roll),
    })?;
    ensure!(columns.is_some(), "{} is empty", file.display());
    Ok(roll)
}

impl Columns {
    fn find(names: &Row<'_>) -> anyhow::Result<Self> {
        let column = |name: &str| names.iter().position(|found| found == name);
        let needed = |name: &str| column(name).with_context(|| format!("there is no column {name}"));
        Ok(Self {
            all: names.len(),
            arrives: needed("arrives_s")?,
            stays: needed("stays_s")?,
            guild: column("guild"),
            agent: column("agent"),
            class: column("class"),
            cpu_millis: column("cpu_millis"),
            memory: column("memory"),
        })
    }

    fn read(&self, row: &Row<'_>, roll: &mut Roll) -> anyhow::Result<()> {
        row.must_have(self.all)?;
        let whole = |at: Option<usize>, name| at.map_or(Ok(0), |at| row.whole(at, name));
        let nth = format!("agent-{}", roll.agents.len());
        roll.add(Read {
            guild: self.guild.map_or(GUILD, |at| row.text(at)),
            agent: self.agent.map_or(nth.as_str(), |at| row.text(at)),
            class: self.class.map_or("", |at| row.text(at)),
            arrives: row.time(self.arrives, "arrives_s")?,
            stays: row.time(self.stays, "stays_s")?,
            size: Size {
                cpu_millis: whole(self.cpu_millis, "cpu_millis")?,
                memory: whole(self.memory, "memory")?,
            },
        })
    }
}
