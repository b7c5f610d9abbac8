//! The main job: running, finding and stopping a guild.

use guildhall::{agent::AgentState, engine::ExecutionEngine, launch::LaunchOptions};

use crate::{
    backends::Pair,
    setup::{agents, guild, guild_id, key, launch, spread, world},
};

both!(
    a_guild_is_spread_evenly_found_and_stopped,
    two_engines_take_turns,
    agents_outlive_the_engine,
    what_is_not_there_is_said_so,
);

async fn a_guild_is_spread_evenly_found_and_stopped(pair: Pair) {
    let world = world(pair, 3).await;
    let engine = world.engine().await;
    let guild = guild("g", 6);

    let started = agents(engine.run_guild(&guild, &LaunchOptions::default()).await);
    let ids: Vec<_> = started.iter().map(|agent| agent.key.agent.as_str()).collect();
    assert_eq!(ids, ["a1", "a2", "a3", "a4", "a5", "a6"], "outcomes are in the order of the spec");
    let even = |host: &str| (host.to_owned(), 2);
    assert_eq!(spread(&started), [even("host-1"), even("host-2"), even("host-3")]);
    let mut pids: Vec<_> = started.iter().map(|agent| agent.pid.unwrap()).collect();
    let mut processes = world.processes();
    pids.sort_unstable();
    processes.sort_unstable();
    assert_eq!(pids, processes, "each agent is one process");

    assert_eq!(engine.get_agents_in_guild(guild.id()).await.unwrap(), started);
    for agent in &started {
        assert_eq!(agent.state, AgentState::Running);
        assert_eq!(engine.get_agent(&agent.key).await.unwrap().as_ref(), Some(agent));
        assert!(engine.is_agent_running(&agent.key).await.unwrap());
    }
    let even = engine.find_agents_by_name(guild.id(), "Even").await.unwrap();
    assert_eq!(even, [&started[1], &started[3], &started[5]].map(Clone::clone));
    assert_eq!(engine.find_agents_by_name(guild.id(), "even").await.unwrap(), []);

    let stopped = agents(engine.stop_guild(guild.id()).await.unwrap());
    assert_eq!(stopped.len(), 6);
    assert_eq!(world.processes(), Vec::<u32>::new(), "a stop answers when the process is gone");
    assert_eq!(engine.get_agents_in_guild(guild.id()).await.unwrap(), []);
    for agent in &started {
        assert!(!engine.is_agent_running(&agent.key).await.unwrap());
    }
    engine.shutdown().await;
    world.end().await;
}

async fn two_engines_take_turns(pair: Pair) {
    let world = world(pair, 3).await;
    let (one, two) = (world.engine().await, world.engine().await);
    let mut started = Vec::new();
    for n in 0..3 {
        started.push(one.run_agent(launch(&format!("one-{n}"))).await.unwrap());
        started.push(two.run_agent(launch(&format!("two-{n}"))).await.unwrap());
    }
    let even = |host: &str| (host.to_owned(), 2);
    assert_eq!(spread(&started), [even("host-1"), even("host-2"), even("host-3")]);
    world.end().await;
}

async fn agents_outlive_the_engine(pair: Pair) {
    let world = world(pair, 2).await;
    let first = world.engine().await;
    let started = agents(first.run_guild(&guild("g", 2), &LaunchOptions::default()).await);
    first.shutdown().await;
    drop(first);

    let second = world.engine().await;
    assert_eq!(second.get_agents_in_guild(&guild_id("g")).await.unwrap(), started);
    assert_eq!(agents(second.stop_guild(&guild_id("g")).await.unwrap()).len(), 2);
    assert_eq!(world.processes(), Vec::<u32>::new());
    world.end().await;
}

async fn what_is_not_there_is_said_so(pair: Pair) {
    let world = world(pair, 1).await;
    let engine = world.engine().await;
    let nobody = key("g", "nobody");
    assert_eq!(engine.get_agent(&nobody).await.unwrap(), None);
    assert!(!engine.is_agent_running(&nobody).await.unwrap());
    assert_eq!(engine.get_agents_in_guild(&guild_id("g")).await.unwrap(), []);
    assert!(engine.stop_guild(&guild_id("g")).await.unwrap().is_empty());
    let error = engine.stop_agent(&nobody).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no agent g/nobody");
    world.end().await;
}
