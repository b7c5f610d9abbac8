//! The launch document, as far as this runner needs it.

use serde::Deserialize;

use crate::Behaviour;

/// What a host tells a runner. Fields that are not named here are of no use to this
/// one, and are skipped.
#[derive(Debug, Deserialize)]
#[non_exhaustive]
pub struct LaunchDocument {
    /// The form of the document.
    pub version: u32,
    /// The guild.
    pub guild_id: String,
    /// The agent within the guild.
    pub agent_id: String,
    /// The agent's incarnation.
    pub epoch: u64,
    /// The host.
    pub host_id: String,
    /// The agent spec.
    #[serde(default)]
    pub agent_spec: AgentSpec,
}

/// The agent spec, as far as this runner needs it.
#[derive(Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct AgentSpec {
    /// Settings of the agent's class.
    #[serde(default)]
    pub properties: Option<Properties>,
}

/// Settings of the agent's class.
#[derive(Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct Properties {
    /// How this runner is to misbehave.
    #[serde(default)]
    pub echo: Behaviour,
}

/// A line that is not a launch document this runner can use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedDocument {
    /// Standard input ended first.
    #[error("standard input ended before the launch document")]
    Missing,
    /// The line is not what it should be.
    #[error("the launch document cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The document has another form.
    #[error("the launch document has version {0}; this runner reads version 1")]
    Version(u32),
}

impl LaunchDocument {
    /// Reads the line that came on standard input.
    ///
    /// # Errors
    /// [`MalformedDocument`] says what is wrong with it.
    pub fn parse(line: &str) -> Result<Self, MalformedDocument> {
        if line.is_empty() {
            return Err(MalformedDocument::Missing);
        }
        let document: Self = serde_json::from_str(line)?;
        if document.version == 1 { Ok(document) } else { Err(MalformedDocument::Version(document.version)) }
    }

    /// How the agent is to misbehave.
    pub fn behaviour(&self) -> Behaviour {
        self.agent_spec.properties.as_ref().map(|properties| properties.echo.clone()).unwrap_or_default()
    }
}
