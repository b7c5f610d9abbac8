//! What holds for any text and any spec.

use guildhall::spec::{AgentSpec, GuildSpec, SpecReader};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

/// Text made of what YAML, JSON and Mustache give a meaning to.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "name: ",
        "agents:",
        "\n",
        "\n  ",
        "\n- ",
        "- ",
        ": ",
        ":",
        ", ",
        "[",
        "]",
        "{",
        "}",
        "{{",
        "}}",
        "{{#a}}",
        "{{/a}}",
        "&a ",
        "*a",
        "<<: ",
        "!include ",
        "!code ",
        "!!int ",
        "! ",
        "|\n ",
        ">-\n ",
        "'",
        "\"",
        "\\",
        "\\u00",
        "#",
        "# ",
        "? ",
        "%YAML 1.1\n",
        "---\n",
        "...\n",
        "\t",
        "\r\n",
        "\u{feff}",
        "\u{85}",
        "é",
        "0x",
        "1_0",
        "1:30",
        ".inf",
        "-",
        "~",
        "\0",
        "configuration: {a: [1]}\n",
    ]);
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((".{0,6}", inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// A good guild with whatever else beside the fields that are known.
fn any_guild() -> impl Strategy<Value = Value> {
    let text = "[a-zäß \"\\\\{}]{0,20}[a-z]";
    let agent = (text, text, any::<bool>(), vec(("x_.{0,4}", any_value()), 0..4)).prop_map(
        |(name, description, with_id, extra)| {
            let mut agent: Map<String, Value> = extra.into_iter().collect();
            agent.extend([
                ("name".to_owned(), json!(name)),
                ("description".to_owned(), json!(description)),
                ("class_name".to_owned(), json!("x.A")),
            ]);
            (with_id, agent)
        },
    );
    (text, vec(agent, 1..4), vec(("x_.{0,4}", any_value()), 0..4)).prop_map(|(name, agents, extra)| {
        let agents: Vec<_> = agents
            .into_iter()
            .enumerate()
            .map(|(at, (with_id, mut agent))| {
                if with_id {
                    agent.insert("id".to_owned(), json!(format!("agent-{at}")));
                }
                agent
            })
            .collect();
        let mut guild: Map<String, Value> = extra.into_iter().collect();
        guild.extend([
            ("name".to_owned(), json!(name)),
            ("description".to_owned(), json!("d")),
            ("agents".to_owned(), json!(agents)),
        ]);
        Value::Object(guild)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![pieces(), ".{0,200}", "[ -~\n]{0,200}"]) {
        let folder = env!("CARGO_MANIFEST_DIR");
        for error in [
            SpecReader::new().root(folder).read_yaml(&text).err(),
            GuildSpec::from_json(&text).err(),
            AgentSpec::from_json(&text).err(),
        ].into_iter().flatten() {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn no_template_makes_it_panic(text in pieces()) {
        let guild = json!({
            "name": "G", "description": "d", "configuration": {"a": [1, {"a": null}]},
            "agents": [{"name": "A", "description": "d", "class_name": "x.A", "note": text}],
        });
        let _ = GuildSpec::from_json(guild.to_string());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spec_survives_its_own_json(guild in any_guild()) {
        let read = GuildSpec::from_json(guild.to_string()).unwrap();
        let again = GuildSpec::from_json(read.json().as_str()).unwrap();
        prop_assert_eq!(&again, &read);
        prop_assert_eq!(again.json().as_str(), read.json().as_str());
        for agent in read.agents() {
            prop_assert_eq!(&AgentSpec::from_json(agent.json().as_str()).unwrap(), agent);
        }
    }

    #[test]
    fn json_is_yaml_too(guild in any_guild()) {
        // Lone control characters are beyond YAML, also in quotes.
        let text = guild.to_string();
        prop_assume!(!text.contains(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')));
        let (yaml, json) = (GuildSpec::from_yaml(&text).unwrap(), GuildSpec::from_json(&text).unwrap());
        for (ours, theirs) in yaml.agents().iter().zip(json.agents()) {
            prop_assert_eq!(ours.name(), theirs.name());
            for (field, value) in theirs.document().as_object().unwrap() {
                if field != "id" {
                    prop_assert_eq!(&ours.document()[field], value);
                }
            }
        }
    }
}
