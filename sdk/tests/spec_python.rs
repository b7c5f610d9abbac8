//! The same input gives what Python gives: PyYAML for YAML, chevron for templates.
//! `fixtures/spec/README.md` says where the answers come from.

use guildhall::spec::GuildSpec;
use serde_json::{Value, json};

fn rows(fixture: &str) -> Vec<(String, Value)> {
    serde_json::from_str(fixture).unwrap()
}

/// Reads YAML as the `note` of a guild, a field that the SDK knows nothing about.
fn read_note(yaml: &str) -> Result<Value, String> {
    let note: String = yaml.lines().map(|line| format!("  {line}\n")).collect();
    let guild = format!(
        "name: G\ndescription: d\nagents: [{{name: A, description: d, class_name: x.A}}]\nnote:\n{note}"
    );
    match GuildSpec::from_yaml(guild) {
        Ok(guild) => Ok(guild.document()["note"].clone()),
        Err(error) => Err(error.to_string()),
    }
}

fn check(rows: Vec<(String, Value)>, read: impl Fn(&str) -> Result<Value, String>) {
    assert!(rows.len() > 20, "the fixture has only {} rows", rows.len());
    let mut differences = Vec::new();
    for (yaml, python) in rows {
        let ours = read(&yaml);
        // As text: 1 and 1.0 are different, and so are fields in another order.
        let ours_text = ours.as_ref().ok().map(Value::to_string);
        let python_text = python.get("value").map(Value::to_string);
        if ours_text != python_text {
            differences.push(format!("{yaml:?}: we say {ours:?}, Python says {python}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn plain_words_mean_what_they_mean_to_pyyaml() {
    check(rows(include_str!("fixtures/spec/pyyaml_scalars.json")), |word| {
        read_note(&format!("- {word}")).map(|note| note[0].clone())
    });
}

#[test]
fn documents_mean_what_they_mean_to_pyyaml() {
    check(rows(include_str!("fixtures/spec/pyyaml_documents.json")), read_note);
}

#[test]
fn templates_render_as_in_rustic_ai() {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/spec/rendered.json")).unwrap();
    let texts: Vec<(String, String)> = serde_json::from_value(fixture["texts"].clone()).unwrap();
    assert!(texts.len() > 20);
    for (text, wanted) in texts {
        let guild = json!({
            "name": "G",
            "description": "{{ not rendered }}",
            "configuration": fixture["configuration"],
            "agents": [{"name": "A", "description": "d", "class_name": "x.A", "properties": {"p": text}}],
            "routes": {"steps": [{"agent": {"name": text}}]},
        });
        let guild =
            GuildSpec::from_json(guild.to_string()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(guild.agents()[0].document()["properties"]["p"], wanted, "{text:?}");
        assert_eq!(guild.document()["routes"]["steps"][0]["agent"]["name"], wanted, "{text:?}");
        assert_eq!(guild.description(), "{{ not rendered }}");
    }
}
