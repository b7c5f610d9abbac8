//! The launch document: what a runner is told, one line of JSON.
//!
//! The parts that users wrote are put in as they are, byte for byte: they were
//! checked and put on one line when the launch was made ([`Json`]), so nothing is
//! parsed again, and unknown fields and the digits of numbers survive.

use guildhall::{
    ids::{Epoch, HostId},
    launch::{Json, Launch},
};

/// Version of the document's form. A field that is added does not change it.
pub const VERSION: u32 = 1;

/// Renders the document without the line break that ends it.
pub fn render(launch: &Launch, epoch: Epoch, host: &HostId) -> String {
    let Launch { key, agent_spec, guild_spec, messaging, client_properties, .. } = launch;
    let size = [agent_spec, guild_spec, messaging, client_properties].map(|json| json.as_str().len());
    let mut document = Document(String::with_capacity(size.iter().sum::<usize>() + 512));
    document.number("version", VERSION.into());
    document.text("guild_id", key.guild.as_str());
    document.text("agent_id", key.agent.as_str());
    document.number("epoch", epoch.0);
    document.text("host_id", host.as_str());
    document.text("organization_id", &launch.organization_id);
    document.number("machine_id", launch.machine_id.into());
    document.json("agent_spec", agent_spec);
    document.json("guild_spec", guild_spec);
    document.json("messaging", messaging);
    document.text("client_type", &launch.client_type);
    document.json("client_properties", client_properties);
    document.text("default_topic", &launch.default_topic);
    document.finish()
}

struct Document(String);

impl Document {
    fn name(&mut self, name: &str) {
        self.0.push_str(if self.0.is_empty() { "{\"" } else { ",\"" });
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.0.push_str(&value.to_string());
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push_str(&serde_json::Value::from(value).to_string());
    }

    fn json(&mut self, name: &str, value: &Json) {
        self.name(name);
        self.0.push_str(value.as_str());
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use guildhall::ids::{AgentId, AgentKey, GuildId};

    use super::*;

    pub(crate) fn launch() -> Launch {
        Launch {
            key: AgentKey::new(GuildId::new("g1").unwrap(), AgentId::new("a1").unwrap()),
            name: "Ann".to_owned(),
            class_name: "examples.Echo".to_owned(),
            agent_spec: Json::parse("agent spec", br#"{"id":"a1"}"#).unwrap(),
            guild_spec: Json::parse("guild spec", b"{\n  \"id\": \"g1\",\n  \"ratio\": 1.50\n}").unwrap(),
            messaging: Json::empty(),
            client_type: "Client".to_owned(),
            client_properties: Json::empty(),
            organization_id: "org \"1\"\n".to_owned(),
            machine_id: 3,
            default_topic: "default".to_owned(),
            runner: None,
            labels: Default::default(),
            resources: Default::default(),
            qos: Default::default(),
            placed_by: None,
        }
    }

    #[test]
    fn the_document_is_one_line_of_json_with_the_users_own_text() {
        let document = render(&launch(), Epoch(7), &HostId::new("h1").unwrap());
        insta::assert_snapshot!(document, @r#"{"version":1,"guild_id":"g1","agent_id":"a1","epoch":7,"host_id":"h1","organization_id":"org \"1\"\n","machine_id":3,"agent_spec":{"id":"a1"},"guild_spec":{   "id": "g1",   "ratio": 1.50 },"messaging":{},"client_type":"Client","client_properties":{},"default_topic":"default"}"#);
        assert!(!document.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(value["organization_id"], "org \"1\"\n");
    }
}
