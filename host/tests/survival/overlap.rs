//! Agents whose runner lets a successor start before they end.

use std::time::Duration;

use futures::StreamExt;
use guildhall::{agent::AgentInfo, engine::ExecutionEngine, launch::Launch};
use guildhall_proto::v1;
use guildhall_testing::Signal;

use crate::setup::{World, all_run, client, guild, key, launch_of, on, pids, until, until_agents, world};

/// How long the agents of these tests take to become ready.
const READY_AFTER: Duration = Duration::from_millis(500);

fn overlapping(agent: &str) -> Launch {
    launch_of("overlap.Echo", agent, r#"{"ready_after_ms":500}"#)
}

/// Asserts that the agent was there all the time: its second process was ready before the
/// first one ended.
fn assert_no_gap(world: &World, agent: &str) {
    let lives = &world.lives()[agent];
    let [first, second] = &lives[..] else { panic!("two processes ran: {lives:#?}") };
    assert!(first.epoch < second.epoch, "{lives:#?}");
    let both = Duration::from_nanos(first.last.saturating_sub(second.first));
    assert!(both > READY_AFTER / 2, "both ran for {both:?}: {lives:#?}");
}

async fn assert_processes(world: &World, agents: &[AgentInfo]) {
    until("each agent has one process", async || world.processes() == pids(agents)).await;
}

#[tokio::test]
async fn a_move_starts_the_successor_first() {
    let world = world();
    let [first, _second] = world.hosts();
    let engine = world.engine(2).await;
    engine.run_agent(overlapping("a")).await.unwrap();
    engine.run_agent(overlapping("b")).await.unwrap();
    let before = on(&engine.get_agents_in_guild(&guild()).await.unwrap(), "h1").remove(0);

    let request = v1::MoveAgentRequest {
        guild_id: before.key.guild.to_string(),
        agent_id: before.key.agent.to_string(),
        to_host_id: "h2".to_owned(),
        request_id: "move".to_owned(),
    };
    let moved = client(&first).await.move_agent(request).await.unwrap().into_inner().agent.unwrap();
    let moved = guildhall::wire::agent_from_wire(moved).unwrap();
    assert_eq!((moved.host.as_str(), &moved.key), ("h2", &before.key));
    assert!(moved.epoch > before.epoch);
    // It is running by then, and the old process has ended.
    let now = engine.get_agents_in_guild(&guild()).await.unwrap();
    assert!(all_run(&now), "{now:#?}");
    assert_no_gap(&world, before.key.agent.as_str());
    assert_processes(&world, &now).await;
    // Who stops it stops the successor.
    engine.stop_agent(&before.key).await.unwrap();
    let left = until_agents(&engine, |agents| agents.len() == 1).await;
    assert_processes(&world, &left).await;
}

#[tokio::test]
async fn a_drain_leaves_no_gap() {
    let world = world();
    let [mut first, _second] = world.hosts();
    let engine = world.engine(2).await;
    for n in 0..6 {
        engine.run_agent(overlapping(&format!("a{n}"))).await.unwrap();
    }
    let before = on(&engine.get_agents_in_guild(&guild()).await.unwrap(), "h1");
    assert_eq!(before.len(), 3);
    first.signal(Signal::TERM);
    first.wait();
    let now = engine.get_agents_in_guild(&guild()).await.unwrap();
    assert_eq!(on(&now, "h2").len(), 6, "{now:#?}");
    assert!(all_run(&now), "{now:#?}");
    for agent in &before {
        assert_no_gap(&world, agent.key.agent.as_str());
    }
    assert_processes(&world, &now).await;
}

#[tokio::test]
async fn an_agent_without_a_successor_ends_all_the_same_and_waits() {
    let world = world();
    let [first] = world.hosts();
    let engine = world.engine(1).await;
    let before = engine.run_agent(overlapping("a")).await.unwrap();
    let mut host = client(&first).await;
    // Nothing is touched for the sake of a host that is not there.
    let nowhere = v1::MoveAgentRequest {
        guild_id: "g".to_owned(),
        agent_id: "a".to_owned(),
        to_host_id: "h2".to_owned(),
        request_id: "move".to_owned(),
    };
    let refused = host.move_agent(nowhere).await.unwrap_err();
    assert!(refused.message().contains("no such host"), "{refused}");
    assert_eq!(engine.get_agent(&key("a")).await.unwrap().unwrap().pid, before.pid);

    let request = v1::DrainRequest { within_ms: 30_000, request_id: "drain".to_owned() };
    let told: Vec<_> = host.drain(request).await.unwrap().into_inner().map(Result::unwrap).collect().await;
    let last = v1::DrainResponse { total: 1, moved: 0, waiting: 1, done: true };
    assert_eq!(told.last(), Some(&last), "{told:?}");
    let _second = world.host("h2");
    let now = until_agents(&engine, |agents| agents.len() == 1 && all_run(agents)).await;
    crate::lives::assert_one_at_a_time(&world.lives());
    assert_processes(&world, &now).await;
}
