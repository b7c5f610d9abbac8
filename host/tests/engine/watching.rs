//! What a watcher of a guild is told.

use std::time::Duration;

use futures::StreamExt;
use guildhall::{
    agent::{AgentEvent, AgentInfo, AgentState},
    engine::{ExecutionEngine, GrpcEngine},
    host::{HostInfo, LeaseId},
    ids::Epoch,
    placement::{PolicyIdentity, Sha256Digest},
    registry::{ClaimOutcome, Registration, Registry},
};

use crate::{
    backends::Pair,
    setup::{LIMIT, guild_id, host_id, key, launch, launch_that, next, until, world},
};

both!(
    an_agents_life_is_told_from_start_to_stop,
    a_lost_agent_is_told_of_and_told_of_again_when_it_is_back,
    a_watcher_who_comes_late_is_told_what_is_lost,
);

async fn an_agents_life_is_told_from_start_to_stop(pair: Pair) {
    let world = world(pair, 1).await;
    let engine = world.engine().await;
    let mut events = engine.watch(&guild_id("g"));
    assert_eq!(next(&mut events).await, AgentEvent::Snapshot(Vec::new()));
    engine.run_agent(launch_that("another", "a", "test.Echo", "{}")).await.unwrap();
    let agent = engine.run_agent(launch("a")).await.unwrap();
    engine.stop_agent(&agent.key).await.unwrap();

    let mut states = Vec::new();
    loop {
        match next(&mut events).await {
            AgentEvent::Changed(agent) => states.push((agent.key, agent.state)),
            AgentEvent::Removed { key, epoch } => {
                assert_eq!((key, epoch), (agent.key.clone(), agent.epoch));
                break;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    let lived = [AgentState::Starting, AgentState::Running, AgentState::Stopping];
    // The last may be written together with the end.
    assert!(states.len() >= 2, "{states:?}");
    for (told, lived) in states.into_iter().zip(lived) {
        assert_eq!(told, (agent.key.clone(), lived));
    }

    engine.shutdown().await;
    assert_eq!(events.next().await, None, "the events end with the engine");
    world.end().await;
}

/// Here the test itself is the host, so that it says when a lease ends.
async fn a_lost_agent_is_told_of_and_told_of_again_when_it_is_back([registry, other]: Pair) {
    let first = register(&*registry).await;
    let agent = claim(&*registry, &first).await;
    let engine = engine(other).await;
    let mut events = engine.watch(&agent.key.guild);
    assert_eq!(next(&mut events).await, AgentEvent::Snapshot(vec![agent.clone()]));

    registry.leave(&agent.host, &first).await.unwrap();
    let lost = AgentInfo { state: AgentState::Lost, ..agent.clone() };
    assert_eq!(next(&mut events).await, AgentEvent::Changed(lost.clone()));

    // A late word from the host changes nothing while it has no lease.
    registry.update(&AgentInfo { restarts: 1, ..agent.clone() }).await.unwrap();
    let restarted = AgentInfo { restarts: 1, ..lost };
    assert_eq!(next(&mut events).await, AgentEvent::Changed(restarted));

    let second = register(&*registry).await;
    registry.reassert(&agent.key, agent.epoch, &second).await.unwrap();
    let back = AgentInfo { restarts: 1, ..agent };
    assert_eq!(next(&mut events).await, AgentEvent::Changed(back));
    engine.shutdown().await;
}

async fn a_watcher_who_comes_late_is_told_what_is_lost([registry, other]: Pair) {
    let lease = register(&*registry).await;
    let agent = claim(&*registry, &lease).await;
    registry.leave(&agent.host, &lease).await.unwrap();
    // The same host, come back without its agents.
    register(&*registry).await;
    let engine = engine(other).await;
    let lost = until(&mut engine.watch(&agent.key.guild), |_| true).await;
    assert_eq!(lost, AgentInfo { state: AgentState::Lost, ..agent });
    engine.shutdown().await;
}

async fn engine(registry: std::sync::Arc<dyn Registry>) -> GrpcEngine {
    let engine = GrpcEngine::builder().registry(registry).build().await.unwrap();
    engine.wait_for_hosts(1, LIMIT).await.unwrap();
    engine
}

/// Enters the host `h` under a fresh lease.
async fn register(registry: &dyn Registry) -> LeaseId {
    let host = HostInfo {
        id: host_id("h"),
        endpoint: "http://127.0.0.1:1".to_owned(),
        labels: Default::default(),
        capacity: 1,
        allocatable: None,
        draining: false,
        load: Default::default(),
        policy: PolicyIdentity { name: String::new(), sha256: Sha256Digest::of(b"") },
        terms: Default::default(),
    };
    let lease = LeaseId::fresh();
    let registered = registry.register(&host, &lease, Duration::from_secs(600)).await.unwrap();
    assert_eq!(registered, Registration::Registered);
    lease
}

/// Claims an agent for the host `h`, and says that it is running.
async fn claim(registry: &dyn Registry, lease: &LeaseId) -> AgentInfo {
    let agent = AgentInfo {
        key: key("g", "a"),
        name: "An agent".to_owned(),
        class_name: "test.Echo".to_owned(),
        host: host_id("h"),
        pid: Some(1),
        state: AgentState::Running,
        epoch: Epoch(0),
        created_at_ms: 0,
        start_ms: None,
        restarts: 0,
        last_exit: None,
        request_id: "r".to_owned(),
        placed_by: None,
        failed_on: Vec::new(),
    };
    let ClaimOutcome::Claimed(epoch) = registry.claim(&agent, lease, None).await.unwrap() else {
        panic!("the identity should be free")
    };
    AgentInfo { epoch, ..agent }
}
