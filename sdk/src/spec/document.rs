//! One text on its way to become a value, and what all texts of a spec may cost
//! together.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{error::SpecError, location::Location};
use crate::launch::MAX_LAUNCH_BYTES;

/// Largest spec that is read unless [`SpecReader::max_bytes`](super::SpecReader::max_bytes)
/// says otherwise, in bytes. It bounds both the text with all files it includes
/// and the JSON that comes of it, which has to fit into a launch.
pub const MAX_SPEC_BYTES: usize = MAX_LAUNCH_BYTES;

/// How deeply lists and mappings may be nested, includes counted as one level
/// each. Half of what common JSON readers take, so that a spec can be carried
/// inside other documents.
pub const MAX_DEPTH: usize = 64;

/// How deeply files may include files unless
/// [`SpecReader::max_include_depth`](super::SpecReader::max_include_depth) says otherwise.
pub const MAX_INCLUDE_DEPTH: usize = 8;

/// A text and where it came from.
pub(super) struct Document<'t> {
    text: Cow<'t, str>,
    file: Option<PathBuf>,
}

impl<'t> Document<'t> {
    /// A text that the caller holds.
    pub(super) fn from_text(text: &'t [u8], allowance: &mut Allowance) -> Result<Self, SpecError> {
        allowance.read(None, text.len())?;
        let text = std::str::from_utf8(text).map_err(|error| not_utf8(None, error))?;
        Ok(Self { text: Cow::Borrowed(text), file: None })
    }

    /// The text of a file. Never reads more than is allowed, and never waits on
    /// something that is not a regular file.
    pub(super) fn from_file(file: &Path, allowance: &mut Allowance) -> Result<Self, FileFault> {
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file").into());
        }
        let mut bytes = Vec::new();
        let left = allowance.bytes_left as u64;
        File::open(file)?.take(left.saturating_add(1)).read_to_end(&mut bytes)?;
        allowance.read(Some(file), bytes.len())?;
        let text = String::from_utf8(bytes).map_err(|error| not_utf8(Some(file), error.utf8_error()))?;
        Ok(Self { text: Cow::Owned(text), file: Some(file.to_owned()) })
    }

    /// The text without a byte order mark.
    pub(super) fn text(&self) -> &str {
        self.text.strip_prefix('\u{feff}').unwrap_or(&self.text)
    }

    /// The text as Python's `open` in text mode gives it: any line end is `\n`.
    pub(super) fn into_python_text(self) -> String {
        if self.text.contains('\r') {
            self.text.replace("\r\n", "\n").replace('\r', "\n")
        } else {
            self.text.into_owned()
        }
    }

    /// The file it came from.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// A place in it; line and column count from 1.
    pub(super) fn at(&self, line: usize, column: usize) -> Location {
        Location::new(self.file(), line, column)
    }
}

fn not_utf8(file: Option<&Path>, error: std::str::Utf8Error) -> SpecError {
    SpecError::NotUtf8 { document: title(file), byte: error.valid_up_to() }
}

fn title(file: Option<&Path>) -> String {
    file.map_or_else(|| "the text".to_owned(), |file| file.display().to_string())
}

/// Why a file gave no document. The caller knows who asked for it.
pub(super) enum FileFault {
    System(io::Error),
    Spec(SpecError),
}

impl From<io::Error> for FileFault {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<SpecError> for FileFault {
    fn from(error: SpecError) -> Self {
        Self::Spec(error)
    }
}

/// What one spec may still cost: bytes of text to read, bytes of JSON to grow.
#[derive(Debug)]
pub(super) struct Allowance {
    limit: usize,
    bytes_left: usize,
    growth_left: usize,
}

impl Allowance {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, bytes_left: limit, growth_left: limit }
    }

    fn read(&mut self, file: Option<&Path>, bytes: usize) -> Result<(), SpecError> {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None => return Err(SpecError::TooLarge { document: title(file), limit: self.limit }),
        }
        Ok(())
    }

    /// Pays for about `bytes` of JSON.
    pub(super) fn grow(&mut self, bytes: usize, at: impl FnOnce() -> String) -> Result<(), SpecError> {
        match self.growth_left.checked_sub(bytes) {
            Some(left) => self.growth_left = left,
            None => return Err(SpecError::Expanded { at: at(), limit: self.limit }),
        }
        Ok(())
    }

    /// The same limit again, for a stage that starts afresh.
    pub(super) fn renewed(&self) -> Self {
        Self::new(self.limit)
    }
}
