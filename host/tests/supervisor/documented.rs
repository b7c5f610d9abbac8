//! The runners in `docs/runners.md` work as they stand there. They need
//! `systemd-notify` and `python3`, which `make setup` installs.

use std::{os::unix::fs::PermissionsExt, path::Path};

use guildhall_host::runner::RunnerTable;

use crate::setup::setup_with;

fn documentation() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runners.md");
    std::fs::read_to_string(path).unwrap()
}

/// The first block of code in that language.
fn example(language: &str) -> String {
    let text = documentation();
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

async fn runs(language: &str) -> String {
    let script = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&script, example(language)).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let setup = setup_with(|_, runner| runner.command = script.to_path_buf()).await;
    let agent = setup.create("a", "{}").await.unwrap();
    let stopped = setup.supervisor.stop(&agent.key, None).await.unwrap();
    setup.assert_nothing_left().await;
    let exit = stopped.last_exit.unwrap();
    assert!(exit.signal != Some(9), "{exit:?}");
    exit.stderr
}

#[tokio::test]
async fn the_shell_script_runs() {
    assert_eq!(runs("sh").await, "starting a of g, epoch 1");
}

#[tokio::test]
async fn the_python_script_runs() {
    assert_eq!(runs("python").await, "I am a epoch 1");
}

#[test]
fn the_table_is_one() {
    let table = RunnerTable::parse(&example("toml")).unwrap();
    assert_eq!(table.names(), ["rustic", "forge"]);
}

#[test]
fn every_placeholder_and_variable_is_named() {
    let text = documentation();
    let unknown =
        RunnerTable::parse("[runner.a]\ncommand = \"x\"\nenv = { A = \"{{?}}\" }").unwrap_err().to_string();
    let (_, names) = unknown.split_once("there are: ").unwrap();
    for name in names.split(", ") {
        assert!(text.contains(&format!("`{{{{{name}}}}}`")), "{name}");
    }
    for name in guildhall_host::supervisor::ENV_ALLOW_LIST {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}
