//! Prints what happens to the agents of a guild, until it is interrupted.
//!
//! `cargo run --example watch_events -- redis://127.0.0.1:6379 p2p_guild`

use std::{env, sync::Arc};

use anyhow::Context;
use futures::StreamExt;
use guildhall::{
    agent::AgentEvent,
    engine::{ExecutionEngine, GrpcEngine},
    ids::GuildId,
    registry::{RedisOptions, RedisRegistry},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let redis = args.next().context("usage: watch_events REDIS_URL GUILD")?;
    let guild = GuildId::new(args.next().context("usage: watch_events REDIS_URL GUILD")?)?;

    let registry = RedisRegistry::connect(&redis, RedisOptions::default()).await?;
    let engine = GrpcEngine::builder().registry(Arc::new(registry)).build().await?;

    let mut events = engine.watch(&guild);
    while let Some(event) = events.next().await {
        match event {
            AgentEvent::Snapshot(agents) => {
                println!("{} agents", agents.len());
                for agent in agents {
                    println!("  {} is {} on {}", agent.key, agent.state, agent.host);
                }
            }
            AgentEvent::Changed(agent) => {
                println!("{} is {} (epoch {})", agent.key, agent.state, agent.epoch)
            }
            AgentEvent::Removed { key, .. } => println!("{key} was stopped"),
            _ => {}
        }
    }
    Ok(())
}
