//! Figures that the docs quote. They say nothing about right or wrong, so they run only
//! when asked: `cargo test --release -p guildhall --test registry figures -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use guildhall::{
    agent::{AgentInfo, AgentState},
    ids::Epoch,
    registry::{RedisOptions, Registry},
};
use guildhall_testing::RedisServer;

use crate::{
    backends::{connect, fresh_options},
    fixtures::{LONG, agent, claim, host, host_id, key, lease, register},
};

const AGENTS: u64 = 1_000;

/// As a host writes it once the agent runs; ids are as long as Rustic AI's.
fn typical(number: u64) -> AgentInfo {
    let key = key("VSbJYKSkDSKAsCszeSzAEW", &format!("mGpRq3hT7yXbZw5kLc{number:04}"));
    AgentInfo {
        name: "Code Review Agent".to_owned(),
        state: AgentState::Running,
        pid: Some(40_000),
        start_ms: Some(312),
        ..agent(&key, "agent-host-7d9f8b6c5d-x2x4q")
    }
}

#[tokio::test]
#[ignore = "measures"]
async fn memory_of_an_agent() {
    let server = RedisServer::start().unwrap();
    let options = RedisOptions::default();
    let registry = connect(&server, &options).await;
    let held = lease(&"0123456789abcdef".repeat(2));
    for number in 0..AGENTS {
        let agent = typical(number);
        let epoch = claim(&registry, &agent.key, "agent-host-7d9f8b6c5d-x2x4q", &held).await;
        registry.update(&AgentInfo { epoch, ..agent }).await.unwrap();
    }
    let json = serde_json::to_string(&AgentInfo { epoch: Epoch(AGENTS), ..typical(1) }).unwrap();
    let mut redis = registry.connection();
    let mut memory = async |key: &str| -> u64 {
        let question = ["USAGE", key, "SAMPLES", "0"];
        redis::cmd("MEMORY").arg(&question).query_async(&mut redis).await.unwrap()
    };
    let agents = memory("guildhall:{g:VSbJYKSkDSKAsCszeSzAEW}:agents").await;
    let epoch = memory("guildhall:{g:VSbJYKSkDSKAsCszeSzAEW}:epoch").await;
    println!("an agent of {} bytes of JSON takes {} bytes", json.len(), agents / AGENTS);
    println!("the epoch of a guild takes {epoch} bytes");
}

#[tokio::test]
#[ignore = "measures"]
async fn a_lookup_against_a_bare_get() {
    let server = RedisServer::start().unwrap();
    let registry = connect(&server, &fresh_options()).await;
    let key = key("g", "a");
    claim(&registry, &key, "h", &lease("l")).await;
    let mut redis = registry.connection();
    redis::cmd("SET").arg("bare").arg("x".repeat(400)).exec_async(&mut redis).await.unwrap();
    let (mut gets, mut lookups) = (Vec::new(), Vec::new());
    // In turns, so that both have the same neighbours.
    for _ in 0..20_000 {
        let begun = Instant::now();
        let _: String = redis::cmd("GET").arg("bare").query_async(&mut redis).await.unwrap();
        gets.push(begun.elapsed());
        let begun = Instant::now();
        registry.agent(&key).await.unwrap().unwrap();
        lookups.push(begun.elapsed());
    }
    for (percent, name) in [(50, "p50"), (99, "p99")] {
        let [get, lookup] = [&mut gets, &mut lookups].map(|times| {
            times.sort();
            times[times.len() * percent / 100]
        });
        let ratio = lookup.as_secs_f64() / get.as_secs_f64();
        println!("{name}: GET {get:?}, agent() {lookup:?}, {ratio:.2} times");
    }
}

#[tokio::test]
#[ignore = "measures"]
async fn a_renewal_with_many_agents() {
    let server = RedisServer::start().unwrap();
    let registry = connect(&server, &fresh_options()).await;
    register(&registry, "h", &lease("l")).await;
    let mut claimed = 0;
    for agents in [1, 100, 10_000] {
        while claimed < agents {
            claim(&registry, &key("g", &claimed.to_string()), "h", &lease("l")).await;
            claimed += 1;
        }
        for report in [None, Some(host("h"))] {
            let mut times: Vec<Duration> = Vec::new();
            for _ in 0..3_000 {
                let begun = Instant::now();
                registry.renew(&host_id("h"), &lease("l"), LONG, report.as_ref()).await.unwrap();
                times.push(begun.elapsed());
            }
            times.sort();
            let with = if report.is_some() { "with a report" } else { "alone" };
            println!("{agents} agents: a renewal {with} takes {:?} (p50)", times[times.len() / 2]);
        }
    }
}
