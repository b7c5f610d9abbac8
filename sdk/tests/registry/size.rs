//! What an agent costs in Redis: the figure that the key schema gives.

use guildhall::{
    agent::{AgentInfo, AgentState},
    registry::{RedisOptions, Registry},
};
use guildhall_testing::RedisServer;

use crate::{
    backends::connect,
    fixtures::{agent, claim, key, lease},
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
async fn an_agent_costs_about_half_a_kilobyte() {
    let server = RedisServer::start().unwrap();
    let options = RedisOptions::default();
    let registry = connect(&server, &options).await;
    let held = lease(&"0123456789abcdef".repeat(2));
    for number in 0..AGENTS {
        let agent = typical(number);
        let epoch = claim(&registry, &agent.key, "agent-host-7d9f8b6c5d-x2x4q", &held).await;
        registry.update(&AgentInfo { epoch, ..agent }).await.unwrap();
    }
    let mut redis = registry.connection().await.unwrap();
    let mut memory = async |key: &str| -> u64 {
        let question = ["USAGE", key, "SAMPLES", "0"];
        redis::cmd("MEMORY").arg(&question).query_async(&mut redis).await.unwrap()
    };
    let agents = memory("guildhall:{g:VSbJYKSkDSKAsCszeSzAEW}:agents").await;
    let epoch = memory("guildhall:{g:VSbJYKSkDSKAsCszeSzAEW}:epochs").await;
    // 576 and 136 bytes with Redis 7.0; another version may lay its hashes out otherwise.
    assert!((400..=640).contains(&(agents / AGENTS)), "an agent takes {} bytes", agents / AGENTS);
    assert!(epoch <= 192, "the epochs of a guild take {epoch} bytes");
}
