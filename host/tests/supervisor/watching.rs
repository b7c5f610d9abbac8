//! Watching a supervisor.

use std::sync::atomic::Ordering;

use echo_runner::Order;
use futures::StreamExt;
use guildhall::agent::{AgentEvent, AgentState};
use guildhall_host::runner::RestartPolicy;

use crate::{
    failing::failing_with,
    setup::{LIMIT, setup},
};

#[tokio::test]
async fn a_watcher_sees_what_is_and_then_every_change() {
    let setup = setup().await;
    let before = setup.create("before", "{}").await.unwrap();
    let mut events = setup.supervisor.watch();
    let mut next = async || tokio::time::timeout(LIMIT, events.next()).await.unwrap();
    assert_eq!(next().await, Some(AgentEvent::Snapshot(vec![before.clone()])));

    let agent = setup.create("a", "{}").await.unwrap();
    let stopped = setup.supervisor.stop(&agent.key, None).await.unwrap();
    let mut states = Vec::new();
    loop {
        match next().await.unwrap() {
            AgentEvent::Changed(changed) => {
                assert_eq!(changed.key, agent.key);
                states.push(changed.state);
            }
            AgentEvent::Removed { key, epoch } => {
                assert_eq!((key, epoch), (stopped.key, stopped.epoch));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    states.dedup();
    assert_eq!(states, [AgentState::Starting, AgentState::Running, AgentState::Stopping]);

    setup.supervisor.stop(&before.key, None).await.unwrap();
    setup.supervisor.shutdown().await;
    while next().await.is_some() {}
}

#[tokio::test]
async fn a_slow_watcher_gets_a_new_snapshot() {
    let setup = setup().await;
    let agent = setup.create("a", "{}").await.unwrap();
    let mut events = setup.supervisor.watch();
    assert!(matches!(events.next().await, Some(AgentEvent::Snapshot(_))));
    for _ in 0..400 {
        let _ = setup.create("b", r#"{"on_start":"exit:0"}"#).await;
    }
    assert_eq!(events.next().await, Some(AgentEvent::Snapshot(vec![agent.clone()])));
    setup.supervisor.stop(&agent.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_create_that_is_refused_is_not_seen() {
    let setup = setup().await;
    let agent = setup.create("a", "{}").await.unwrap();
    let mut events = setup.supervisor.watch();
    assert!(matches!(events.next().await, Some(AgentEvent::Snapshot(_))));
    assert!(setup.create("a", "{}").await.is_err());
    setup.supervisor.stop(&agent.key, None).await.unwrap();
    assert!(
        matches!(events.next().await, Some(AgentEvent::Changed(agent)) if agent.state == AgentState::Stopping)
    );
    setup.assert_nothing_left().await;
}

/// An ended agent makes room for a new one of its identity, also when that does not come.
#[tokio::test]
async fn an_ended_agent_that_is_launched_again_is_seen_to_go() {
    let (setup, registry) = failing_with(|_, runner| runner.restart = RestartPolicy::Never).await;
    let agent = setup.create("a", "{}").await.unwrap();
    setup.order(&agent, Order::Exit(0)).await;
    setup.until_state(&agent.key, AgentState::Finished).await;
    let mut events = setup.supervisor.watch();
    assert!(matches!(events.next().await, Some(AgentEvent::Snapshot(agents)) if agents.len() == 1));
    registry.away.store(true, Ordering::Relaxed);
    assert!(setup.create("a", "{}").await.is_err());
    let gone = AgentEvent::Removed { key: agent.key.clone(), epoch: agent.epoch };
    assert_eq!(tokio::time::timeout(LIMIT, events.next()).await.unwrap(), Some(gone));
    assert_eq!(setup.supervisor.get(&agent.key), None);
    registry.away.store(false, Ordering::Relaxed);
    setup.supervisor.shutdown().await;
}
