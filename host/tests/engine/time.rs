//! Calls that take too long, and engines that end before their calls.

use std::time::Duration;

use guildhall::engine::{EngineError, ExecutionEngine, Timeouts};

use crate::{
    backends::Pair,
    setup::{a_process, forgotten, guild_id, key, launch, launch_that, until, world, world_with},
};

both!(
    calls_under_way_end_with_the_engine,
    a_start_that_takes_too_long_is_undone,
    a_stop_that_takes_too_long_goes_on,
);

async fn calls_under_way_end_with_the_engine(pair: Pair) {
    let world = world(pair, 1).await;
    let (engine, other) = (world.engine().await, world.engine().await);
    let mut events = engine.watch(&guild_id("g"));
    let never = launch_that("g", "never", "test.Echo", r#"{"on_start": "never_ready"}"#);
    let run = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run_agent(never).await }
    });
    a_process(&world).await;
    engine.shutdown().await;
    assert!(matches!(run.await.unwrap(), Err(EngineError::ShutDown)));
    assert!(matches!(engine.run_agent(launch("late")).await, Err(EngineError::ShutDown)));
    assert!(matches!(engine.get_agent(&key("g", "never")).await, Err(EngineError::ShutDown)));
    while futures::StreamExt::next(&mut events).await.is_some() {}

    // Nobody waits for the agent any more, so its host undoes the start.
    forgotten(&other, &key("g", "never")).await;
    world.end().await;
}

async fn a_start_that_takes_too_long_is_undone(pair: Pair) {
    let world = world(pair, 1).await;
    let create = Duration::from_secs(1);
    let engine =
        world.engine_with(|engine| engine.timeouts(Timeouts { create, ..Timeouts::default() })).await;
    let never = launch_that("g", "never", "test.Echo", r#"{"on_start": "never_ready"}"#);
    let error = engine.run_agent(never).await.unwrap_err();
    assert_eq!(error.to_string(), "starting an agent took longer than 1s");
    forgotten(&engine, &key("g", "never")).await;
    assert_eq!(world.processes(), Vec::<u32>::new());
    world.end().await;
}

async fn a_stop_that_takes_too_long_goes_on(pair: Pair) {
    let grace = |fleet: guildhall_host::FleetBuilder| {
        fleet.hosts(1).configure(|host| host.supervisor.stop_grace = Duration::from_millis(800))
    };
    let world = world_with(pair, grace).await;
    let stop = Duration::from_millis(100);
    let engine = world.engine_with(|engine| engine.timeouts(Timeouts { stop, ..Timeouts::default() })).await;
    let mut events = engine.watch(&guild_id("g"));
    let stubborn = launch_that("g", "stubborn", "test.Echo", r#"{"ignore_sigterm": true}"#);
    engine.run_agent(stubborn).await.unwrap();
    let error = engine.stop_agent(&key("g", "stubborn")).await.unwrap_err();
    assert_eq!(error.to_string(), "stopping an agent took longer than 100ms");
    until(&mut events, |agent| agent.state == guildhall::agent::AgentState::Stopping).await;
    forgotten(&engine, &key("g", "stubborn")).await;
    assert_eq!(world.processes(), Vec::<u32>::new());
    world.end().await;
}
