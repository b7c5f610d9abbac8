//! What an agent inherits: nothing that it was not given. And what it leaves: nothing.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

use guildhall_host::{
    runner::{Delivery, Template},
    supervisor::{CreateError, ENV_ALLOW_LIST},
};

use crate::setup::{launch, setup, setup_with};

fn environment(pid: u32) -> BTreeMap<String, String> {
    let text = String::from_utf8(fs::read(format!("/proc/{pid}/environ")).unwrap()).unwrap();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn only_listed_variables_are_inherited() {
    let setup = setup_with(|_, runner| {
        let value = Template::parse("{{guild_id}} of {{organization_id}}").unwrap();
        runner.env.insert("WHO".to_owned(), value);
        let redirected = Template::parse("/elsewhere").unwrap();
        runner.env.insert("NOTIFY_SOCKET".to_owned(), redirected);
    });
    let setup = setup.await;
    let not_listed = std::env::vars().any(|(name, _)| !ENV_ALLOW_LIST.contains(&name.as_str()));
    assert!(not_listed, "the test itself has nothing that could leak");
    let agent = setup.create("a", "{}").await.unwrap();
    let environment = environment(agent.pid.unwrap());
    let allowed = |name: &str| {
        ENV_ALLOW_LIST.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *allowed,
        })
    };
    let given: Vec<_> = environment.keys().filter(|name| !allowed(name)).map(String::as_str).collect();
    assert_eq!(
        given,
        [
            "ECHO_DIR",
            "GUILDHALL_AGENT_ID",
            "GUILDHALL_EPOCH",
            "GUILDHALL_GUILD_ID",
            "GUILDHALL_HOST_ID",
            "NOTIFY_SOCKET",
            "WHO"
        ]
    );
    assert_eq!(environment["PATH"], std::env::var("PATH").unwrap());
    assert_eq!(environment["WHO"], "g of org");
    assert_eq!(environment["GUILDHALL_EPOCH"], agent.epoch.to_string());
    setup.supervisor.stop(&agent.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

/// A runner that needs no launch document: a shell that says what it was given.
#[tokio::test]
async fn a_program_can_be_told_by_variables() {
    let setup = setup_with(|_, runner| {
        runner.command = "sh".into();
        let script = r#"read -r line && exit 1; printf '%s\n' "$SPEC" >&2; exit 7"#;
        runner.args = vec!["-c".to_owned(), script.to_owned()];
        runner.delivery = Delivery::Env;
        runner.env.insert("SPEC".to_owned(), Template::parse("{{agent_id}} {{agent_spec}}").unwrap());
    });
    let setup = setup.await;
    let launch = launch("a", "{}");
    let spec = format!("a {}", launch.agent_spec.as_str());
    match setup.supervisor.create(launch, "r".to_owned()).await.unwrap_err() {
        CreateError::StartFailed { exit } => {
            assert_eq!((exit.code, exit.stderr), (Some(7), spec));
        }
        other => panic!("{other:?}"),
    }
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn no_descriptor_is_inherited() {
    let setup = setup().await;
    // `dup` gives a descriptor that is not closed on exec, as C libraries do.
    let file = fs::File::open("/proc/self/status").unwrap();
    let leaky: OwnedFd = rustix::io::dup(&file).unwrap();
    assert!(rustix::io::fcntl_getfd(&leaky).unwrap().is_empty());
    let agent = setup.create("a", "{}").await.unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", agent.pid.unwrap())).unwrap();
    let targets: Vec<_> = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
    let leaked = fs::read_link(format!("/proc/self/fd/{}", leaky.as_raw_fd())).unwrap();
    assert!(!targets.contains(&leaked), "{targets:?}");
    // Its pipes, and sockets that it opened itself.
    let own =
        |target: &PathBuf| ["pipe:", "socket:"].iter().any(|kind| target.to_string_lossy().starts_with(kind));
    assert!(targets.len() >= 6 && targets.iter().all(own), "{targets:?}");
    setup.supervisor.stop(&agent.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn the_host_keeps_nothing_of_agents_that_ended() {
    let setup = setup().await;
    let sockets = || {
        let dirs = fs::read_dir(setup.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let own = dirs.into_iter().find(|path| path.is_dir()).unwrap();
        fs::read_dir(own).unwrap().count()
    };
    for round in 0..10 {
        let agent = setup.create("a", "{}").await.unwrap();
        assert_eq!(sockets(), 1, "round {round}");
        setup.supervisor.stop(&agent.key, None).await.unwrap();
        assert_eq!(sockets(), 0, "round {round}");
    }
    setup.assert_nothing_left().await;
}
