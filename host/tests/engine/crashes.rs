//! Hosts that go without a word, at the worst moments.

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use guildhall::{
    agent::{AgentInfo, AgentState},
    discovery::{Discovery, RegistryDiscovery},
    engine::{EngineError, ExecutionEngine},
    host::{HostEvent, LeaseId, LiveHost},
};

use crate::{
    backends::Pair,
    setup::{a_process, forgotten, host_id, key, launch, launch_that, mortal_world, until, world},
    wire::Wire,
};

both!(
    an_unreachable_host_is_passed_over,
    a_host_killed_half_way_leaves_its_agent_to_another,
    an_agent_whose_start_was_not_heard_of_is_found,
    a_lost_agent_runs_again_elsewhere,
    a_lost_agent_is_forgotten_when_it_is_stopped,
    a_stop_follows_an_agent_that_another_host_took_over_meanwhile,
);

async fn an_unreachable_host_is_passed_over(pair: Pair) {
    let mut world = mortal_world(pair, 2).await;
    let engine = world.engine().await;
    world.crash("host-1").await;
    for n in 0..2 {
        let agent = engine.run_agent(launch(&format!("a{n}"))).await.unwrap();
        assert_eq!(agent.host.as_str(), "host-2");
    }
    world.end().await;
}

async fn a_host_killed_half_way_leaves_its_agent_to_another(pair: Pair) {
    let mut world = mortal_world(pair, 2).await;
    let engine = world.engine().await;
    let slow = launch_that("g", "slow", "test.Echo", r#"{"ready_after_ms": 700}"#);
    let run = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run_agent(slow).await }
    });
    a_process(&world).await;
    let first = engine.get_agent(&key("g", "slow")).await.unwrap().unwrap();
    assert_eq!(first.state, AgentState::Starting);
    world.crash(first.host.as_str()).await;

    let agent = run.await.unwrap().unwrap();
    assert_ne!(agent.host, first.host);
    assert!(agent.epoch > first.epoch);
    assert_eq!(world.processes(), [agent.pid.unwrap()], "exactly one process");
    assert_eq!(engine.get_agent(&agent.key).await.unwrap().unwrap(), agent);
    world.end().await;
}

async fn an_agent_whose_start_was_not_heard_of_is_found(pair: Pair) {
    let world = world(pair, 1).await;
    let wire = Wire::to(&world.host("host-1").endpoint()).await;
    let discovery =
        Behind { discovery: RegistryDiscovery::new(world.registry.clone()), endpoint: wire.endpoint() };
    let engine = world.engine_with(|engine| engine.discovery(Arc::new(discovery))).await;
    let mut events = engine.watch(&key("g", "a").guild);

    let slow = launch_that("g", "a", "test.Echo", r#"{"ready_after_ms": 300}"#);
    let run = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run_agent(slow).await }
    });
    a_process(&world).await;
    wire.drop_answers();
    let running = until(&mut events, |agent| agent.state == AgentState::Running).await;
    wire.cut();
    assert_eq!(run.await.unwrap().unwrap(), running);
    assert_eq!(world.processes(), [running.pid.unwrap()]);
    world.end().await;
}

async fn a_lost_agent_runs_again_elsewhere(pair: Pair) {
    let mut world = mortal_world(pair, 2).await;
    let engine = world.engine().await;
    let first = engine.run_agent(launch("a")).await.unwrap();
    let mut events = engine.watch(&first.key.guild);
    world.crash(first.host.as_str()).await;
    until(&mut events, |agent| agent.state == AgentState::Lost).await;
    assert_eq!(engine.get_agent(&first.key).await.unwrap().unwrap().state, AgentState::Lost);
    assert!(!engine.is_agent_running(&first.key).await.unwrap());

    // By itself.
    let second = until(&mut events, |agent| agent.state == AgentState::Running).await;
    assert_ne!(second.host, first.host);
    assert!(second.epoch > first.epoch);
    assert_eq!((second.request_id.as_str(), second.restarts), (first.request_id.as_str(), 1));
    assert_eq!(world.processes(), [second.pid.unwrap()]);
    world.end().await;
}

async fn a_lost_agent_is_forgotten_when_it_is_stopped(pair: Pair) {
    let mut world = mortal_world(pair, 1).await;
    let engine = world.engine().await;
    let agent = engine.run_agent(launch("a")).await.unwrap();
    let mut events = engine.watch(&agent.key.guild);
    world.crash("host-1").await;
    until(&mut events, |agent| agent.state == AgentState::Lost).await;
    // Its host may still run it, under the promises of its peers, until its lease is buried.
    let refused = engine.stop_agent(&agent.key).await.unwrap_err();
    assert!(matches!(refused, EngineError::Host { .. }), "{refused}");
    let held = world.registry.agent(&agent.key).await.unwrap().unwrap().lease;
    world.registry.leave(&host_id("host-1"), &held).await.unwrap();
    assert_eq!(engine.stop_agent(&agent.key).await.unwrap().state, AgentState::Lost);
    forgotten(&engine, &agent.key).await;
    world.end().await;
}

async fn a_stop_follows_an_agent_that_another_host_took_over_meanwhile(pair: Pair) {
    let world = world(pair, 2).await;
    let wire = Wire::to(&world.host("host-1").endpoint()).await;
    let discovery =
        Behind { discovery: RegistryDiscovery::new(world.registry.clone()), endpoint: wire.endpoint() };
    let engine = world.engine_with(|engine| engine.discovery(Arc::new(discovery))).await;
    let agent = engine.run_agent(launch("a")).await.unwrap();
    engine.stop_agent(&agent.key).await.unwrap();
    // Recorded on a host that does not have it, under a lease that is not in force.
    let stale = AgentInfo { host: host_id("host-1"), ..agent };
    world.registry.claim(&stale, &LeaseId::fresh(), None).await.unwrap();

    wire.hold_answers();
    let stop = tokio::spawn({
        let (engine, key) = (engine.clone(), stale.key.clone());
        async move { engine.stop_agent(&key).await }
    });
    wire.answer_held().await;
    let other = world.host("host-2").supervisor();
    let running = other.create(launch("a"), "another engine's".to_owned()).await.unwrap();
    wire.let_go();
    let stopped = stop.await.unwrap().unwrap();
    assert_eq!((stopped.host, stopped.epoch), (running.host, running.epoch));
    assert_eq!(world.processes(), Vec::<u32>::new());
    forgotten(&engine, &stale.key).await;
    world.end().await;
}

/// The registry's hosts, of which one is reached by another way.
#[derive(Debug)]
struct Behind {
    discovery: RegistryDiscovery,
    endpoint: String,
}

impl Discovery for Behind {
    fn watch(&self) -> BoxStream<'static, HostEvent> {
        let endpoint = self.endpoint.clone();
        let rerouted = move |mut host: LiveHost| {
            if host.info.id == host_id("host-1") {
                host.info.endpoint.clone_from(&endpoint);
            }
            host
        };
        let events = self.discovery.watch().map(move |event| match event {
            HostEvent::Snapshot(hosts) => HostEvent::Snapshot(hosts.into_iter().map(&rerouted).collect()),
            HostEvent::Changed(host) => HostEvent::Changed(rerouted(host)),
            other => other,
        });
        events.boxed()
    }
}
