//! Launches as Python tells them: specs as JSON, the rest as it is.

use std::collections::BTreeMap;

use guildhall::{
    ids::GuildId,
    launch::{InvalidLaunch, Json, Launch, LaunchOptions},
    placement::GuildMode,
};
use pyo3::FromPyObject;

/// `guildhall.LaunchOptions`, taken from Python. JSON is text.
#[derive(Debug, FromPyObject)]
pub(crate) struct Options {
    messaging: Option<String>,
    client_type: Option<String>,
    client_properties: Option<String>,
    organization_id: String,
    machine_id: u32,
    default_topic: String,
    runner: Option<String>,
    labels: BTreeMap<String, String>,
    all_or_nothing: bool,
}

impl Options {
    fn json(field: &'static str, text: Option<&String>) -> Result<Option<Json>, InvalidLaunch> {
        text.map(|text| Json::parse(field, text.as_bytes())).transpose()
    }

    /// The options of a guild's launches.
    pub(crate) fn of_guild(self) -> Result<LaunchOptions, InvalidLaunch> {
        Ok(LaunchOptions {
            messaging: Self::json("messaging", self.messaging.as_ref())?,
            client_properties: Self::json("client_properties", self.client_properties.as_ref())?,
            client_type: self.client_type,
            organization_id: self.organization_id,
            machine_id: self.machine_id,
            default_topic: self.default_topic,
            runner: self.runner,
            labels: self.labels,
            mode: if self.all_or_nothing { GuildMode::AllOrNothing } else { GuildMode::BestEffort },
        })
    }

    /// The launch of one agent. The guild's spec is passed on as it is: its reader is
    /// the agent.
    pub(crate) fn of_agent(
        self,
        guild: GuildId,
        agent_spec: &str,
        guild_spec: &str,
    ) -> Result<Launch, InvalidLaunch> {
        let guild_spec = Json::parse("guild_spec", guild_spec.as_bytes())?;
        let options = self.of_guild()?;
        Ok(Launch {
            guild_spec,
            messaging: options.messaging.unwrap_or_default(),
            client_type: options.client_type.unwrap_or_default(),
            client_properties: options.client_properties.unwrap_or_default(),
            organization_id: options.organization_id,
            machine_id: options.machine_id,
            default_topic: options.default_topic,
            runner: options.runner,
            labels: options.labels,
            ..Launch::from_agent_spec(guild, agent_spec.as_bytes())?
        })
    }
}
