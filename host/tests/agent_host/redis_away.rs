//! Redis gone: at the start, and while agents run.

use std::time::{Duration, Instant};

use guildhall::{
    agent::{AgentInfo, AgentState},
    engine::{EngineError, ExecutionEngine},
};
use guildhall_proto::v1::{self, agent_host_service_client::AgentHostServiceClient};
use guildhall_testing::{Program, RedisServer, Signal};
use tonic_types::StatusExt;

use crate::setup::{all_in, endpoint, engine, guild, key, launch, pids, registry, run, until_agents, world};

/// A port on which nobody listens.
const NOBODY: &str = "redis://:hunter2@127.0.0.1:1";

#[test]
fn a_host_without_its_registry_gives_up_after_a_while() {
    let world = world();
    let begun = Instant::now();
    let mut host = Program::start(world.command().env("REDIS_URL", NOBODY).env("REGISTRY_PATIENCE", "600ms"));
    assert_eq!(host.wait().code(), Some(3));
    let log = host.log();
    assert!(begun.elapsed() >= Duration::from_millis(600), "it tries for as long as it was told: {log}");
    assert!(log.contains("the registry cannot be reached yet"), "{log}");
    assert!(log.contains("the host did not start"), "{log}");
    assert!(log.contains("127.0.0.1:1"), "it says which registry: {log}");
    assert!(!log.contains("hunter2"), "and not the password: {log}");
}

#[test]
fn a_host_that_waits_for_its_registry_ends_when_told() {
    let world = world();
    let mut host = Program::start(world.command().env("REDIS_URL", NOBODY));
    host.wait_for_log("the registry cannot be reached yet");
    host.signal(Signal::TERM);
    assert_eq!(host.wait().code(), Some(0));
}

#[tokio::test]
async fn a_host_waits_for_a_registry_that_comes() {
    let mut redis = RedisServer::start().unwrap();
    redis.stop();
    let world = world();
    let host = Program::start(world.command().env("REDIS_URL", redis.url()));
    host.wait_for_log("the registry cannot be reached yet");
    redis.restart().unwrap();
    host.wait_for_log("host is ready");
}

#[tokio::test]
async fn agents_go_on_while_redis_is_away_and_all_is_well_when_it_is_back() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    away_and_back(RedisServer::start_with(&durable).unwrap(), Data::Kept).await;
}

#[tokio::test]
async fn agents_go_on_when_redis_comes_back_without_its_data() {
    away_and_back(RedisServer::start().unwrap(), Data::Lost).await;
}

enum Data {
    Kept,
    Lost,
}

async fn away_and_back(mut redis: RedisServer, data: Data) {
    let world = world();
    let (first, second) = (world.host("h1", &redis), world.host("h2", &redis));
    let registry = registry(&redis).await;
    let engine = engine(&registry, 2).await;
    let before = run(&engine, 4).await;

    redis.stop();
    // Calls fail, and say why.
    for error in [
        engine.get_agents_in_guild(&guild()).await.map(drop),
        engine.is_agent_running(&key("a0")).await.map(drop),
        engine.run_agent(launch("b")).await.map(drop),
        engine.stop_agent(&key("a0")).await.map(drop),
    ] {
        let error = error.unwrap_err();
        assert!(matches!(error, EngineError::Registry(_)), "{error}");
        assert!(error.to_string().contains("did not answer"), "{error}");
    }
    let status = create_directly(&endpoint(&first)).await.unwrap_err();
    let reason = status.get_details_error_info().map(|info| info.reason);
    assert_eq!((status.code(), reason.as_deref()), (tonic::Code::Unavailable, Some("REGISTRY_UNAVAILABLE")));
    // Several in the length of a lease: with so many in vain it is long over, and the hosts
    // go on because each has promised the other not to take its agents.
    for host in [&first, &second] {
        host.wait_for_logs("the lease was not renewed", 25);
    }
    assert_eq!(sorted(world.processes()), pids(&before));

    redis.restart().unwrap();
    if matches!(data, Data::Lost) {
        for host in [&first, &second] {
            host.wait_for_log("claims are asserted again");
        }
    }
    let after =
        until_agents(&engine, |agents| agents.len() == before.len() && all_in(AgentState::Running)(agents))
            .await;
    assert_eq!(pids(&after), pids(&before), "the same processes, under the same hosts");
    match data {
        Data::Kept => assert_eq!(after, before, "and under the same epochs"),
        Data::Lost => {
            let grew = |(after, before): (&AgentInfo, &AgentInfo)| after.epoch > before.epoch;
            assert!(after.iter().zip(&before).all(grew), "{after:?} after {before:?}");
        }
    }
    engine.wait_for_hosts(2, crate::setup::LIMIT).await.unwrap();
    let new = loop {
        match engine.run_agent(launch("b")).await {
            // This engine has seen that the hosts' leases are over, and not yet that they are
            // in force again.
            Err(EngineError::NoHost { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            result => break result.unwrap(),
        }
    };
    assert!(after.iter().all(|agent| agent.epoch < new.epoch));
    engine.stop_guild(&guild()).await.unwrap().into_iter().for_each(|outcome| drop(outcome.result.unwrap()));
    assert_eq!(world.processes(), Vec::<u32>::new());
    assert_eq!(engine.get_agents_in_guild(&guild()).await.unwrap(), []);
}

async fn create_directly(endpoint: &str) -> Result<(), tonic::Status> {
    let mut client = AgentHostServiceClient::connect(endpoint.to_owned()).await.unwrap();
    let launch = guildhall::wire::launch_to_wire(&launch("direct"));
    let request = v1::CreateAgentRequest { launch: Some(launch), request_id: "r".to_owned() };
    client.create_agent(request).await.map(drop)
}

fn sorted(mut pids: Vec<u32>) -> Vec<u32> {
    pids.sort_unstable();
    pids
}
