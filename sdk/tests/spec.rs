//! Guild specs through the public door: the real ones, and what reading adds.

use std::{fs, path::PathBuf, time::Duration};

use guildhall::{
    ids::AgentId,
    spec::{AgentSpec, GuildSpec, MAX_SPEC_BYTES, SpecError, SpecReader},
};
use serde_json::{Value, json};

fn example(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "examples", "specs", name].iter().collect()
}

fn class_names(guild: &GuildSpec) -> Vec<&str> {
    guild.agents().iter().map(AgentSpec::class_name).collect()
}

/// A guild of one agent with `fields` added to the agent.
fn agent_with(fields: Value) -> Result<GuildSpec, SpecError> {
    let mut agent = json!({"id": "a", "name": "A", "description": "An agent.", "class_name": "x.A"});
    for (field, value) in fields.as_object().unwrap() {
        agent[field] = value.clone();
    }
    let guild = json!({"id": "g", "name": "G", "description": "A guild.", "agents": [agent]});
    GuildSpec::from_json(guild.to_string())
}

#[test]
fn real_specs_are_read() {
    for (file, id, name, agents, first_class) in [
        ("001_point_to_point.yaml", "p2p_guild", "P2P Messaging Guild", 2, "BasicWiringAgent"),
        (
            "004_message_filter.yaml",
            "MessageFilteringGuild",
            "Message Filtering Guild",
            1,
            "BasicWiringAgent",
        ),
        ("test_guild.yaml", "test_guild_id_YTiFwFazfMU5uduxii9nVG", "test_guild_name", 1, "SimpleAgent"),
        ("test_guild.json", "test_guild_id_eaw2KxoexPj4Z2BEPi5sCS", "test_guild_name", 1, "SimpleAgent"),
    ] {
        let guild = GuildSpec::from_path(example(file)).unwrap();
        assert_eq!((guild.id().as_str(), guild.name(), guild.agents().len()), (id, name, agents), "{file}");
        assert!(guild.agents()[0].class_name().ends_with(first_class), "{file}");
    }
}

#[test]
fn what_the_user_wrote_reaches_the_runner() {
    let file = example("test_guild.json");
    let guild = GuildSpec::from_path(&file).unwrap();
    let written: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    // As text, so that the order of the fields counts as well.
    assert_eq!(guild.json().as_str(), written.to_string());
    assert_eq!(guild.agents()[0].json().as_str(), written["agents"][0].to_string());

    assert_eq!(guild.client_type(), Some("rustic_ai.core.messaging.client.MessageTrackingClient"));
    assert_eq!(guild.client_properties(), None);
    assert_eq!(guild.messaging().unwrap()["backend_class"], "InMemoryMessagingBackend");
}

#[test]
fn yaml_comes_out_as_json_in_the_same_order() {
    let guild = GuildSpec::from_path(example("001_point_to_point.yaml")).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(guild.document()).unwrap());
}

#[test]
fn a_blueprint_holds_its_guild_under_spec() {
    let file = example("todo_guild.json");
    let guild = GuildSpec::from_path(&file).unwrap();
    let written: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();

    assert_eq!(guild.description(), "Central task management guild with G2G support");
    assert_eq!(guild.agents().len(), written["spec"]["agents"].as_array().unwrap().len());
    assert_eq!(guild.document()["routes"], written["spec"]["routes"]);
    // The blueprint's own fields describe it to a catalogue; they are not the guild's.
    assert_eq!(guild.document().get("starter_prompts"), None);
}

#[test]
fn missing_ids_are_made_up_once_and_for_all() {
    let spec = r#"{"name": "G", "description": "d", "agents": [
        {"name": "A", "description": "d", "class_name": "x.A"},
        {"id": null, "name": "B", "description": "d", "class_name": "x.B"}]}"#;
    let guild = GuildSpec::from_json(spec).unwrap();
    let ids = [guild.id().as_str(), guild.agents()[0].id().as_str(), guild.agents()[1].id().as_str()];
    for id in ids {
        assert_eq!(id.len(), 22, "{id}");
    }
    assert_eq!(guild.document()["id"], ids[0]);
    assert_eq!(guild.document()["agents"][1]["id"], ids[2]);
    assert_eq!(guild.agents()[0].document()["id"], ids[1]);
    assert_eq!(GuildSpec::from_json(guild.json().as_str()).unwrap(), guild);
    assert_ne!(GuildSpec::from_json(spec).unwrap().id(), guild.id());
}

#[test]
fn white_space_around_identity_is_stripped_and_the_rest_is_left() {
    let guild = agent_with(json!({
        "id": " a1 ", "name": "\tAnn\n", "class_name": " x.A ", "note": "  kept  ",
    }))
    .unwrap();
    let agent = guild.agent(&AgentId::new("a1").unwrap()).unwrap();
    assert_eq!((agent.name(), agent.class_name()), ("Ann", "x.A"));
    assert_eq!(agent.document()["name"], "Ann");
    assert_eq!(agent.document()["note"], "  kept  ");
}

#[test]
fn names_are_counted_in_characters() {
    let longest = "ü".repeat(64);
    assert_eq!(agent_with(json!({"name": longest})).unwrap().agents()[0].name(), longest);
    let error = agent_with(json!({"name": "ü".repeat(65)})).unwrap_err();
    assert!(matches!(error, SpecError::NameTooLong { chars: 65, .. }), "{error}");
}

#[test]
fn resources_and_qos_are_typed() {
    let guild = agent_with(json!({
        "resources": {"num_cpus": 2, "num_gpus": "0.5", "custom_resources": {"slots": 3, "licences": 1.5}},
        "qos": {"timeout": 30, "retry_count": "2", "latency": 250.0},
    }))
    .unwrap();
    let agent = &guild.agents()[0];
    let resources = agent.resources();
    assert_eq!((resources.num_cpus, resources.num_gpus), (Some(2.0), Some(0.5)));
    assert_eq!(
        resources.custom_resources.clone().into_iter().collect::<Vec<_>>(),
        [("licences".to_owned(), 1.5), ("slots".to_owned(), 3.0)]
    );
    assert_eq!(agent.qos().timeout, Some(Duration::from_secs(30)));
    assert_eq!(agent.qos().retry_count, Some(2));
    assert_eq!(agent.qos().latency, Some(Duration::from_millis(250)));
    // The runner still gets what was written.
    assert_eq!(agent.document()["qos"]["retry_count"], "2");

    let plain = agent_with(json!({"qos": {"timeout": null}})).unwrap();
    assert_eq!(plain.agents()[0].resources(), &Default::default());
    assert_eq!(plain.agents()[0].qos(), &Default::default());
}

#[test]
fn one_agent_is_read_alone() {
    let guild = GuildSpec::from_path(example("test_guild.json")).unwrap();
    let agent = AgentSpec::from_json(guild.agents()[0].json().as_str()).unwrap();
    assert_eq!(agent, guild.agents()[0]);
    let error = AgentSpec::from_json(r#"{"name": 7}"#).unwrap_err();
    assert_eq!(error.to_string(), "name: expected text, found the number 7");
}

#[test]
fn configuration_is_rendered_once_and_then_gone() {
    let written = json!({
        "id": "g", "name": "G {{ city }}", "configuration": {"city": "{{ city }}", "name": "Ann"},
        "description": "A guild.",
        "agents": [{"id": "{{ name }}-1", "name": "{{ name }}", "description": "d", "class_name": "x.A"}],
        "routes": null, "note": "{{ city }}",
    });
    let guild = GuildSpec::from_json(written.to_string()).unwrap();
    assert_eq!(
        guild.json().as_str(),
        json!({
            "id": "g", "name": "G {{ city }}", "description": "A guild.",
            "agents": [{"id": "Ann-1", "name": "Ann", "description": "d", "class_name": "x.A"}],
            "routes": {}, "note": "{{ city }}",
        })
        .to_string()
    );

    // What comes out is checked, not what was written.
    let mut long = written.clone();
    long["configuration"]["name"] = json!("x".repeat(65));
    let error = GuildSpec::from_json(long.to_string()).unwrap_err();
    assert!(matches!(error, SpecError::NameTooLong { chars: 65, .. }), "{error}");

    // With nothing to render, braces mean nothing.
    let mut empty = written;
    empty["configuration"] = json!({});
    empty["routes"] = json!({});
    empty["agents"][0]["id"] = json!("a");
    let guild = GuildSpec::from_json(empty.to_string()).unwrap();
    assert_eq!(guild.json().as_str(), empty.to_string());
}

#[test]
fn a_gateway_adds_its_agent_once() {
    let spec = |gateway: Value, agents: Value| {
        let guild = json!({"id": "g", "name": "G", "description": "d", "gateway": gateway, "agents": agents});
        GuildSpec::from_json(guild.to_string())
    };
    let gateway = json!({"input_formats": ["a.In"], "output_formats": ["a.Out"]});
    let class = "rustic_ai.core.guild.g2g.gateway_agent.GatewayAgent";

    let guild = spec(gateway.clone(), json!([])).unwrap();
    assert_eq!(class_names(&guild), [class]);
    assert_eq!(guild.agents()[0].id().as_str(), "gateway");
    assert_eq!(
        guild.agents()[0].document()["properties"],
        json!({"input_formats": ["a.In"], "output_formats": ["a.Out"], "returned_formats": []})
    );
    assert_eq!(GuildSpec::from_json(guild.json().as_str()).unwrap(), guild);

    let own = json!([{"id": "mine", "name": "Mine", "description": "d", "class_name": class}]);
    assert_eq!(spec(gateway.clone(), own).unwrap().agents()[0].id().as_str(), "mine");

    let mut disabled = gateway;
    disabled["enabled"] = json!(false);
    assert!(matches!(spec(disabled, json!([])).unwrap_err(), SpecError::NoAgents { .. }));
}

#[test]
fn a_document_over_the_limit_is_refused_before_it_is_parsed() {
    // Not even JSON: were it parsed, the error would be another.
    let text = "x".repeat(20_000_000);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guild.json");
    fs::write(&file, &text).unwrap();
    for error in [
        GuildSpec::from_json(&text).unwrap_err(),
        GuildSpec::from_yaml(&text).unwrap_err(),
        GuildSpec::from_path(&file).unwrap_err(),
        AgentSpec::from_json(&text).unwrap_err(),
    ] {
        assert!(matches!(error, SpecError::TooLarge { limit: MAX_SPEC_BYTES, .. }), "{error}");
    }
    let small = fs::read(example("test_guild.json")).unwrap();
    assert!(SpecReader::new().max_bytes(small.len()).read_json(&small).is_ok());
    assert!(SpecReader::new().max_bytes(small.len() - 1).read_json(&small).is_err());
}

#[test]
fn debug_shows_no_properties() {
    let guild = agent_with(json!({"properties": {"api_key": "s3cret"}})).unwrap();
    assert!(guild.json().as_str().contains("s3cret"));
    assert!(!format!("{guild:?} {:?}", guild.json()).contains("s3cret"));
}
