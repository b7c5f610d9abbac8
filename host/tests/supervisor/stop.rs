//! Stopping agents: in peace, by force, with their children, at any moment.

use std::time::{Duration, Instant};

use echo_runner::Order;
use guildhall::{agent::AgentState, registry::Registry};
use guildhall_host::supervisor::{CreateError, StopError};

use crate::setup::{exists, gone, key, launch, setup, setup_with};

#[tokio::test]
async fn sigterm_ignored_is_followed_by_sigkill() {
    let setup = setup().await;
    let agent = setup.create("a", r#"{"ignore_sigterm":true}"#).await.unwrap();
    let grace = Duration::from_millis(200);
    let begun = Instant::now();
    let stopped = setup.supervisor.stop(&agent.key, Some(grace)).await.unwrap();
    assert!(begun.elapsed() >= grace);
    let exit = stopped.last_exit.unwrap();
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    assert_eq!(exit.reason, "stopped, by force after its grace: killed by signal 9 (SIGKILL)");
    assert!(!exists(agent.pid.unwrap()), "it is reaped before stop answers");
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn children_end_with_their_agent() {
    let setup = setup().await;
    let agent = setup.create("a", r#"{"fork_children":3}"#).await.unwrap();
    let children = setup.ping(&agent).await.children;
    assert_eq!(children.len(), 3);
    // They ignore SIGTERM and hold the agent's standard output and error.
    setup.supervisor.stop(&agent.key, None).await.unwrap();
    for child in children {
        gone(child).await;
    }
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn children_end_when_their_agent_dies_by_itself() {
    let setup = setup().await;
    let agent = setup.create("a", r#"{"fork_children":2}"#).await.unwrap();
    let children = setup.ping(&agent).await.children;
    setup.order(&agent, Order::Crash).await;
    let again =
        setup.until(&agent.key, |again| again.restarts == 1 && again.state == AgentState::Running).await;
    for child in children {
        gone(child).await;
    }
    setup.supervisor.stop(&again.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn several_stops_of_one_agent_all_succeed() {
    let setup = setup().await;
    let agent = setup.create("a", "{}").await.unwrap();
    let stop = || setup.supervisor.stop(&agent.key, None);
    let (one, two, three) = tokio::join!(stop(), stop(), stop());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert!(matches!(stop().await, Err(StopError::NotFound { key }) if key == agent.key));
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_later_stop_can_shorten_the_grace() {
    let setup = setup().await;
    let agent = setup.create("a", r#"{"ignore_sigterm":true}"#).await.unwrap();
    let patient = setup.supervisor.stop(&agent.key, Some(Duration::from_secs(600)));
    let hasty = setup.supervisor.stop(&agent.key, Some(Duration::ZERO));
    let (patient, hasty) = tokio::join!(patient, hasty);
    assert_eq!(patient.unwrap(), hasty.unwrap());
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_stop_during_the_start_ends_both() {
    let setup = setup().await;
    let create = setup.supervisor.create(launch("a", r#"{"on_start":"never_ready"}"#), "r".to_owned());
    let key = key("g", "a");
    let stop = async {
        setup.until(&key, |agent| agent.pid.is_some()).await;
        setup.supervisor.stop(&key, None).await
    };
    let (created, stopped) = tokio::join!(create, stop);
    assert!(matches!(created, Err(CreateError::Stopped)), "{created:?}");
    assert_eq!(stopped.unwrap().key, key);
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_stop_between_two_restarts_works_at_once() {
    let setup = setup_with(|config, _| config.restart.first_delay = Duration::from_secs(600)).await;
    let agent = setup.create("a", r#"{"on_start":"crash_after_ready"}"#).await.unwrap();
    let waiting = setup.until_state(&agent.key, AgentState::Restarting).await;
    assert_eq!(waiting.pid, None);
    setup.supervisor.stop(&agent.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn the_grace_of_the_runner_counts() {
    let setup = setup_with(|_, runner| runner.stop_grace = Some(Duration::ZERO)).await;
    let agent = setup.create("a", r#"{"ignore_sigterm":true}"#).await.unwrap();
    let stopped = setup.supervisor.stop(&agent.key, None).await.unwrap();
    assert_eq!(stopped.last_exit.unwrap().signal, Some(9));
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn agents_are_handed_over_in_time_also_those_that_will_not_end() {
    let setup = setup().await;
    for agent in ["a", "b", "c"] {
        setup.create(agent, "{}").await.unwrap();
    }
    setup.create("stubborn", r#"{"ignore_sigterm":true}"#).await.unwrap();
    setup.supervisor.cordon();
    assert!(matches!(setup.create("d", "{}").await, Err(CreateError::Draining)));
    let keys = setup.supervisor.live_keys();
    assert_eq!(keys.len(), 4);
    for key in keys {
        let handed = setup.supervisor.hand_over(&key, Duration::from_millis(500)).await.unwrap();
        let record = setup.record(&key).await.unwrap();
        assert_eq!(handed.record, record);
        assert_eq!((record.state, record.pid), (AgentState::Waiting, None));
        let reason = record.last_exit.unwrap().reason;
        assert!(reason.starts_with("handed over to another host"), "{reason}");
        assert!(matches!(
            setup.supervisor.hand_over(&key, Duration::ZERO).await,
            Err(StopError::NotFound { .. })
        ));
    }
    assert_eq!(setup.registry.orphans().await.unwrap().len(), 4);
    assert_eq!(setup.supervisor.list(None), []);
}

#[tokio::test]
async fn a_shutdown_ends_everything_and_answers_everybody() {
    let setup = setup().await;
    let running = setup.create("a", r#"{"ignore_sigterm":true}"#).await.unwrap();
    let starting = setup.create("b", r#"{"on_start":"never_ready"}"#);
    let shutdown = async {
        setup.until(&key("g", "b"), |agent| agent.pid.is_some()).await;
        setup.supervisor.shutdown().await;
    };
    let (starting, ()) = tokio::join!(starting, shutdown);
    assert!(matches!(starting, Err(CreateError::ShuttingDown)), "{starting:?}");
    assert!(!exists(running.pid.unwrap()));
    let record = setup.record(&running.key).await.unwrap();
    assert_eq!((record.state, record.pid), (AgentState::Waiting, None));
    assert_eq!(record.last_exit.unwrap().reason, "the host ends: killed by signal 9 (SIGKILL)");
    assert!(matches!(setup.create("c", "{}").await, Err(CreateError::ShuttingDown)));
    setup.registry.release(&running.key, running.epoch).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn an_abort_leaves_the_claims_as_a_crash_would() {
    let setup = setup().await;
    let agent = setup.create("a", "{}").await.unwrap();
    setup.supervisor.abort().await;
    assert!(!exists(agent.pid.unwrap()));
    assert_eq!(setup.record(&agent.key).await, Some(agent));
}

#[tokio::test]
async fn a_supervisor_that_is_dropped_takes_its_agents_along() {
    let setup = setup().await;
    let agent = setup.create("a", "{}").await.unwrap();
    drop(setup.supervisor);
    gone(agent.pid.unwrap()).await;
}

#[test]
fn a_runtime_that_is_dropped_takes_its_agents_along() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_setup, agent) = runtime.block_on(async {
        let setup = setup().await;
        let agent = setup.create("a", r#"{"ignore_sigterm":true}"#).await.unwrap();
        (setup, agent)
    });
    drop(runtime);
    assert!(!exists(agent.pid.unwrap()));
}
