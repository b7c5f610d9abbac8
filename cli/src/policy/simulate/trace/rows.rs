//! Lines of a CSV file, and where a bad one is.

use std::{fs::File, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use csv::StringRecord;

use super::{super::seconds, Format, azure_vm, google};

/// One line, cut into its values.
pub(super) struct Row<'a> {
    record: &'a StringRecord,
}

/// Hands each line of the file to `take`. An error says which line it was.
pub(super) fn each(file: &Path, mut take: impl FnMut(&Row<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut lines = Lines::open(file)?;
    while lines.next()? {
        let line = lines.record.position().map_or(0, csv::Position::line);
        take(&lines.row()).with_context(|| format!("{}:{line}", file.display()))?;
    }
    Ok(())
}

/// What the first line looks like.
pub(super) fn recognise(file: &Path) -> anyhow::Result<Format> {
    let mut lines = Lines::open(file)?;
    ensure!(lines.next()?, "{} is empty", file.display());
    let row = lines.row();
    Ok(match (row.text(0), row.len()) {
        ("HashOwner", _) => Format::AzureFunctions,
        // Two that do not name their columns, and have so many.
        (_, azure_vm::COLUMNS) if !row.has("arrives_s") => Format::AzureVm,
        (_, google::COLUMNS) if !row.has("arrives_s") => Format::Google,
        _ => Format::Plain,
    })
}

struct Lines<'a> {
    file: &'a Path,
    reader: csv::Reader<File>,
    record: StringRecord,
}

impl<'a> Lines<'a> {
    fn open(file: &'a Path) -> anyhow::Result<Self> {
        // Each format names its columns, or knows them: so no line is a header here.
        let mut reader = csv::ReaderBuilder::new();
        let reader = reader.has_headers(false).flexible(true).trim(csv::Trim::All).from_path(file);
        let reader = reader.with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self { file, reader, record: StringRecord::new() })
    }

    fn next(&mut self) -> anyhow::Result<bool> {
        let read = self.reader.read_record(&mut self.record);
        read.with_context(|| format!("cannot read {}", self.file.display()))
    }

    fn row(&self) -> Row<'_> {
        Row { record: &self.record }
    }
}

impl Row<'_> {
    pub(super) fn len(&self) -> usize {
        self.record.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&str> {
        self.record.get(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.record.iter()
    }

    pub(super) fn has(&self, value: &str) -> bool {
        self.iter().any(|found| found == value)
    }

    /// As many values as there are columns, or an error.
    pub(super) fn must_have(&self, columns: usize) -> anyhow::Result<()> {
        ensure!(self.len() == columns, "{} values for {columns} columns", self.len());
        Ok(())
    }

    /// A value that is there: see [`must_have`](Self::must_have).
    pub(super) fn text(&self, at: usize) -> &str {
        self.get(at).unwrap_or_default()
    }

    /// A number from 0 on.
    pub(super) fn number(&self, at: usize, name: &str) -> anyhow::Result<f64> {
        let text = self.text(at);
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            Ok(_) => bail!("{name}: {text} is not from 0 on"),
            Err(_) => bail!("{name}: {text:?} is no number"),
        }
    }

    /// A whole number from 0 on.
    pub(super) fn whole(&self, at: usize, name: &str) -> anyhow::Result<u64> {
        let text = self.text(at);
        text.parse().with_context(|| format!("{name}: {text:?} is no whole number"))
    }

    pub(super) fn time(&self, at: usize, name: &str) -> anyhow::Result<Duration> {
        let number = self.number(at, name)?;
        ensure!(number < 1e9, "{name}: {number} is not below a billion seconds");
        Ok(seconds(number))
    }
}
