//! `!include` and `!code`: what they bring in, and what they may not.

use std::{fmt::Write, fs, os::unix::fs::symlink, path::Path};

use guildhall::spec::{GuildSpec, SpecError, SpecReader};
use tempfile::TempDir;

const HEAD: &str = "id: g\nname: G\ndescription: A guild.\n";

fn agent(id: &str) -> String {
    format!("id: {id}\nname: Agent {id}\ndescription: An agent.\nclass_name: x.A\n")
}

/// A folder with these files in it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

fn ids(guild: &GuildSpec) -> Vec<&str> {
    guild.agents().iter().map(|agent| agent.id().as_str()).collect()
}

/// The message with the folder's own name left out.
fn message(folder: &Path, result: Result<GuildSpec, SpecError>) -> String {
    let error = result.expect_err("the spec was accepted");
    error.to_string().replace(&folder.display().to_string(), "[folder]")
}

#[test]
fn the_code_review_guild_is_read_when_its_files_are_there() {
    let example: std::path::PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "examples", "specs", "code_review_guild.yaml"].iter().collect();
    let error = GuildSpec::from_path(&example).unwrap_err();
    assert!(matches!(&error, SpecError::Unreadable { reference, .. }
        if reference.target() == "agents/security_reviewer.yaml" && reference.at().line() == 5));

    let reviewers = ["security_reviewer", "performance_reviewer", "style_reviewer", "orchestrator"];
    let files = reviewers.map(|id| (format!("agents/{id}.yaml"), agent(id)));
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let folder = folder(&files);
    fs::copy(example, folder.path().join("guild.yaml")).unwrap();
    assert_eq!(ids(&GuildSpec::from_path(folder.path().join("guild.yaml")).unwrap()), reviewers);
}

#[test]
fn includes_are_relative_to_the_file_they_stand_in() {
    let folder = folder(&[
        ("guild.yaml", &format!("{HEAD}agents: !include parts/agents.yml\n")),
        ("parts/agents.yml", "- !include one/agent.yaml\n- <<: !include one/agent.yaml\n  id: two\n"),
        (
            "parts/one/agent.yaml",
            &format!("{}properties: {{prompt: !code ../../prompt.txt}}\n", agent("one")),
        ),
        ("prompt.txt", "Be kind.\r\n!include nothing\r"),
    ]);
    let guild = GuildSpec::from_path(folder.path().join("guild.yaml")).unwrap();
    assert_eq!(ids(&guild), ["one", "two"]);
    // Line ends as Python's text files have them.
    assert_eq!(guild.agents()[1].document()["properties"]["prompt"], "Be kind.\n!include nothing\n");
}

#[test]
fn a_root_folder_lets_text_include_and_files_reach_further() {
    let folder = folder(&[
        ("guilds/guild.yaml", &format!("{HEAD}agents: [!include ../shared/agent.yaml]")),
        ("shared/agent.yaml", &agent("shared")),
    ]);
    let reader = SpecReader::new().root(folder.path());
    let text = format!("{HEAD}agents: [!include shared/agent.yaml]");
    assert_eq!(ids(&reader.read_yaml(&text).unwrap()), ["shared"]);
    assert_eq!(ids(&reader.read_path(folder.path().join("guilds/guild.yaml")).unwrap()), ["shared"]);
    assert!(matches!(
        GuildSpec::from_path(folder.path().join("guilds/guild.yaml")).unwrap_err(),
        SpecError::OutsideRoot { .. }
    ));
}

#[test]
fn links_inside_of_the_root_are_followed() {
    // The way Kubernetes mounts a ConfigMap.
    let folder = folder(&[
        ("..2026/guild.yaml", &format!("{HEAD}agents: [!include agent.yaml]")),
        ("..2026/agent.yaml", &agent("one")),
    ]);
    let at = |name: &str| folder.path().join(name);
    symlink("..2026", at("..data")).unwrap();
    symlink("..data/guild.yaml", at("guild.yaml")).unwrap();
    symlink("..data/agent.yaml", at("agent.yaml")).unwrap();
    assert_eq!(ids(&GuildSpec::from_path(at("guild.yaml")).unwrap()), ["one"]);
}

#[test]
fn messages_name_the_file_and_the_reference() {
    let folder = folder(&[
        ("root/missing.yaml", &format!("{HEAD}agents:\n  - !include agents/none.yaml")),
        ("root/code_missing.yaml", &format!("{HEAD}agents: [{{id: a, prompt: !code none.txt}}]")),
        ("root/outside.yaml", &format!("{HEAD}agents: [!include ../secret.yaml]")),
        ("root/outside_missing.yaml", &format!("{HEAD}agents: [!include ../none.yaml]")),
        ("root/absolute.yaml", &format!("{HEAD}agents: [!include /none.yaml]")),
        ("root/neighbour.yaml", &format!("{HEAD}agents: [!include ../root2/a.yaml]")),
        ("root/linked_file.yaml", &format!("{HEAD}agents: [!include link.yaml]")),
        ("root/linked_folder.yaml", &format!("{HEAD}agents: [!code way/secret.yaml]")),
        ("root/self.yaml", &format!("{HEAD}agents: !include self.yaml")),
        ("root/circle.yaml", &format!("{HEAD}agents: !include circle/b.yaml")),
        ("root/circle/b.yaml", "- !include c.yaml"),
        ("root/circle/c.yaml", "x: !include ./b.yaml"),
        ("root/json.yaml", &format!("{HEAD}agents: !include agents.json")),
        ("root/agents.json", "[]"),
        ("root/folder.yaml", &format!("{HEAD}agents: [!code circle]")),
        ("root/unnamed.yaml", &format!("{HEAD}agents: [!include ]")),
        ("root/part_malformed.yaml", &format!("{HEAD}agents: !include part.yaml")),
        ("root/part.yaml", "- a\n- [b"),
        ("root/latin.yaml", "name: \u{e9}"),
        ("root/guild.toml", ""),
        ("secret.yaml", "secret: true"),
        ("root2/a.yaml", ""),
    ]);
    let root = folder.path().join("root");
    fs::write(root.join("latin.yaml"), b"name: caf\xe9").unwrap();
    symlink("../secret.yaml", root.join("link.yaml")).unwrap();
    symlink("..", root.join("way")).unwrap();

    let mut table = String::new();
    for file in [
        "missing.yaml",
        "code_missing.yaml",
        "outside.yaml",
        "outside_missing.yaml",
        "absolute.yaml",
        "neighbour.yaml",
        "linked_file.yaml",
        "linked_folder.yaml",
        "self.yaml",
        "circle.yaml",
        "json.yaml",
        "folder.yaml",
        "unnamed.yaml",
        "part_malformed.yaml",
        "latin.yaml",
        "guild.toml",
        "none.yaml",
        "circle",
    ] {
        let message = message(folder.path(), GuildSpec::from_path(root.join(file)));
        writeln!(table, "{file}\n    {message}").unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn depth_and_size_are_bounded() {
    let chain: Vec<_> = (0..10)
        .map(|n| (format!("{n}.yaml"), if n == 9 { "[]".into() } else { format!("!include {}.yaml", n + 1) }))
        .collect();
    let mut files: Vec<_> = chain.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let comment = format!("# {}\n", "x".repeat(1_000_000));
    let many = format!("{HEAD}agents: [{}]", "!include comment.yaml, ".repeat(10));
    files.extend([("comment.yaml", comment.as_str()), ("many.yaml", many.as_str())]);
    let folder = folder(&files);
    let at = |name: &str| folder.path().join(name);

    let error = GuildSpec::from_path(at("0.yaml")).unwrap_err();
    assert!(matches!(error, SpecError::IncludeDepth { limit: 8, .. }), "{error}");
    let error = SpecReader::new().max_include_depth(9).read_path(at("0.yaml")).unwrap_err();
    assert_eq!(error.to_string(), "the document: expected a mapping, found a list");
    let error = SpecReader::new().max_include_depth(0).read_path(at("8.yaml")).unwrap_err();
    assert!(matches!(error, SpecError::IncludeDepth { limit: 0, .. }), "{error}");

    // Comments leave nothing behind, yet they are read each time.
    let error = GuildSpec::from_path(at("many.yaml")).unwrap_err();
    assert!(matches!(error, SpecError::TooLarge { .. }), "{error}");
}

#[test]
fn a_pipe_is_refused_and_not_waited_on() {
    let folder = folder(&[("guild.yaml", &format!("{HEAD}agents: [!code pipe]"))]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let message = message(folder.path(), GuildSpec::from_path(folder.path().join("guild.yaml")));
    assert!(message.ends_with("it is not a regular file"), "{message}");
}
