//! How specs are read: from where, and within which limits.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    document::{Allowance, Document, FileFault, MAX_INCLUDE_DEPTH, MAX_SPEC_BYTES},
    error::SpecError,
    guild::GuildSpec,
    include::Files,
    json, yaml,
};

/// Reads guild specs with a root folder and limits of your own.
/// [`GuildSpec::from_path`] and its like are this with the defaults.
///
/// Reading from files blocks the thread; in async code use `spawn_blocking`.
///
/// ```
/// use guildhall::spec::SpecReader;
///
/// let reader = SpecReader::new().max_bytes(64 * 1024).max_include_depth(2);
/// let error = reader.read_yaml("name: !include name.yaml").unwrap_err();
/// assert!(error.to_string().contains("no folder to start from"));
/// ```
#[derive(Clone, Debug)]
pub struct SpecReader {
    root: Option<PathBuf>,
    max_bytes: usize,
    max_include_depth: usize,
}

impl Default for SpecReader {
    fn default() -> Self {
        Self { root: None, max_bytes: MAX_SPEC_BYTES, max_include_depth: MAX_INCLUDE_DEPTH }
    }
}

impl SpecReader {
    /// A reader with the default limits and no root folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// The folder that no `!include` or `!code` may lead out of. In a text that is
    /// not from a file, references also start here.
    ///
    /// By default it is the folder of the file that is read, and texts may refer
    /// to no file.
    #[must_use]
    pub fn root(mut self, folder: impl Into<PathBuf>) -> Self {
        self.root = Some(folder.into());
        self
    }

    /// Largest spec in bytes, [`MAX_SPEC_BYTES`] by default. It holds for the text
    /// with all files it includes, and again for the JSON that comes of it.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How deeply files may include files, [`MAX_INCLUDE_DEPTH`] by default;
    /// 0 allows no `!include`.
    #[must_use]
    pub fn max_include_depth(mut self, files: usize) -> Self {
        self.max_include_depth = files;
        self
    }

    /// Reads a `.yaml`, `.yml` or `.json` file.
    ///
    /// # Errors
    /// [`SpecError`] says where the spec, or a file it includes, goes wrong.
    pub fn read_path(&self, file: impl AsRef<Path>) -> Result<GuildSpec, SpecError> {
        let file = file.as_ref();
        let extension = file.extension().map(|e| e.to_ascii_lowercase());
        let is_json = match extension.as_deref().and_then(|e| e.to_str()) {
            Some("yaml" | "yml") => false,
            Some("json") => true,
            _ => return Err(SpecError::UnknownExtension { file: file.to_owned() }),
        };
        let mut allowance = Allowance::new(self.max_bytes);
        let document = Document::from_file(file, &mut allowance).map_err(|fault| match fault {
            FileFault::Spec(error) => error,
            FileFault::System(source) => SpecError::Read { file: file.to_owned(), source },
        })?;
        let value = if is_json {
            json::read(&document)?
        } else {
            let folder = match file.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            let mut files = Files::new(Some(self.root.as_deref().unwrap_or(folder)), self.max_include_depth)?;
            files.begin_with(file)?;
            yaml::read(&document, &mut files, &mut allowance)?
        };
        GuildSpec::build(value, &mut allowance.renewed())
    }

    /// Reads YAML text.
    ///
    /// # Errors
    /// [`SpecError`] says where the spec, or a file it includes, goes wrong.
    pub fn read_yaml(&self, text: impl AsRef<[u8]>) -> Result<GuildSpec, SpecError> {
        let mut allowance = Allowance::new(self.max_bytes);
        let document = Document::from_text(text.as_ref(), &mut allowance)?;
        let mut files = Files::new(self.root.as_deref(), self.max_include_depth)?;
        let value = yaml::read(&document, &mut files, &mut allowance)?;
        GuildSpec::build(value, &mut allowance.renewed())
    }

    /// Reads JSON text.
    ///
    /// # Errors
    /// [`SpecError`] says where the spec goes wrong.
    pub fn read_json(&self, text: impl AsRef<[u8]>) -> Result<GuildSpec, SpecError> {
        let mut allowance = Allowance::new(self.max_bytes);
        let value = read_json(text.as_ref(), &mut allowance)?;
        GuildSpec::build(value, &mut allowance)
    }
}

/// A JSON value within the allowance.
pub(super) fn read_json(text: &[u8], allowance: &mut Allowance) -> Result<Value, SpecError> {
    json::read(&Document::from_text(text, allowance)?)
}
