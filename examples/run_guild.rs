//! Runs a guild from its YAML on the hosts that a Redis knows of.
//!
//! `cargo run --example run_guild -- redis://127.0.0.1:6379 examples/specs/001_point_to_point.yaml`

use std::{env, sync::Arc, time::Duration};

use anyhow::Context;
use guildhall::{
    engine::{ExecutionEngine, GrpcEngine},
    launch::LaunchOptions,
    registry::{RedisOptions, RedisRegistry},
    spec::GuildSpec,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let redis = args.next().context("usage: run_guild REDIS_URL SPEC")?;
    let guild = GuildSpec::from_path(args.next().context("usage: run_guild REDIS_URL SPEC")?)?;

    let registry = RedisRegistry::connect(&redis, RedisOptions::default()).await?;
    let engine = GrpcEngine::builder().registry(Arc::new(registry)).build().await?;
    engine.wait_for_hosts(1, Duration::from_secs(30)).await?;

    for outcome in engine.run_guild(&guild, &LaunchOptions::default()).await {
        match outcome.result {
            Ok(agent) => println!("{} runs on {} in epoch {}", agent.key, agent.host, agent.epoch),
            Err(error) => println!("{} does not run: {error}", outcome.key),
        }
    }

    // Agents go on without this program, unless it stops them.
    if args.next().as_deref() == Some("--stop") {
        for outcome in engine.stop_guild(guild.id()).await? {
            println!("{} stopped: {}", outcome.key, outcome.result.is_ok());
        }
    }
    engine.shutdown().await;
    Ok(())
}
