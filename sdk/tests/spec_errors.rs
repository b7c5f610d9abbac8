//! Every way a spec can be wrong, and the message that people get for it.

use std::fmt::Write;

use guildhall::spec::{AgentSpec, GuildSpec, SpecError};
use serde_json::{Value, json};

fn guild(change: impl FnOnce(&mut Value)) -> String {
    let agent = |id: &str| json!({"id": id, "name": "A", "description": "An agent.", "class_name": "x.A"});
    let mut guild =
        json!({"id": "g", "name": "G", "description": "A guild.", "agents": [agent("a"), agent("b")]});
    change(&mut guild);
    guild.to_string()
}

fn nested(levels: usize) -> String {
    format!("{{\"x\": {}{}}}", "[".repeat(levels), "]".repeat(levels))
}

/// Doubles a list with each line: 2^40 words in the end.
fn alias_bomb() -> String {
    let mut yaml = "a0: &a0 [lol, lol]\n".to_owned();
    for level in 1..40 {
        writeln!(yaml, "a{level}: &a{level} [*a{0}, *a{0}]", level - 1).unwrap();
    }
    yaml
}

#[test]
fn messages_say_where_and_what() {
    let configured = |configuration: Value, text: &str| {
        guild(|g| {
            g["configuration"] = configuration;
            g["agents"][1]["properties"] = json!({"prompt": ["", text]});
        })
    };
    let template = |text: &str| configured(json!({"city": "Lisbon", "list": [1], "map": {"a": 1}}), text);
    let long = "x".repeat(10_000);

    let json_cases: Vec<(&str, String)> = vec![
        ("empty text", String::new()),
        ("malformed JSON", "{\"id\": \"g\",\n \"name\" \"G\"}".to_owned()),
        ("JSON cut off", r#"{"id": "g"#.to_owned()),
        ("more than one value", "{} {}".to_owned()),
        ("not a mapping", "[1, 2]".to_owned()),
        ("too deep", nested(64)),
        ("very deep", nested(100_000)),
        ("a wide integer", "{\"a\": [1,\n2, 123456789012345678901234567890]}".to_owned()),
        ("a float that is too large", r#"{"a": 1e999}"#.to_owned()),
        ("name missing", guild(|g| drop(g.as_object_mut().unwrap().remove("name")))),
        ("name of the wrong type", guild(|g| g["agents"][1]["name"] = json!(42))),
        ("name empty", guild(|g| g["agents"][0]["name"] = json!("  "))),
        ("name too long", guild(|g| g["agents"][0]["name"] = json!("é".repeat(65)))),
        ("description empty", guild(|g| g["description"] = json!(""))),
        ("description null", guild(|g| g["agents"][0]["description"] = json!(null))),
        ("class_name missing", guild(|g| drop(g["agents"][1].as_object_mut().unwrap().remove("class_name")))),
        ("class_name empty", guild(|g| g["agents"][1]["class_name"] = json!(""))),
        ("guild id empty", guild(|g| g["id"] = json!(""))),
        ("guild id of the wrong type", guild(|g| g["id"] = json!({"a": 1}))),
        ("agent id of 10 KB", guild(|g| g["agents"][0]["id"] = json!(long))),
        ("agent id with a control character", guild(|g| g["agents"][0]["id"] = json!("a\u{7}b"))),
        ("agent id with a glob", guild(|g| g["agents"][0]["id"] = json!("agents*"))),
        ("agent ids twice", guild(|g| g["agents"][1]["id"] = json!(" a"))),
        ("no agents", guild(|g| g["agents"] = json!([]))),
        ("agents missing", guild(|g| drop(g.as_object_mut().unwrap().remove("agents")))),
        ("agents of the wrong type", guild(|g| g["agents"] = json!({"a": 1}))),
        ("an agent of the wrong type", guild(|g| g["agents"][1] = json!("agent"))),
        (
            "a blueprint without agents",
            r#"{"spec": {"id": "g", "name": "G", "description": "d"}}"#.to_owned(),
        ),
        ("properties null", guild(|g| g["properties"] = json!(null))),
        ("messaging of the wrong type", guild(|g| g["properties"] = json!({"messaging": "redis"}))),
        ("client type of the wrong type", guild(|g| g["properties"] = json!({"client_type": true}))),
        ("routes of the wrong type", guild(|g| g["routes"] = json!([]))),
        ("resources of the wrong type", guild(|g| g["agents"][0]["resources"] = json!(null))),
        ("resource not a number", guild(|g| g["agents"][0]["resources"] = json!({"num_cpus": "two"}))),
        ("resource negative", guild(|g| g["agents"][0]["resources"] = json!({"num_gpus": -1}))),
        (
            "resource a boolean",
            guild(|g| g["agents"][0]["resources"] = json!({"custom_resources": {"disk": true}})),
        ),
        ("qos in parts", guild(|g| g["agents"][0]["qos"] = json!({"timeout": 1.5}))),
        ("qos too large", guild(|g| g["agents"][0]["qos"] = json!({"retry_count": 5_000_000_000_u64}))),
        ("gateway without formats", guild(|g| g["gateway"] = json!({"input_formats": []}))),
        ("gateway formats of the wrong type", guild(|g| g["gateway"] = json!({"input_formats": [1]}))),
        ("configuration of the wrong type", guild(|g| g["configuration"] = json!("city"))),
        ("variable missing in an agent", template("I live in {{ town }}.")),
        ("dotted variable missing", template("{{ map.b }}")),
        (
            "variable missing in a route",
            guild(|g| {
                g["configuration"] = json!({"city": "Lisbon"});
                g["routes"] =
                    json!({"steps": [{"agent": {"name": "A"}, "destination": {"topics": "{{ topic }}"}}]});
            }),
        ),
        (
            "variable missing in a key",
            guild(|g| {
                g["configuration"] = json!({"city": "Lisbon"});
                g["agents"][0]["predicates"] = json!({"{{ method }}": {}});
            }),
        ),
        ("a list inserted", template("{{ list }}")),
        ("a mapping inserted", template("{{ map }}")),
        ("tag never closed", template("{{ city }")),
        ("tag without a name", template("{{}}")),
        ("three braces and two", template("{{{ city }}")),
        ("name with a space", template("{{ my city }}")),
        ("partial", template("{{> /etc/passwd }}")),
        ("delimiters", template("{{=<% %>=}}")),
        ("section never ended", template("{{# city }} yes")),
        ("section never begun", template("yes {{/ city }}")),
        ("sections crossed", template("{{#city}}{{#list}}{{/city}}{{/list}}")),
        ("sections too deep", template(&("{{#city}}".repeat(17) + &"{{/city}}".repeat(17)))),
        (
            "rendering without end",
            configured(
                json!({"a": vec!["lol"; 1000]}),
                &("{{#a}}".repeat(8) + "{{.}}" + &"{{/a}}".repeat(8)),
            ),
        ),
        (
            "rendering nothing without end",
            configured(json!({"a": vec!["lol"; 1000]}), &("{{#a}}".repeat(8) + &"{{/a}}".repeat(8))),
        ),
    ];
    let yaml_cases: Vec<(&str, String)> = vec![
        ("empty text", String::new()),
        ("malformed YAML", "name: G\nagents: [a, b\nother: c".to_owned()),
        ("bad indentation", "agents:\n  - a\n - b".to_owned()),
        ("a tab for indentation", "a:\n\tb: c".to_owned()),
        ("two documents", "name: G\n---\nname: H".to_owned()),
        ("too deep", nested(64)),
        ("very deep", nested(100_000)),
        ("deep in block style", "- ".repeat(10_000)),
        ("alias bomb", alias_bomb()),
        ("long text repeated", format!("a: &a {long}\nb: [{}]", "*a, ".repeat(500))),
        ("deep through aliases", format!("a: &a {0}1{1}\nb: {0}*a{1}", "[".repeat(40), "]".repeat(40))),
        ("alias of itself", "a: &a [1, *a]".to_owned()),
        ("unknown alias", "a: *b".to_owned()),
        ("unknown tag", "a: !secret b".to_owned()),
        ("unknown tag on a mapping", "a: !!omap [b: 1]".to_owned()),
        ("binary", "a: !!binary aGk=".to_owned()),
        ("tag that does not fit", "a: !!int seven".to_owned()),
        ("number without digits", "a: 0x_".to_owned()),
        ("a wide integer", "a: 18446744073709551616".to_owned()),
        ("not a number", "a: [1, .nan]".to_owned()),
        ("infinity", "a: -.inf".to_owned()),
        ("key that is a list", "? [a, b]\n: c".to_owned()),
        ("merge of a word", "<<: word".to_owned()),
        ("merge of a list of words", "<<: [{a: 1}, word]".to_owned()),
        ("include without a folder", "agents:\n  - !include agent.yaml".to_owned()),
        ("code without a folder", "agents: [!code agent.py]".to_owned()),
        ("include of a mapping", "agents: !include {file: agent.yaml}".to_owned()),
        ("a name that YAML takes for a boolean", "name: no\ndescription: d".to_owned()),
    ];

    let mut table = String::new();
    let mut row = |format: &str, case: &str, error: Option<SpecError>| match error {
        Some(error) => writeln!(table, "{format} {case}\n    {error}").unwrap(),
        None => panic!("{format} {case}: was accepted"),
    };
    for (case, text) in &json_cases {
        row("JSON", case, GuildSpec::from_json(text).err());
    }
    row("JSON", "not UTF-8", GuildSpec::from_json(b"{\"id\": \"\xff\"}").err());
    row("JSON", "one agent alone", AgentSpec::from_json(r#"{"resources": {}}"#).err());
    for (case, text) in &yaml_cases {
        row("YAML", case, GuildSpec::from_yaml(text).err());
    }
    insta::assert_snapshot!(table);
}

#[test]
fn sources_and_values_can_be_read_from_an_error() {
    let error = GuildSpec::from_yaml("a:\n  - *b").unwrap_err();
    let SpecError::Malformed { at, .. } = error else { panic!("{error}") };
    assert_eq!((at.file(), at.line(), at.column()), (None, 2, 5));

    let error = GuildSpec::from_json(guild(|g| g["id"] = json!("a*"))).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.is::<guildhall::ids::InvalidId>(), "{source}");
}
