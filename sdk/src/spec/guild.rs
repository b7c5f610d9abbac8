//! The spec of a guild.

use std::{collections::HashMap, fmt, path::Path, sync::Arc};

use serde_json::{Map, Value};

use super::{
    agent::AgentSpec,
    configuration,
    document::Allowance,
    draft::{Draft, join, mapping, wrong_type},
    error::SpecError,
    gateway,
    reader::SpecReader,
};
use crate::{
    ids::{AgentId, GuildId},
    launch::Json,
};

/// The spec of a guild with its agents. Cheap to clone.
#[derive(Clone)]
pub struct GuildSpec(Arc<Inner>);

struct Inner {
    id: GuildId,
    name: String,
    description: String,
    agents: Vec<AgentSpec>,
    document: Value,
    json: Json,
}

impl GuildSpec {
    /// Reads a `.yaml`, `.yml` or `.json` file. Files that it includes must be in
    /// its folder or below. Blocks the thread while it reads; in async code use
    /// `spawn_blocking`.
    ///
    /// # Errors
    /// [`SpecError`] says where the spec, or a file it includes, goes wrong.
    pub fn from_path(file: impl AsRef<Path>) -> Result<Self, SpecError> {
        SpecReader::new().read_path(file)
    }

    /// Reads YAML text that includes no files; see [`SpecReader::root`] for text
    /// that does.
    ///
    /// # Errors
    /// [`SpecError`] says where the spec goes wrong.
    pub fn from_yaml(text: impl AsRef<[u8]>) -> Result<Self, SpecError> {
        SpecReader::new().read_yaml(text)
    }

    /// Reads JSON text.
    ///
    /// # Errors
    /// [`SpecError`] says where the spec goes wrong.
    pub fn from_json(text: impl AsRef<[u8]>) -> Result<Self, SpecError> {
        SpecReader::new().read_json(text)
    }

    /// Makes a guild of a document whose includes are resolved.
    pub(super) fn build(value: Value, allowance: &mut Allowance) -> Result<Self, SpecError> {
        let mut guild = open_blueprint(value)?;
        configuration::render(&mut guild, &mut allowance.renewed())?;
        gateway::add(&mut guild)?;
        let id = guild.id()?;
        let name = guild.name()?;
        let description = guild.filled("description")?;
        check_shapes(&guild)?;
        let agents = agents(&mut guild)?;

        let document = Value::Object(guild.map);
        let json = Json::from_value(&document);
        allowance.renewed().grow(json.as_str().len(), || "the guild".to_owned())?;
        Ok(Self(Arc::new(Inner { id, name, description, agents, document, json })))
    }

    /// Its id, as written or made up.
    pub fn id(&self) -> &GuildId {
        &self.0.id
    }

    /// Its name, of 1 to 64 characters.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it is for; never empty.
    pub fn description(&self) -> &str {
        &self.0.description
    }

    /// Its agents, at least one, in the order they were written.
    pub fn agents(&self) -> &[AgentSpec] {
        &self.0.agents
    }

    /// One of its agents.
    pub fn agent(&self, id: &AgentId) -> Option<&AgentSpec> {
        self.agents().iter().find(|agent| agent.id() == id)
    }

    /// Settings of the guild as a whole.
    pub fn properties(&self) -> Option<&Map<String, Value>> {
        self.document().get("properties")?.as_object()
    }

    /// How its agents reach each other (`properties.messaging`); `None` leaves it
    /// to the runner's default.
    pub fn messaging(&self) -> Option<&Map<String, Value>> {
        self.properties()?.get("messaging")?.as_object()
    }

    /// The class of its messaging client (`properties.client_type`); `None` leaves
    /// it to the runner's default.
    pub fn client_type(&self) -> Option<&str> {
        self.properties()?.get("client_type")?.as_str().filter(|class| !class.is_empty())
    }

    /// Settings of its messaging client (`properties.client_properties`).
    pub fn client_properties(&self) -> Option<&Map<String, Value>> {
        self.properties()?.get("client_properties")?.as_object()
    }

    /// The whole spec, a JSON object with all fields in the order they were written.
    pub fn document(&self) -> &Value {
        &self.0.document
    }

    /// The whole spec as a runner receives it. [`GuildSpec::from_json`] reads it
    /// back to an equal spec.
    pub fn json(&self) -> &Json {
        &self.0.json
    }
}

/// The guild itself: of a blueprint, which describes a guild for a catalogue,
/// what it has under `spec`.
fn open_blueprint(value: Value) -> Result<Draft, SpecError> {
    let mut outer = Draft::new(String::new(), value)?;
    match outer.map.get_mut("spec").map(Value::take) {
        Some(spec @ Value::Object(_)) if !outer.map.contains_key("agents") => {
            Draft::new("spec".to_owned(), spec)
        }
        Some(other) => {
            outer.map.insert("spec".to_owned(), other);
            Ok(outer)
        }
        None => Ok(outer),
    }
}

/// Refuses early what Rustic AI would refuse in every one of the runners.
fn check_shapes(guild: &Draft) -> Result<(), SpecError> {
    mapping(guild.map.get("routes"), || guild.path_of("routes"))?;
    mapping(guild.map.get("dependency_map"), || guild.path_of("dependency_map"))?;

    let path = guild.path_of("properties");
    let Some(properties) = mapping(guild.map.get("properties"), || path.clone())? else { return Ok(()) };
    mapping(properties.get("messaging"), || join(&path, "messaging"))?;
    match properties.get("client_type") {
        None | Some(Value::Null | Value::String(_)) => {}
        Some(value) => return Err(wrong_type(join(&path, "client_type"), "text", value)),
    }
    let client_properties = properties.get("client_properties").filter(|value| !value.is_null());
    mapping(client_properties, || join(&path, "client_properties"))?;
    Ok(())
}

/// Reads the agents, and writes them back with their ids.
fn agents(guild: &mut Draft) -> Result<Vec<AgentSpec>, SpecError> {
    let path = guild.path_of("agents");
    let documents = match guild.map.get_mut("agents") {
        Some(Value::Array(documents)) if !documents.is_empty() => documents,
        None | Some(Value::Array(_)) => return Err(SpecError::NoAgents { path }),
        Some(value) => return Err(wrong_type(path, "a list", value)),
    };
    let mut agents = Vec::with_capacity(documents.len());
    let mut first: HashMap<AgentId, usize> = HashMap::new();
    for (at, document) in documents.iter_mut().enumerate() {
        let agent = AgentSpec::build(format!("{path}[{at}]"), document.take())?;
        if let Some(first) = first.insert(agent.id().clone(), at) {
            return Err(SpecError::DuplicateAgent {
                id: agent.id().clone(),
                path: format!("{path}[{at}]"),
                first: format!("{path}[{first}]"),
            });
        }
        *document = agent.document().clone();
        agents.push(agent);
    }
    Ok(agents)
}

/// Two specs are equal when their documents are; all else follows from them.
impl PartialEq for GuildSpec {
    fn eq(&self, other: &Self) -> bool {
        self.0.document == other.0.document
    }
}

/// Properties may hold secrets, so only the identity is shown.
impl fmt::Debug for GuildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuildSpec")
            .field("id", self.id())
            .field("name", &self.name())
            .field("agents", &self.agents())
            .finish_non_exhaustive()
    }
}
