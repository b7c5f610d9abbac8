//! The results: a JSON list that later benches add rows to.
//!
//! Each row is `{"figure", "value", "unit", "goal", "met"}`. A figure that is taken
//! again replaces its row where it stands; a new one comes last.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

/// The lines between which a page has the figures of survival.
const BEGIN: &str = "<!-- survival: made by `make survival ARGS=--write-docs` -->\n";
const END: &str = "<!-- end of survival -->\n";

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What was measured; names the row.
    figure: String,
    /// In `unit`, to four digits.
    value: f64,
    unit: String,
    /// What it should be; `None` where only a report was asked for.
    goal: Option<String>,
    met: Option<bool>,
}

impl Row {
    /// A figure without a goal.
    pub(crate) fn new(figure: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            figure: figure.into(),
            value: four_digits(value),
            unit: unit.to_owned(),
            goal: None,
            met: None,
        }
    }

    /// The figure should be at most this.
    pub(crate) fn at_most(self, limit: f64) -> Self {
        let met = self.value <= limit;
        self.goal(format!("≤ {limit}"), met)
    }

    /// The figure should be less than this.
    pub(crate) fn below(self, limit: f64) -> Self {
        let met = self.value < limit;
        self.goal(format!("< {limit}"), met)
    }

    /// The figure should be at least this.
    pub(crate) fn at_least(self, limit: f64) -> Self {
        let met = self.value >= limit;
        self.goal(format!("≥ {limit}"), met)
    }

    /// A goal in words, and whether it was met.
    pub(crate) fn goal(self, goal: String, met: bool) -> Self {
        Self { goal: Some(goal), met: Some(met), ..self }
    }
}

/// More digits than four say nothing.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// All rows, those of earlier runs included.
#[derive(Debug)]
pub(crate) struct Report {
    file: PathBuf,
    rows: Vec<Row>,
    /// Figures that this run took.
    taken: Vec<String>,
}

/// A file in the target folder that this program was built in.
pub(crate) fn beside_this_program(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // target/release/bench
    let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
    Ok(target.join(name))
}

impl Report {
    /// Begins with the rows of `file`, if it is there.
    pub(crate) fn open(file: PathBuf) -> Result<Self> {
        let rows = match fs::read(&file) {
            Ok(json) => serde_json::from_slice(&json)
                .with_context(|| format!("{} is not a report", file.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        Ok(Self { file, rows, taken: Vec::new() })
    }

    /// Adds rows, in place of those of the same figures.
    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        for row in rows {
            self.taken.push(row.figure.clone());
            match self.rows.iter_mut().find(|known| known.figure == row.figure) {
                Some(known) => *known = row,
                None => self.rows.push(row),
            }
        }
    }

    /// Writes all rows.
    pub(crate) fn save(&self) -> Result<()> {
        let json = serde_json::to_string_pretty(&self.rows)?;
        fs::write(&self.file, json + "\n").with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// Puts all rows as a table in Markdown between the marks of a page.
    pub(crate) fn write_docs(&self, page: &Path) -> Result<()> {
        let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
        let from = text.find(BEGIN).with_context(|| format!("there is no line {BEGIN:?}"))? + BEGIN.len();
        let to = text[from..].find(END).with_context(|| format!("there is no line {END:?}"))? + from;
        let mut table = "| figure | value | goal | met |\n| --- | --- | --- | --- |\n".to_owned();
        for Row { figure, value, unit, goal, met } in &self.rows {
            let goal = goal.as_deref().unwrap_or_default();
            let met = met.map_or("", |met| if met { "yes" } else { "**no**" });
            table += &format!("| {figure} | {value} {unit} | {goal} | {met} |\n");
        }
        Ok(fs::write(page, format!("{}{table}{}", &text[..from], &text[to..]))?)
    }

    /// What this run took, as a table.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY).set_header(["figure", "value", "unit", "goal", "met"]);
        for row in self.rows.iter().filter(|row| self.taken.contains(&row.figure)) {
            let met = match row.met {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "",
            };
            let goal = row.goal.as_deref().unwrap_or_default();
            table.add_row([row.figure.as_str(), &row.value.to_string(), &row.unit, goal, met]);
        }
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_filled_between_its_marks() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (file, page) = (folder.path().join("survival.json"), folder.path().join("page.md"));
        fs::write(&page, format!("a\n{BEGIN}old\n{END}b\n"))?;
        let mut report = Report::open(file)?;
        report.add(vec![Row::new("x", 1.5, "s").below(2.0)]);
        report.write_docs(&page)?;
        let table = "| figure | value | goal | met |\n| --- | --- | --- | --- |\n| x | 1.5 s | < 2 | yes |\n";
        assert_eq!(fs::read_to_string(&page)?, format!("a\n{BEGIN}{table}{END}b\n"));
        Ok(())
    }

    #[test]
    fn rows_are_replaced_in_place_and_new_ones_come_last() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("bench.json");
        let mut first = Report::open(file.clone())?;
        first.add(vec![Row::new("a", 1.0, "s"), Row::new("b", 2.0, "s").at_most(2.0)]);
        first.save()?;

        let mut second = Report::open(file.clone())?;
        second.add(vec![Row::new("c", 0.123456, "s"), Row::new("a", 3.0, "s").at_least(4.0)]);
        second.save()?;

        let json: serde_json::Value = serde_json::from_slice(&fs::read(file)?)?;
        assert_eq!(
            json,
            serde_json::json!([
                {"figure": "a", "value": 3.0, "unit": "s", "goal": "≥ 4", "met": false},
                {"figure": "b", "value": 2.0, "unit": "s", "goal": "≤ 2", "met": true},
                {"figure": "c", "value": 0.1235, "unit": "s", "goal": null, "met": null},
            ])
        );
        let table = second.table().to_string();
        assert!(table.contains("0.1235") && !table.contains("≤ 2"), "only what this run took:\n{table}");
        Ok(())
    }
}
