//! Starting agents, and not starting them.

use std::{slice, time::Duration};

use guildhall::{agent::AgentState, launch::Json};
use guildhall_host::supervisor::CreateError;

use crate::setup::{gone, key, launch, launch_in, setup, setup_with};

#[tokio::test]
async fn an_agent_starts_answers_and_stops() {
    let setup = setup().await;
    let agent = setup.create("a", "{}").await.unwrap();
    assert_eq!((agent.state, agent.restarts, agent.host.as_str()), (AgentState::Running, 0, "h1"));
    assert!(agent.start_ms.is_some() && agent.created_at_ms > 0 && agent.epoch.0 > 0);
    assert_eq!(setup.record(&agent.key).await.as_ref(), Some(&agent));
    assert_eq!(setup.supervisor.get(&agent.key).as_ref(), Some(&agent));

    let pong = setup.ping(&agent).await;
    assert_eq!((pong.guild.as_str(), pong.agent.as_str()), ("g", "a"));
    assert_eq!((pong.epoch, Some(pong.pid)), (agent.epoch.0, agent.pid));

    let stopped = setup.supervisor.stop(&agent.key, None).await.unwrap();
    assert_eq!(stopped.last_exit.unwrap().code, Some(0));
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_document_larger_than_a_pipe_arrives() {
    let setup = setup().await;
    let mut launch = launch("a", "{}");
    launch.guild_spec = Json::from_value(&"x".repeat(3_000_000).into());
    let agent = setup.supervisor.create(launch, "r".to_owned()).await.unwrap();
    assert_eq!(setup.ping(&agent).await.epoch, agent.epoch.0);
    setup.supervisor.stop(&agent.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_start_that_fails_is_undone_and_explained() {
    let setup = setup_with(|config, _| config.ready_timeout = Duration::from_millis(300)).await;
    match setup.create("a", r#"{"on_start":"exit:3"}"#).await.unwrap_err() {
        CreateError::StartFailed { exit } => {
            assert_eq!((exit.code, exit.signal), (Some(3), None));
            assert_eq!(
                (exit.reason.as_str(), exit.stderr.as_str()),
                ("exited with code 3", "told to exit with code 3")
            );
        }
        other => panic!("{other:?}"),
    }
    match setup.create("a", r#"{"on_start":"crash"}"#).await.unwrap_err() {
        CreateError::StartFailed { exit } => {
            assert_eq!(
                (exit.code, exit.signal, exit.reason.as_str()),
                (None, Some(6), "killed by signal 6 (SIGABRT)")
            );
        }
        other => panic!("{other:?}"),
    }
    match setup.create("a", r#"{"on_start":"never_ready","stderr_bytes":64}"#).await.unwrap_err() {
        CreateError::StartTimeout { after, stderr } => {
            assert_eq!(after, Duration::from_millis(300));
            assert!(stderr.ends_with("flooded 1 lines"), "{stderr}");
        }
        other => panic!("{other:?}"),
    }
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let setup = setup_with(|_, runner| runner.command = "/no/such/runner".into()).await;
    let error = setup.create("a", "{}").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "runner \"echo\" cannot execute /no/such/runner: No such file or directory (os error 2)"
    );
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn only_the_table_says_what_is_executed() {
    let setup = setup_with(|_, runner| runner.class_name = None).await;
    let named = |runner: Option<&str>| {
        let launch = guildhall::launch::Launch { runner: runner.map(str::to_owned), ..launch("a", "{}") };
        setup.supervisor.create(launch, "r".to_owned())
    };
    let error = named(Some("/bin/sh")).await.unwrap_err();
    assert_eq!(error.to_string(), "this host has no runner \"/bin/sh\"; it has [\"echo\"]");
    let error = named(None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no runner of this host takes the class \"examples.Echo\"; it has [\"echo\"]"
    );
    named(Some("echo")).await.unwrap();
    setup.supervisor.stop(&key("g", "a"), None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_request_id_is_needed_and_bounded() {
    let setup = setup().await;
    for (request, wanted) in [
        (String::new(), "request id: is empty"),
        ("x".repeat(10_000), "request id: has 10000 bytes; at most 256 are allowed"),
    ] {
        let error = setup.supervisor.create(launch("a", "{}"), request).await.unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn of_two_creates_one_wins_and_the_other_is_told_who_did() {
    let setup = setup().await;
    let slow = r#"{"ready_after_ms":100}"#;
    let (one, two) = tokio::join!(setup.create("a", slow), setup.create("a", slow));
    let (won, lost) = match (one, two) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        other => panic!("{other:?}"),
    };
    match lost {
        CreateError::AlreadyRunning { holder } => assert_eq!(holder.request_id, won.request_id),
        other => panic!("{other:?}"),
    }
    // Later, too, and with its epoch.
    match setup.create("a", "{}").await.unwrap_err() {
        CreateError::AlreadyRunning { holder } => assert_eq!(*holder, won),
        other => panic!("{other:?}"),
    }
    assert_eq!(setup.processes().len(), 1);
    setup.supervisor.stop(&won.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_retry_joins_the_start_and_gets_the_first_answer() {
    let setup = setup().await;
    let create = || setup.supervisor.create(launch("a", r#"{"ready_after_ms":100}"#), "same".to_owned());
    let (one, two) = tokio::join!(create(), create());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one, two);
    assert_eq!(create().await.unwrap(), one);
    assert_eq!(setup.processes().len(), 1);
    setup.supervisor.stop(&one.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn the_same_agent_id_runs_in_two_guilds() {
    let setup = setup().await;
    let create = |guild| setup.supervisor.create(launch_in(guild, "a", "{}"), "r".to_owned());
    let (one, two) = (create("g").await.unwrap(), create("g2").await.unwrap());
    assert_ne!(one.pid, two.pid);
    assert_eq!(setup.ping(&one).await.guild, "g");
    assert_eq!(setup.ping(&two).await.guild, "g2");
    assert_eq!(setup.supervisor.list(Some(&one.key.guild)), slice::from_ref(&one));
    for agent in [one, two] {
        setup.supervisor.stop(&agent.key, None).await.unwrap();
    }
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_create_that_nobody_waits_for_leaves_nothing_running() {
    let setup = setup().await;
    let request = || setup.supervisor.create(launch("a", r#"{"ready_after_ms":60000}"#), "r".to_owned());
    let key = key("g", "a");
    let mut create = Box::pin(request());
    let starting = tokio::select! {
        _ = &mut create => unreachable!("it is not ready for a minute"),
        agent = setup.until(&key, |agent| agent.pid.is_some()) => agent,
    };
    // A second caller waits too: the first may go.
    let mut joined = Box::pin(request());
    tokio::select! {
        biased;
        _ = &mut joined => unreachable!("it is not ready for a minute"),
        () = std::future::ready(()) => drop(create),
    }
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut joined).await.is_err());
    assert_eq!(setup.supervisor.get(&starting.key).unwrap(), starting);

    drop(joined);
    gone(starting.pid.unwrap()).await;
    // The same request again waits until the first is undone, and begins anew.
    let again = setup.supervisor.create(launch("a", "{}"), "r".to_owned()).await.unwrap();
    assert!(again.epoch > starting.epoch);
    setup.supervisor.stop(&again.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

/// The parent-death signal follows the thread that forked. The runtime's worker
/// threads come and go; agents do not go with them.
#[test]
fn agents_outlive_the_thread_that_asked_for_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_keep_alive(Duration::from_millis(1))
        .enable_all()
        .build()
        .unwrap();
    let setup = runtime.block_on(setup());
    let handle = runtime.handle().clone();
    let agent = std::thread::scope(|scope| {
        scope.spawn(|| handle.block_on(setup.create("a", "{}")).unwrap()).join().unwrap()
    });
    runtime.block_on(async {
        assert_eq!(setup.ping(&agent).await.epoch, agent.epoch.0);
        assert_eq!(setup.supervisor.get(&agent.key).unwrap().restarts, 0);
        setup.stop_all().await;
        setup.assert_nothing_left().await;
    });
}
