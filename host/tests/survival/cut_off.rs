//! A host that is cut off from Redis, alone.

use guildhall::engine::ExecutionEngine;
use guildhall_testing::Program;

use crate::{
    proxy::Proxy,
    setup::{
        World, all_run, assert_only_moved_from, guild, launch, on, pids, ready, run, until, until_agents,
        until_elsewhere, world,
    },
};

/// Three hosts, of which the last reaches Redis by a wire that can be cut.
async fn hosts(world: &World, consistency: &str) -> (Proxy, [Program; 3]) {
    let wire = Proxy::to(world.redis.port()).await;
    let host = |id: &str| {
        let mut command = world.command(id);
        command.env("CONSISTENCY", consistency);
        if id == "h3" {
            command.env("REDIS_URL", wire.url());
        }
        ready(&mut command)
    };
    let hosts = ["h1", "h2", "h3"].map(host);
    (wire, hosts)
}

// The wire is carried while the test waits for a log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_cut_off_alone_stops_its_agents_and_works_again_afterwards() {
    let world = world();
    let (wire, hosts) = hosts(&world, "strict").await;
    let engine = world.engine(3).await;
    let before = run(&engine, 9).await;

    wire.cut();
    // Its peers can reach Redis, so they promise nothing.
    let stopped = pids(&on(&before, "h3"));
    until("it stops its agents", async || {
        let left = world.processes();
        stopped.iter().all(|pid| !left.contains(pid))
    })
    .await;
    let after = until_elsewhere(&engine, 9, "h3").await;
    assert_only_moved_from("h3", &before, &after);
    world.assert_each_runs_once(&after).await;

    wire.mend();
    until("the host is back", async || engine.hosts().len() == 3).await;
    let mut more = Vec::new();
    for n in 0..9 {
        more.push(engine.run_agent(launch(&format!("b{n}"))).await.unwrap());
    }
    assert!(!on(&more, "h3").is_empty(), "it takes agents again: {more:#?}");
    let now = until_agents(&engine, |agents| agents.len() == 18 && all_run(agents)).await;
    world.assert_each_runs_once(&now).await;
    drop(hosts);
}

// The wire is carried while the test waits for a log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_available_mode_a_host_that_is_cut_off_goes_on_beside_those_that_take_over() {
    let world = world();
    let (wire, hosts) = hosts(&world, "available").await;
    let engine = world.engine(3).await;
    let before = run(&engine, 9).await;

    wire.cut();
    let after = until_elsewhere(&engine, 9, "h3").await;
    assert_only_moved_from("h3", &before, &after);
    let mut twice = [pids(&on(&before, "h3")), pids(&after)].concat();
    twice.sort_unstable();
    assert_eq!(world.processes(), twice, "the agents of the host that is cut off go on");

    wire.mend();
    // It learns that they are another's, under higher epochs.
    until("each agent runs once again", async || {
        let Ok(now) = engine.get_agents_in_guild(&guild()).await else { return false };
        now.len() == 9 && all_run(&now) && world.processes() == pids(&now)
    })
    .await;
    assert_only_moved_from("", &after, &engine.get_agents_in_guild(&guild()).await.unwrap());
    drop(hosts);
}
