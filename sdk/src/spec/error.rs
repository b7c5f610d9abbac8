//! What can be wrong with a spec.

use std::{io, path::PathBuf};

use super::{
    MAX_DEPTH, MAX_NAME_CHARS,
    location::{Location, Reference},
};
use crate::ids::{AgentId, InvalidId};

/// A spec that cannot be used, where it goes wrong, and why.
///
/// Paths such as `agents[1].name` lead from the top of the document; for a
/// blueprint they begin with `spec`. Text of the document, which may be secret,
/// is shown only where it is a name of something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file, as it was asked for.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file's name says neither YAML nor JSON.
    #[error("cannot tell what {} holds: its name ends in neither .yaml, .yml nor .json", file.display())]
    UnknownExtension {
        /// The file, as it was asked for.
        file: PathBuf,
    },
    /// The text, or the text with all files it includes, is too long.
    #[error("{document} takes the spec over {limit} bytes, the most that is read")]
    TooLarge {
        /// The file, or `the text`.
        document: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The spec grows too large through aliases, includes or `configuration`.
    #[error("{at}: the spec grows over {limit} bytes here, as JSON with aliases and variables replaced")]
    Expanded {
        /// A place in the text or a path in the document.
        at: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The text is not UTF-8.
    #[error("{document} is not UTF-8 from byte {byte} on")]
    NotUtf8 {
        /// The file, or `the text`.
        document: String,
        /// The first byte that is wrong, counted from 0.
        byte: usize,
    },
    /// The text is not what it should be.
    #[error("{at}: malformed {format}: {reason}")]
    Malformed {
        /// `YAML` or `JSON`.
        format: &'static str,
        /// Where the parser gave up.
        at: Location,
        /// Why.
        reason: String,
    },
    /// Lists and mappings are nested too deeply.
    #[error("{at}: nested more than {MAX_DEPTH} levels deep")]
    TooDeep {
        /// Where the limit was passed.
        at: Location,
    },
    /// A value is fine in its format, but there is no place for it in a spec.
    #[error("{at}: {value} {reason}")]
    Unsupported {
        /// Where it stands.
        at: Location,
        /// The value, tag or key.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Text without a file or a root folder refers to a file.
    #[error(
        "{reference} has no folder to start from; read the spec from a file or give the reader a root folder"
    )]
    NoFolder {
        /// The reference.
        reference: Reference,
    },
    /// `!include` of something other than YAML.
    #[error("{reference} is not a .yaml or .yml file; `!code` takes any file as text")]
    NotYaml {
        /// The reference.
        reference: Reference,
    },
    /// The file is outside the root folder.
    #[error("{reference} leads out of the root folder {}", root.display())]
    OutsideRoot {
        /// The reference.
        reference: Reference,
        /// The folder that no file may be outside of.
        root: PathBuf,
    },
    /// The file is missing or cannot be read.
    #[error("{reference} cannot be read from {}: {source}", file.display())]
    Unreadable {
        /// The reference.
        reference: Reference,
        /// The file it leads to.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file includes itself, directly or through others.
    #[error("{reference} closes a circle: {}", circle(chain))]
    Circular {
        /// The reference that leads back.
        reference: Reference,
        /// The files of the circle; the last is the first again.
        chain: Vec<PathBuf>,
    },
    /// Files include files include files.
    #[error("{reference} goes deeper than {limit} files")]
    IncludeDepth {
        /// The reference that went too far.
        reference: Reference,
        /// How deep includes may go.
        limit: usize,
    },
    /// A value has the wrong type.
    #[error("{path}: expected {expected}, found {found}")]
    WrongType {
        /// Where it stands.
        path: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Something required is missing.
    #[error("{path} is missing")]
    Missing {
        /// Where it should stand.
        path: String,
    },
    /// A text is empty, or only white space.
    #[error("{path} is empty")]
    Empty {
        /// Where it stands.
        path: String,
    },
    /// A name is too long.
    #[error("{path} has {chars} characters; at most {MAX_NAME_CHARS} are allowed")]
    NameTooLong {
        /// Where it stands.
        path: String,
        /// Its length in characters.
        chars: usize,
    },
    /// An id cannot be used.
    #[error("{path}: {source}")]
    Id {
        /// Where it stands.
        path: String,
        /// What is wrong with it.
        #[source]
        source: InvalidId,
    },
    /// Two agents have the same id.
    #[error("{path}: the agent id {id:?} is already taken by {first}")]
    DuplicateAgent {
        /// The id.
        id: AgentId,
        /// The second agent that has it.
        path: String,
        /// The first.
        first: String,
    },
    /// The guild has no agents.
    #[error("{path} is empty: a guild needs at least one agent")]
    NoAgents {
        /// Where they should stand.
        path: String,
    },
    /// `configuration` lacks a variable that an agent or a route uses.
    #[error("{path} uses {{{{ {variable} }}}}, which `configuration` does not have")]
    MissingVariable {
        /// The variable, as written.
        variable: String,
        /// The text or key that uses it.
        path: String,
    },
    /// A template in an agent or a route cannot be rendered.
    #[error("{path}: the template tag {tag} {reason}")]
    Template {
        /// The text or key with the template.
        path: String,
        /// The tag, as written.
        tag: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn circle(chain: &[PathBuf]) -> String {
    chain.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" -> ")
}

/// Keeps a message readable, whatever the document holds.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text[..end].escape_debug()),
        None => text.escape_debug().to_string(),
    }
}
