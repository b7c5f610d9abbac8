//! A host whose clock is an hour off. Leases are measured by the registry alone, and
//! nothing compares what two clocks say.

use std::{process::Command, time::Duration};

use futures::StreamExt;
use guildhall::{agent::AgentState, engine::ExecutionEngine, host::HostEvent};
use guildhall_testing::{RedisServer, Signal};

use crate::setup::{LIMIT, engine, guild, ready, registry, run, until_agents, world};

#[tokio::test]
async fn hosts_an_hour_off_to_either_side_work_like_any_other() {
    let redis = RedisServer::start().unwrap();
    let world = world();
    let library = faketime();
    let off = |id: &str, by: &str| {
        let mut command = world.command();
        // A clock that is off tells another time, and no other durations.
        command.env("LD_PRELOAD", &library).env("FAKETIME", by).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.env("HOSTNAME", id).env("REDIS_URL", redis.url()).env("HEARTBEAT_INTERVAL", "500ms");
        ready(&mut command)
    };
    let (mut early, _late) = (off("early", "-1h"), off("late", "+1h"));
    let registry = registry(&redis).await;
    let engine = engine(&registry, 2).await;
    let agents = run(&engine, 4).await;
    let created = |host: &str| {
        let agent = agents.iter().find(|agent| agent.host.as_str() == host).unwrap();
        Duration::from_millis(agent.created_at_ms)
    };
    let apart = created("late").saturating_sub(created("early"));
    assert!(apart > Duration::from_secs(2 * 3600 - 120), "their clocks are {apart:?} apart");

    // Both keep their leases: six reports, two a second, are longer than a lease.
    let mut reports = std::collections::BTreeMap::new();
    let mut events = registry.watch_hosts();
    while reports.len() < 2 || reports.values().any(|reports| *reports < 6) {
        match tokio::time::timeout(LIMIT, events.next()).await.expect("hosts report").unwrap() {
            HostEvent::Changed(host) => *reports.entry(host.info.id).or_insert(0) += 1,
            HostEvent::Removed(host) => panic!("{host} lost its lease"),
            _ => {}
        }
    }
    let still = engine.get_agents_in_guild(&guild()).await.unwrap();
    assert_eq!(still, agents, "nothing has happened to any agent");

    early.signal(Signal::KILL);
    early.wait();
    let on_early = |agent: &guildhall::agent::AgentInfo| agent.host.as_str() == "early";
    let after = until_agents(&engine, |agents| {
        agents.iter().all(|agent| !on_early(agent) && agent.state == AgentState::Running)
    })
    .await;
    for (now, before) in after.iter().zip(&agents).filter(|(_, before)| on_early(before)) {
        assert_eq!(now.host.as_str(), "late");
        assert!(now.epoch > before.epoch);
    }
}

/// The library that fakes the clock. The program of that name knows where it is, but
/// stays in between, where signals to the host would not get past it.
fn faketime() -> String {
    let asked = Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output();
    let library =
        asked.expect("faketime is not installed; this test needs it: apt-get install faketime").stdout;
    String::from_utf8(library).unwrap().trim().to_owned()
}
