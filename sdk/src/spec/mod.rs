//! Guild and agent specs: the YAML and JSON that Rustic AI writes, read the way
//! Rustic AI reads them.
//!
//! A [`GuildSpec`] comes from a file, from YAML or from JSON; a [`SpecReader`]
//! does the same with other limits. What Guildhall itself needs (ids, names,
//! class names, [`Resources`], [`Qos`]) is checked and typed. Everything else is
//! kept as the user wrote it and in the order they wrote it, because the runner
//! that gets the spec understands more of it than Guildhall does. This module
//! never imports an agent's class and never launches anything.
//!
//! ```
//! use guildhall::spec::GuildSpec;
//!
//! let guild = GuildSpec::from_yaml(
//!     "
//! id: newsroom
//! name: Newsroom
//! description: Finds stories and writes them up.
//! configuration: { city: Lisbon }
//! agents:
//!   - id: reporter
//!     name: Reporter
//!     description: Reports from {{ city }}.
//!     class_name: newsroom.agents.Reporter
//!     resources: { num_cpus: 0.5 }
//! ",
//! )?;
//!
//! let reporter = &guild.agents()[0];
//! assert_eq!(reporter.description(), "Reports from Lisbon.");
//! assert_eq!(reporter.resources().num_cpus, Some(0.5));
//! assert!(guild.json().as_str().starts_with(r#"{"id":"newsroom","name":"Newsroom""#));
//! # Ok::<(), guildhall::spec::SpecError>(())
//! ```
//!
//! # What a spec goes through
//! 1. YAML is read by the rules of PyYAML's safe loader (YAML 1.1: `yes` is a
//!    boolean, `010` is eight, `<<` merges), with `!include FILE.yaml` and
//!    `!code FILE` resolved.
//! 2. A blueprint is opened: the guild is what it holds under `spec`.
//! 3. `configuration` is rendered into the agents and the routing steps, and then
//!    left out: it is spent, and rendering twice would be wrong.
//! 4. An enabled `gateway` adds its agent, unless the guild already has one.
//! 5. Ids that are missing are made up; `id`, `name`, `description` and
//!    `class_name` lose the white space around them.
//!
//! # Where this is stricter than Rustic AI
//! - An id may not be empty, and two agents of a guild may not share one; a guild
//!   has at least one agent.
//! - A `{{ variable }}` that `configuration` lacks is an error, not an empty
//!   string. Lists, mappings, partials, new delimiters and names with characters
//!   other than letters, digits, `_`, `.` and `-` are errors too.
//! - Included files stay inside one folder, also through symbolic links.
//! - Sizes, nesting, aliases and includes are bounded: [`MAX_SPEC_BYTES`],
//!   [`MAX_DEPTH`], [`MAX_INCLUDE_DEPTH`].
//! - Numbers must fit JSON's usual range: integers of 64 bits, no NaN, no infinity.
//! - Booleans are not numbers, no resource is negative, and `qos` counts to 2^32.
//!
//! # Where it differs
//! - `{{{ name }}}` inserts the value, as Mustache says. Rustic AI 1.4.1 loses it.
//! - A YAML date stays the text that was written; there it becomes a date object.
//! - A YAML mapping key that is a number, a boolean or null becomes the text that
//!   Python's `json.dumps` makes of it.
//! - Words are read as YAML 1.1 has them, the grammar around them is YAML 1.2's: a
//!   tab after a colon is fine. `=`, a lone `<<` and dates that no calendar has are
//!   text; PyYAML refuses them.
//! - `{{ variable }}` is rendered in each text and key on its own, so a section
//!   cannot begin in one text and end in another.

mod agent;
mod configuration;
mod document;
mod draft;
mod error;
mod gateway;
mod guild;
mod include;
mod json;
mod location;
mod python;
mod qos;
mod reader;
mod resources;
mod shortuuid;
mod template;
mod yaml;

pub use agent::AgentSpec;
pub use document::{MAX_DEPTH, MAX_INCLUDE_DEPTH, MAX_SPEC_BYTES};
pub use error::SpecError;
pub use guild::GuildSpec;
pub use location::{Location, Reference};
pub use reader::SpecReader;

pub use crate::resources::{Qos, Resources};

/// Longest name of a guild or an agent, in characters. Rustic AI's own limit.
pub const MAX_NAME_CHARS: usize = 64;
