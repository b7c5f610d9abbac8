//! Ids as types: parsed and checked once, at the edge, and trusted from there on.
//!
//! Guild and agent ids are what users wrote or what Rustic AI generated. They
//! become parts of registry keys, log fields and file names, so a few characters
//! are refused: control characters, and the ones that Redis patterns and cluster
//! hash tags give a meaning to (`* ? [ ] { } \`).

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest id in bytes. Rustic AI's own ids (shortuuid) have 22.
pub const MAX_ID_BYTES: usize = 256;

/// An id that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// The id has no characters, or only white space.
    #[error("the {kind} id is empty")]
    Empty {
        /// Which id: `guild`, `agent`, `host` or `lease`.
        kind: &'static str,
    },
    /// The id is longer than [`MAX_ID_BYTES`].
    #[error("the {kind} id has {bytes} bytes; at most {MAX_ID_BYTES} are allowed")]
    TooLong {
        /// Which id.
        kind: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The id holds a character that is not allowed.
    #[error("the {kind} id {id:?} has the character {character:?} at byte {at}, which is not allowed")]
    Character {
        /// Which id.
        kind: &'static str,
        /// The offending id.
        id: String,
        /// The offending character.
        character: char,
        /// Its position in bytes.
        at: usize,
    },
}

fn check(kind: &'static str, id: &str) -> Result<(), InvalidId> {
    if id.trim().is_empty() {
        return Err(InvalidId::Empty { kind });
    }
    if id.len() > MAX_ID_BYTES {
        return Err(InvalidId::TooLong { kind, bytes: id.len() });
    }
    let forbidden = |c: char| c.is_control() || "*?[]{}\\".contains(c);
    match id.char_indices().find(|(_, c)| forbidden(*c)) {
        Some((at, character)) => Err(InvalidId::Character { kind, id: id.to_owned(), character, at }),
        None => Ok(()),
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `id` and makes it a typed id.
            ///
            /// # Errors
            /// [`InvalidId`] says what is wrong with it.
            pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidId> {
                check($kind, id.as_ref())?;
                Ok(Self(Arc::from(id.as_ref())))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(id: &str) -> Result<Self, InvalidId> {
                Self::new(id)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(id: String) -> Result<Self, InvalidId> {
                Self::new(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }
    };
}

id_type!(
    /// Names a guild.
    GuildId,
    "guild"
);
id_type!(
    /// Names an agent within its guild. Two guilds may both own an agent of the
    /// same id, so alone it identifies nothing: see [`AgentKey`].
    AgentId,
    "agent"
);
id_type!(
    /// Names one `agent-host` process.
    HostId,
    "host"
);

/// The identity of an agent: guild id and agent id together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AgentKey {
    /// The guild it belongs to.
    pub guild: GuildId,
    /// Its id within the guild.
    pub agent: AgentId,
}

impl AgentKey {
    /// Puts the two halves together.
    pub fn new(guild: GuildId, agent: AgentId) -> Self {
        Self { guild, agent }
    }
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.guild, self.agent)
    }
}

/// A number that grows each time an agent is claimed. The incarnation with the
/// higher epoch is the newer one, so stores can refuse writes of an older one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_once_and_name_the_offending_part() {
        let long = "x".repeat(10_000);
        for (id, wanted) in [
            ("", "the agent id is empty"),
            (" \t", "the agent id is empty"),
            (long.as_str(), "the agent id has 10000 bytes; at most 256 are allowed"),
            ("a\nb", r#"the agent id "a\nb" has the character '\n' at byte 1, which is not allowed"#),
            ("gu*ld", r#"the agent id "gu*ld" has the character '*' at byte 2, which is not allowed"#),
            ("{tag}", r#"the agent id "{tag}" has the character '{' at byte 0, which is not allowed"#),
        ] {
            assert_eq!(AgentId::new(id).unwrap_err().to_string(), wanted);
        }
        for id in ["initiator", "agent 7", "VSbJYKSkDSKAsCszeSzAEW", "Älteste:1/2"] {
            assert_eq!(AgentId::new(id).unwrap().as_str(), id);
        }
    }
}
