//! What operators ask of a host: drain, cordon, move, stop, and the same once more.

use futures::StreamExt;
use guildhall::{agent::AgentInfo, engine::ExecutionEngine};
use guildhall_proto::v1;

use crate::setup::{
    all_run, assert_only_moved_from, client, launch, on, run, until_agents, until_elsewhere, world,
};

#[tokio::test]
async fn a_drain_moves_all_agents_and_tells_how_far_it_is() {
    let world = world();
    let [first, _second, _third] = world.hosts();
    let engine = world.engine(3).await;
    let before = run(&engine, 15).await;
    let mut host = client(&first).await;

    let request = v1::DrainRequest { within_ms: 30_000, request_id: "drain".to_owned() };
    let told: Vec<_> = host.drain(request).await.unwrap().into_inner().map(Result::unwrap).collect().await;
    let last = v1::DrainResponse { total: 5, moved: 5, waiting: 0, done: true };
    assert_eq!(told.last(), Some(&last), "{told:?}");
    let moved: Vec<_> = told.iter().map(|step| step.moved).collect();
    assert_eq!(moved, [1, 2, 3, 4, 5, 5]);
    assert!(told[..5].iter().all(|step| !step.done && step.total == 5), "{told:?}");

    let after = until_elsewhere(&engine, 15, "h1").await;
    assert_only_moved_from("h1", &before, &after);
    world.assert_each_runs_once(&after).await;
    // It is still there, and takes nothing until it is told to.
    let health = host.health(v1::HealthRequest {}).await.unwrap().into_inner();
    assert!(health.draining && health.lease_in_force, "{health:?}");
    let more = run_more(&engine, "b", 6).await;
    assert_eq!(on(&more, "h1"), []);
}

#[tokio::test]
async fn a_host_that_is_cordoned_keeps_its_agents_and_takes_none_until_it_is_uncordoned() {
    let world = world();
    let [first, _second] = world.hosts();
    let engine = world.engine(2).await;
    let before = run(&engine, 4).await;
    let mut host = client(&first).await;

    // Once more is as once.
    for request_id in ["one", "one", "two"] {
        host.cordon(v1::CordonRequest { request_id: request_id.to_owned() }).await.unwrap();
    }
    let more = run_more(&engine, "b", 4).await;
    assert_eq!(on(&more, "h2").len(), 4);
    let now = until_agents(&engine, |agents| agents.len() == 8 && all_run(agents)).await;
    assert_eq!(on(&now, "h1"), on(&before, "h1"));

    for request_id in ["three", "three"] {
        host.uncordon(v1::UncordonRequest { request_id: request_id.to_owned() }).await.unwrap();
    }
    // Asked directly it takes one at once, whatever engines have heard of it.
    let launch = guildhall::wire::launch_to_wire(&launch("c"));
    let request = v1::CreateAgentRequest { launch: Some(launch), request_id: "create".to_owned() };
    let created = host.create_agent(request).await.unwrap().into_inner().agent.unwrap();
    assert_eq!(created.host_id, "h1");
}

#[tokio::test]
async fn a_move_or_a_stop_that_is_asked_for_again_is_answered_as_it_was() {
    let world = world();
    let [first, second, _third] = world.hosts();
    let engine = world.engine(3).await;
    let before = run(&engine, 6).await;
    let agent = on(&before, "h1").remove(0);
    let mut host = client(&first).await;

    let to_third = |request_id: &str| v1::MoveAgentRequest {
        guild_id: agent.key.guild.to_string(),
        agent_id: agent.key.agent.to_string(),
        to_host_id: "h3".to_owned(),
        request_id: request_id.to_owned(),
    };
    let moved = host.move_agent(to_third("move")).await.unwrap().into_inner();
    let info: AgentInfo = guildhall::wire::agent_from_wire(moved.agent.clone().unwrap()).unwrap();
    assert_eq!((info.host.as_str(), info.key.clone()), ("h3", agent.key.clone()));
    assert!(info.epoch > agent.epoch);
    assert_eq!(host.move_agent(to_third("move")).await.unwrap().into_inner(), moved);
    // Under another id it is another call, and the agent is not here any more.
    let refused = host.move_agent(to_third("again")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound, "{refused}");
    let after = until_agents(&engine, |agents| agents.len() == 6 && all_run(agents)).await;
    assert_eq!(after.iter().find(|now| now.key == agent.key).unwrap().epoch, info.epoch, "it moved once");
    world.assert_each_runs_once(&after).await;

    let mut host = client(&second).await;
    let agent = on(&after, "h2").remove(0);
    let stop = |request_id: &str| v1::StopAgentRequest {
        guild_id: agent.key.guild.to_string(),
        agent_id: agent.key.agent.to_string(),
        grace_ms: None,
        request_id: request_id.to_owned(),
    };
    let stopped = host.stop_agent(stop("stop")).await.unwrap().into_inner();
    assert_eq!(host.stop_agent(stop("stop")).await.unwrap().into_inner(), stopped);
    assert_eq!(host.stop_agent(stop("again")).await.unwrap_err().code(), tonic::Code::NotFound);
    // An answer that is given again stops nothing that came since.
    engine.run_agent(launch(agent.key.agent.as_str())).await.unwrap();
    assert_eq!(host.stop_agent(stop("stop")).await.unwrap().into_inner(), stopped);
    let now = until_agents(&engine, |agents| agents.len() == 6 && all_run(agents)).await;
    world.assert_each_runs_once(&now).await;
}

async fn run_more(engine: &guildhall::engine::GrpcEngine, prefix: &str, agents: usize) -> Vec<AgentInfo> {
    let mut running = Vec::new();
    for n in 0..agents {
        running.push(engine.run_agent(launch(&format!("{prefix}{n}"))).await.unwrap());
    }
    running
}
