//! Where in which document something was found, for messages.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A place in a document. Shows as `guild.yaml:3:7`, which editors can jump to,
/// or as `line 3, column 7` when the text did not come from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    file: Option<PathBuf>,
    line: usize,
    column: usize,
}

impl Location {
    pub(super) fn new(file: Option<&Path>, line: usize, column: usize) -> Self {
        Self { file: file.map(Path::to_owned), line, column }
    }

    /// The file, if the text came from one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters (in bytes for JSON), counted from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column } = self;
        match file {
            Some(file) => write!(f, "{}:{line}:{column}", file.display()),
            None => write!(f, "line {line}, column {column}"),
        }
    }
}

/// One use of `!include` or `!code`. Shows as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    tag: &'static str,
    target: String,
    at: Location,
}

impl Reference {
    pub(super) fn new(tag: &'static str, target: String, at: Location) -> Self {
        Self { tag, target, at }
    }

    /// `!include` or `!code`.
    pub fn tag(&self) -> &'static str {
        self.tag
    }

    /// The file it asks for, as written.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Where it stands.
    pub fn at(&self) -> &Location {
        &self.at
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{} {}`", self.at, self.tag, super::error::shorten(&self.target))
    }
}
