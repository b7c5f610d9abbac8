//! One live incarnation of (guild, agent), whoever asks for another.

use std::sync::Arc;

use guildhall::{
    agent::AgentState,
    discovery::StaticDiscovery,
    engine::{EngineError, ExecutionEngine, GrpcEngine},
    fault::FaultReason,
};

use crate::{
    backends::Pair,
    setup::{key, launch, launch_that, world},
};

both!(
    of_two_engines_one_wins_and_the_other_is_told_who,
    guilds_may_use_the_same_agent_id,
    an_identity_is_free_again_after_a_stop,
    an_agent_on_a_host_that_the_engine_does_not_know_is_not_forgotten,
);

async fn of_two_engines_one_wins_and_the_other_is_told_who(pair: Pair) {
    let world = world(pair, 3).await;
    let (one, two) = (world.engine().await, world.engine().await);
    for n in 0..6 {
        let agent = format!("contested-{n}");
        let (first, second) = tokio::join!(one.run_agent(launch(&agent)), two.run_agent(launch(&agent)));
        let (winner, loser) = match (first, second) {
            (Ok(winner), Err(loser)) | (Err(loser), Ok(winner)) => (winner, loser),
            both => panic!("exactly one should win: {both:?}"),
        };
        let EngineError::AlreadyRunning { key, holder } = loser else {
            panic!("the loser should be told who won: {loser}")
        };
        assert_eq!((key, holder.host, holder.epoch), (winner.key, winner.host, winner.epoch));
        assert_eq!(holder.request_id, winner.request_id);
    }
    assert_eq!(world.processes().len(), 6, "one process each");
    world.end().await;
}

async fn guilds_may_use_the_same_agent_id(pair: Pair) {
    let world = world(pair, 1).await;
    let engine = world.engine().await;
    for guild in ["one", "two"] {
        engine.run_agent(launch_that(guild, "initiator", "test.Echo", "{}")).await.unwrap();
    }
    assert_eq!(world.processes().len(), 2);
    engine.stop_agent(&key("one", "initiator")).await.unwrap();
    assert!(!engine.is_agent_running(&key("one", "initiator")).await.unwrap());
    assert!(engine.is_agent_running(&key("two", "initiator")).await.unwrap());
    world.end().await;
}

async fn an_identity_is_free_again_after_a_stop(pair: Pair) {
    let world = world(pair, 2).await;
    let engine = world.engine().await;
    let first = engine.run_agent(launch("again")).await.unwrap();
    let error = engine.run_agent(launch("again")).await.unwrap_err();
    assert!(matches!(error, EngineError::AlreadyRunning { .. }), "{error}");
    engine.stop_agent(&first.key).await.unwrap();
    let second = engine.run_agent(launch("again")).await.unwrap();
    assert!(second.epoch > first.epoch, "epochs go on growing");
    assert_eq!(second.state, AgentState::Running);
    assert_eq!(world.processes(), [second.pid.unwrap()]);
    world.end().await;
}

async fn an_agent_on_a_host_that_the_engine_does_not_know_is_not_forgotten(pair: Pair) {
    let world = world(pair, 2).await;
    let engine = world.engine().await;
    world.host("host-1").supervisor().cordon();
    let agent = engine.run_agent(launch("a")).await.unwrap();
    assert_eq!(agent.host.as_str(), "host-2");

    let known = StaticDiscovery::new([world.host("host-1").endpoint()]).unwrap();
    let short_sighted = GrpcEngine::builder().registry(world.registry.clone()).discovery(Arc::new(known));
    let short_sighted = short_sighted.build().await.unwrap();
    let error = short_sighted.stop_agent(&agent.key).await.unwrap_err();
    let EngineError::Host { host, fault } = error else { panic!("{error}") };
    assert_eq!((host, fault.reason), (agent.host.clone(), FaultReason::HostUnreachable));
    assert_eq!(short_sighted.get_agent(&agent.key).await.unwrap(), Some(agent.clone()));
    assert_eq!(world.processes(), [agent.pid.unwrap()]);
    world.end().await;
}
