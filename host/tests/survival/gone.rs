//! Hosts that are gone: killed, stopped in their tracks, all at once.
//!
//! It is mostly the last host that goes. The first one was alone when it registered, and
//! until its second renewal after another came it has a council of nobody else: its lease
//! cannot be buried by votes. See `docs/consistency.md`.

use guildhall_testing::{Program, Signal, exists};

use crate::setup::{
    all_run, assert_only_moved_from, client, launch, on, pids, run, until, until_agents, until_elsewhere,
    world,
};
use guildhall::engine::ExecutionEngine;

#[tokio::test]
async fn the_agents_of_a_host_that_is_killed_run_elsewhere_once_and_under_higher_epochs() {
    let world = world();
    let [_first, _second, mut last] = world.hosts();
    let engine = world.engine(3).await;
    let before = run(&engine, 9).await;
    assert_eq!(on(&before, "h3").len(), 3, "the three take turns");

    last.signal(Signal::KILL);
    last.wait();
    let after = until_elsewhere(&engine, 9, "h3").await;
    assert_only_moved_from("h3", &before, &after);
    world.assert_each_runs_once(&after).await;
}

#[tokio::test]
async fn a_host_that_is_stopped_for_longer_than_its_lease_has_no_agents_when_others_start_them() {
    let world = world();
    let [_first, _second, last] = world.hosts();
    let engine = world.engine(3).await;
    let before = run(&engine, 9).await;

    last.signal(Signal::STOP);
    // Its fence ends them, though the host itself cannot.
    let after = until_elsewhere(&engine, 9, "h3").await;
    assert_only_moved_from("h3", &before, &after);
    let left: Vec<_> = pids(&on(&before, "h3")).into_iter().filter(|pid| lives(*pid)).collect();
    assert_eq!(left, Vec::<u32>::new(), "the agents of the stopped host are dead");

    last.signal(Signal::CONT);
    // It has another lease by and by, and takes agents again.
    until("the host is back", async || engine.hosts().len() == 3).await;
    let mut host = client(&last).await;
    until("its lease is in force", async || {
        host.health(request()).await.unwrap().into_inner().lease_in_force
    })
    .await;
    until_takes(&engine, "h3").await;
    let now = until_agents(&engine, all_run).await;
    assert_only_moved_from("", &after, &without_probes(now.clone()));
    world.assert_each_runs_once(&now).await;
}

#[tokio::test]
async fn agents_are_back_at_once_when_all_hosts_are_killed_and_start_again() {
    let world = world();
    let hosts: [Program; 3] = world.hosts();
    let engine = world.engine(3).await;
    let before = run(&engine, 9).await;

    for host in &hosts {
        host.signal(Signal::KILL);
    }
    drop(hosts);
    // Nobody is left who could vote. But each knows of itself that it has ended, and need
    // not wait for the ten minutes after which a silent host is buried without votes.
    let again: [Program; 3] = world.hosts();
    for host in &again {
        assert!(host.log().contains("the process before has ended; its agents are free"), "{}", host.log());
    }
    let after = until_agents(&engine, |agents| agents.len() == 9 && all_run(agents) && grew(&before, agents));
    let after = after.await;
    world.assert_each_runs_once(&after).await;
}

fn grew(before: &[guildhall::agent::AgentInfo], after: &[guildhall::agent::AgentInfo]) -> bool {
    after.iter().zip(before).all(|(after, before)| after.epoch > before.epoch)
}

fn request() -> guildhall_proto::v1::HealthRequest {
    guildhall_proto::v1::HealthRequest {}
}

/// Whether the process runs; one that nobody has waited for does not.
fn lives(pid: u32) -> bool {
    exists(pid) && !guildhall_testing::environment(pid).is_empty()
}

/// Starts agents until one is on that host, and stops the others.
async fn until_takes(engine: &guildhall::engine::GrpcEngine, host: &str) {
    let mut n = 0;
    until("the host takes an agent", async || {
        n += 1;
        let agent = engine.run_agent(launch(&format!("probe{n}"))).await.unwrap();
        agent.host.as_str() == host
    })
    .await;
}

fn without_probes(mut agents: Vec<guildhall::agent::AgentInfo>) -> Vec<guildhall::agent::AgentInfo> {
    agents.retain(|agent| !agent.key.agent.as_str().starts_with("probe"));
    agents
}
