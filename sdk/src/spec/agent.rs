//! The spec of one agent.

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::{
    document::{Allowance, MAX_SPEC_BYTES},
    draft::Draft,
    error::SpecError,
    reader,
};
use crate::{
    ids::AgentId,
    launch::Json,
    resources::{Qos, Resources},
};

/// The spec of one agent. Cheap to clone.
#[derive(Clone)]
pub struct AgentSpec(Arc<Inner>);

struct Inner {
    id: AgentId,
    name: String,
    description: String,
    class_name: String,
    resources: Resources,
    qos: Qos,
    document: Value,
    json: Json,
}

impl AgentSpec {
    /// Reads the JSON of one agent. No template is rendered: that needs the
    /// `configuration` of a guild.
    ///
    /// # Errors
    /// [`SpecError`] says where the spec goes wrong.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, SpecError> {
        let mut allowance = Allowance::new(MAX_SPEC_BYTES);
        let value = reader::read_json(json.as_ref(), &mut allowance)?;
        Self::build(String::new(), value)
    }

    /// Checks what `path` leads to.
    pub(super) fn build(path: String, value: Value) -> Result<Self, SpecError> {
        let mut draft = Draft::new(path, value)?;
        let id = draft.id()?;
        let name = draft.name()?;
        let description = draft.filled("description")?;
        let class_name = draft.filled("class_name")?;
        let resources = Resources::read(draft.map.get("resources"), &draft.path_of("resources"))?;
        let qos = Qos::read(draft.map.get("qos"), &draft.path_of("qos"))?;
        let document = Value::Object(draft.map);
        let json = Json::from_value(&document);
        Ok(Self(Arc::new(Inner { id, name, description, class_name, resources, qos, document, json })))
    }

    /// Its id within the guild, as written or made up.
    pub fn id(&self) -> &AgentId {
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

    /// The class that its runner makes it from; never empty.
    pub fn class_name(&self) -> &str {
        &self.0.class_name
    }

    /// What it needs from its host.
    pub fn resources(&self) -> &Resources {
        &self.0.resources
    }

    /// How well it has to be served.
    pub fn qos(&self) -> &Qos {
        &self.0.qos
    }

    /// The whole spec, a JSON object with all fields in the order they were written.
    pub fn document(&self) -> &Value {
        &self.0.document
    }

    /// The whole spec as its runner receives it. [`AgentSpec::from_json`] reads it
    /// back to an equal spec.
    pub fn json(&self) -> &Json {
        &self.0.json
    }
}

/// Two specs are equal when their documents are; all else follows from them.
impl PartialEq for AgentSpec {
    fn eq(&self, other: &Self) -> bool {
        self.0.document == other.0.document
    }
}

/// Properties may hold secrets, so only the identity is shown.
impl fmt::Debug for AgentSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentSpec")
            .field("id", self.id())
            .field("name", &self.name())
            .field("class_name", &self.class_name())
            .finish_non_exhaustive()
    }
}
