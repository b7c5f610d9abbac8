//! Values of variables with places for what a launch says: `{{guild_id}}`, or a part of a
//! JSON document: `{{messaging.backend_class}}`.
//!
//! Read once, when the table is loaded, so that a misspelt place is an error of
//! the operator at the start and not of a user later.

use guildhall::ids::{AgentKey, Epoch, HostId};
use guildhall::launch::{Json, Launch};
use serde_json::Value;

use crate::launch_document;

/// What can stand between `{{` and `}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LaunchDocument,
    AgentSpec,
    GuildSpec,
    Messaging,
    ClientType,
    ClientProperties,
    OrganizationId,
    MachineId,
    DefaultTopic,
    GuildId,
    AgentId,
    AgentName,
    ClassName,
    Epoch,
    HostId,
}

impl Place {
    /// The document that it stands for, if that is JSON with parts.
    fn document(self) -> Option<fn(&Launch) -> &Json> {
        match self {
            Self::AgentSpec => Some(|launch| &launch.agent_spec),
            Self::GuildSpec => Some(|launch| &launch.guild_spec),
            Self::Messaging => Some(|launch| &launch.messaging),
            Self::ClientProperties => Some(|launch| &launch.client_properties),
            _ => None,
        }
    }
}

const PLACES: [(&str, Place); 15] = [
    ("launch_document", Place::LaunchDocument),
    ("agent_spec", Place::AgentSpec),
    ("guild_spec", Place::GuildSpec),
    ("messaging", Place::Messaging),
    ("client_type", Place::ClientType),
    ("client_properties", Place::ClientProperties),
    ("organization_id", Place::OrganizationId),
    ("machine_id", Place::MachineId),
    ("default_topic", Place::DefaultTopic),
    ("guild_id", Place::GuildId),
    ("agent_id", Place::AgentId),
    ("agent_name", Place::AgentName),
    ("class_name", Place::ClassName),
    ("epoch", Place::Epoch),
    ("host_id", Place::HostId),
];

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
    /// The value that stands under these names.
    Within(Place, Vec<String>),
}

/// The text may be a secret, and tables are logged, so only the places are shown.
impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("…"),
            Self::Place(place) => place.fmt(f),
            Self::Within(place, path) => write!(f, "{place:?}.{}", path.join(".")),
        }
    }
}

/// A value with places to fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It names a place that no launch fills.
    #[error("unknown placeholder {{{{{name}}}}}; there are: {}", PLACES.map(|(name, _)| name).join(", "))]
    Unknown {
        /// What stands between the braces.
        name: String,
    },
    /// It opens a place and does not close it.
    #[error("the placeholder that begins at {rest:?} is not closed by }}}}")]
    NotClosed {
        /// The text from the braces on.
        rest: String,
    },
}

impl Template {
    /// Reads a template. Text outside `{{…}}` means itself.
    ///
    /// # Errors
    /// [`TemplateError`] names the place that is wrong.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err(TemplateError::NotClosed { rest: format!("{{{{{after}") });
            };
            let place = place(name.trim())?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(place);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The value for a process that is started before there is a launch; `None` when the
    /// value says something of one.
    pub(crate) fn ahead_of_launch(&self, host: &HostId) -> Option<String> {
        let text = |part: &Part| match part {
            Part::Text(text) => Some(text.clone()),
            Part::Place(Place::HostId) => Some(host.to_string()),
            Part::Place(_) | Part::Within(..) => None,
        };
        self.parts.iter().map(text).collect()
    }

    /// Fills the places with one launch under `epoch` on `host`.
    pub fn fill(&self, launch: &Launch, epoch: Epoch, host: &HostId) -> String {
        let AgentKey { guild, agent } = &launch.key;
        let mut value = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Within(place, path) => {
                    if let Some(document) = place.document() {
                        value.push_str(&within(document(launch), path));
                    }
                }
                Part::Place(place) => match place {
                    Place::LaunchDocument => value.push_str(&launch_document::render(launch, epoch, host)),
                    Place::AgentSpec => value.push_str(launch.agent_spec.as_str()),
                    Place::GuildSpec => value.push_str(launch.guild_spec.as_str()),
                    Place::Messaging => value.push_str(launch.messaging.as_str()),
                    Place::ClientType => value.push_str(&launch.client_type),
                    Place::ClientProperties => value.push_str(launch.client_properties.as_str()),
                    Place::OrganizationId => value.push_str(&launch.organization_id),
                    Place::MachineId => value.push_str(&launch.machine_id.to_string()),
                    Place::DefaultTopic => value.push_str(&launch.default_topic),
                    Place::GuildId => value.push_str(guild.as_str()),
                    Place::AgentId => value.push_str(agent.as_str()),
                    Place::AgentName => value.push_str(&launch.name),
                    Place::ClassName => value.push_str(&launch.class_name),
                    Place::Epoch => value.push_str(&epoch.to_string()),
                    Place::HostId => value.push_str(host.as_str()),
                },
            }
        }
        value
    }
}

fn place(name: &str) -> Result<Part, TemplateError> {
    let unknown = || TemplateError::Unknown { name: name.to_owned() };
    let mut path = name.split('.').map(str::to_owned);
    let first = path.next().unwrap_or_default();
    let (_, place) = PLACES.iter().find(|(known, _)| *known == first).ok_or_else(unknown)?;
    let path: Vec<String> = path.collect();
    match &path[..] {
        [] => Ok(Part::Place(*place)),
        _ if place.document().is_some() && !path.contains(&String::new()) => Ok(Part::Within(*place, path)),
        _ => Err(unknown()),
    }
}

/// Texts as they are, other values as JSON; nothing for what is not there.
fn within(json: &Json, path: &[String]) -> String {
    let document: Value = serde_json::from_str(json.as_str()).unwrap_or_default();
    match path.iter().try_fold(&document, |value, name| value.get(name)) {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch_document::tests::launch;

    #[test]
    fn places_are_filled_and_the_rest_stays() {
        let fill = |text: &str| {
            let template = Template::parse(text).unwrap();
            template.fill(&launch(), Epoch(7), &HostId::new("h1").unwrap())
        };
        assert_eq!(fill("plain } { text"), "plain } { text");
        assert_eq!(fill(""), "");
        assert_eq!(fill("{{guild_id}}/{{ agent_id }}@{{epoch}} on {{host_id}}."), "g1/a1@7 on h1.");
        assert_eq!(fill("{{agent_spec}}"), r#"{"id":"a1"}"#);
        assert_eq!(fill("{{agent_spec.id}}"), "a1");
        assert_eq!(fill(r#"{"r": {{guild_spec.ratio}}}"#), r#"{"r": 1.5}"#);
        assert_eq!(fill("<{{messaging.backend_class.name}}>"), "<>");
        for (name, _) in PLACES {
            assert!(!fill(&format!("x{{{{{name}}}}}")).is_empty());
        }
    }

    #[test]
    fn a_misspelt_place_is_named() {
        let unknown = |name: &str| TemplateError::Unknown { name: name.to_owned() };
        let not_closed = |rest: &str| TemplateError::NotClosed { rest: rest.to_owned() };
        for (text, wanted) in [
            ("{{guild}}", unknown("guild")),
            ("{{}}", unknown("")),
            ("{{guild_id.name}}", unknown("guild_id.name")),
            ("{{messaging.}}", unknown("messaging.")),
            ("{{{epoch}}}", unknown("{epoch")),
            ("a {{", not_closed("{{")),
            ("{{epoch}} {{epoch}", not_closed("{{epoch}")),
        ] {
            assert_eq!(Template::parse(text).unwrap_err(), wanted);
        }
    }
}
