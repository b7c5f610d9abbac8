//! One launch: everything a host needs to start one agent.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::{Map, Value};

use crate::{
    ids::{AgentKey, GuildId},
    placement::{GuildMode, PolicyIdentity},
    resources::{Qos, Resources},
    spec::{AgentSpec, GuildSpec, SpecError},
};

/// Largest launch as it goes over the wire, in bytes: specs, messaging and client
/// properties together. Hosts refuse larger ones before they read them.
pub const MAX_LAUNCH_BYTES: usize = 4 * 1024 * 1024;

/// Longest class name in bytes. It is in every record of the agent.
pub const MAX_CLASS_NAME_BYTES: usize = 512;

/// A JSON text on one line, checked once. Cheap to clone: the agents of a guild
/// share the text of their guild spec.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

impl Json {
    /// Checks that `text` is JSON and puts it on one line. Nothing else changes:
    /// keys keep their order and numbers their digits.
    ///
    /// # Errors
    /// [`InvalidLaunch::Json`] names `field` and says where the text goes wrong.
    pub fn parse(field: &'static str, text: &[u8]) -> Result<Self, InvalidLaunch> {
        let raw: &serde_json::value::RawValue =
            serde_json::from_slice(text).map_err(|source| InvalidLaunch::Json { field, source })?;
        // A raw line break inside a JSON string is an error, so each one that is
        // left is white space between tokens.
        Ok(Self(raw.get().replace(['\n', '\r'], " ").into()))
    }

    /// The text of a value.
    pub fn from_value(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    /// The text of an object.
    pub fn of_object(object: &Map<String, Value>) -> Self {
        // A map of JSON values with text for keys always has a text.
        serde_json::to_string(object).map_or_else(|_| Self::empty(), |text| Self(text.into()))
    }

    /// The empty object.
    pub fn empty() -> Self {
        Self("{}".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::empty()
    }
}

/// Specs may hold secrets, so only the size is shown.
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

/// One launch of one agent.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Who is launched.
    pub key: AgentKey,
    /// Its name in the guild spec.
    pub name: String,
    /// The class that the runner makes it from; the runner table matches on it.
    pub class_name: String,
    /// The agent spec as the user wrote it.
    pub agent_spec: Json,
    /// The guild spec as the user wrote it.
    pub guild_spec: Json,
    /// How the agent reaches its guild's messages.
    pub messaging: Json,
    /// The class of the messaging client; empty for the runner's default.
    pub client_type: String,
    /// Settings of the messaging client.
    pub client_properties: Json,
    /// The organization that the guild belongs to; empty when there is none.
    pub organization_id: String,
    /// The machine id that message ids are made with.
    pub machine_id: u32,
    /// The topic the agent listens to by default.
    pub default_topic: String,
    /// A runner of the host's table by name; `None` lets the class name decide.
    pub runner: Option<String>,
    /// Labels of the agent that the policy may look at.
    pub labels: BTreeMap<String, String>,
    /// What it needs of its host, from its spec.
    pub resources: Resources,
    /// The service it asks for, from its spec.
    pub qos: Qos,
    /// The policy that chose the host, to be noted with the agent. The engine fills it in.
    pub placed_by: Option<Arc<PolicyIdentity>>,
}

/// What an app says about all launches of a guild, beside the specs.
#[derive(Clone, Debug, Default)]
pub struct LaunchOptions {
    /// How agents reach their guild's messages; `None`: as the guild spec says
    /// under `properties.messaging`.
    pub messaging: Option<Json>,
    /// The class of the messaging client; `None`: as the guild spec says under
    /// `properties.client_type`, or else the runner's default.
    pub client_type: Option<String>,
    /// Settings of the messaging client; `None`: as the guild spec says under
    /// `properties.client_properties`.
    pub client_properties: Option<Json>,
    /// The organization that the guild belongs to; empty when there is none.
    pub organization_id: String,
    /// The machine id that message ids are made with.
    pub machine_id: u32,
    /// The topic agents listen to by default; empty for the runner's default.
    pub default_topic: String,
    /// A runner of the host's table by name; `None` lets the class name decide.
    pub runner: Option<String>,
    /// Labels of every agent that the policy may look at.
    pub labels: BTreeMap<String, String>,
    /// What to do when the policy finds hosts for some of a guild's agents only; unless
    /// told, the others run.
    pub mode: GuildMode,
}

/// A launch that no host would take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLaunch {
    /// A part is not JSON.
    #[error("{field} is not JSON: {source}")]
    Json {
        /// Which part.
        field: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The parts together are too large.
    #[error("the launch has {bytes} bytes; at most {MAX_LAUNCH_BYTES} are allowed")]
    TooLarge {
        /// Size of all parts in bytes.
        bytes: usize,
    },
    /// An id cannot be used.
    #[error(transparent)]
    Id(#[from] crate::ids::InvalidId),
    /// The agent spec cannot be used.
    #[error("agent_spec: {0}")]
    AgentSpec(#[source] Box<SpecError>),
    /// A part says something that cannot be.
    #[error("{field}: {reason}")]
    Field {
        /// Which part.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Launch {
    /// The launch of one agent of a guild.
    pub fn new(guild: &GuildSpec, agent: &AgentSpec, options: &LaunchOptions) -> Self {
        let json = |said: &Option<Json>, object: Option<&Map<String, Value>>| {
            said.clone().or_else(|| object.map(Json::of_object)).unwrap_or_default()
        };
        let client_type = options.client_type.as_deref().or(guild.client_type());
        Self {
            guild_spec: guild.json().clone(),
            messaging: json(&options.messaging, guild.messaging()),
            client_type: client_type.unwrap_or_default().to_owned(),
            client_properties: json(&options.client_properties, guild.client_properties()),
            organization_id: options.organization_id.clone(),
            machine_id: options.machine_id,
            default_topic: options.default_topic.clone(),
            runner: options.runner.clone(),
            labels: options.labels.clone(),
            ..Self::of_agent(guild.id().clone(), agent)
        }
    }

    /// A launch that says nothing but which agent, read from its spec in JSON.
    ///
    /// # Errors
    /// [`InvalidLaunch::AgentSpec`] says what is wrong with the spec.
    pub fn from_agent_spec(guild: GuildId, agent_spec: &[u8]) -> Result<Self, InvalidLaunch> {
        let agent =
            AgentSpec::from_json(agent_spec).map_err(|error| InvalidLaunch::AgentSpec(Box::new(error)))?;
        Ok(Self::of_agent(guild, &agent))
    }

    fn of_agent(guild: GuildId, agent: &AgentSpec) -> Self {
        Self {
            key: AgentKey::new(guild, agent.id().clone()),
            name: agent.name().to_owned(),
            class_name: agent.class_name().to_owned(),
            agent_spec: agent.json().clone(),
            resources: agent.resources().clone(),
            qos: agent.qos().clone(),
            guild_spec: Json::empty(),
            messaging: Json::empty(),
            client_type: String::new(),
            client_properties: Json::empty(),
            organization_id: String::new(),
            machine_id: 0,
            default_topic: String::new(),
            runner: None,
            labels: BTreeMap::new(),
            placed_by: None,
        }
    }

    /// Refuses a launch that no host would take: one too large for the wire, or of a
    /// class whose name is no name.
    ///
    /// # Errors
    /// [`InvalidLaunch`] says what is wrong with it.
    pub fn check(&self) -> Result<(), InvalidLaunch> {
        if self.class_name.len() > MAX_CLASS_NAME_BYTES {
            let reason =
                format!("it has {} bytes; at most {MAX_CLASS_NAME_BYTES} are allowed", self.class_name.len());
            return Err(InvalidLaunch::Field { field: "class_name", reason });
        }
        let texts = [
            self.agent_spec.as_str(),
            self.guild_spec.as_str(),
            self.messaging.as_str(),
            self.client_properties.as_str(),
            &self.client_type,
            &self.organization_id,
            &self.default_topic,
        ];
        // The rest (ids, field tags) is far below this allowance.
        let labels = self.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>();
        let bytes = texts.iter().map(|text| text.len()).sum::<usize>() + labels + 4096;
        if bytes > MAX_LAUNCH_BYTES { Err(InvalidLaunch::TooLarge { bytes }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_put_on_one_line_and_otherwise_untouched() {
        let json = Json::parse("agent spec", b"{\n \"b\": 1.50,\r\n \"a\": \"x\\ny\"\n}").unwrap();
        assert_eq!(json.as_str(), "{  \"b\": 1.50,   \"a\": \"x\\ny\" }");
        let error = Json::parse("agent spec", b"{\"a\":").unwrap_err();
        assert_eq!(error.to_string(), "agent spec is not JSON: EOF while parsing a value at line 1 column 5");
    }
}
