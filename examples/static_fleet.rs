//! Runs a guild on hosts at known addresses, without a registry. Nothing keeps two
//! such hosts from running one identity, so this is for fleets of one engine.
//!
//! `cargo run --example static_fleet -- SPEC http://127.0.0.1:50051 http://127.0.0.1:50052`

use std::{env, sync::Arc, time::Duration};

use anyhow::Context;
use guildhall::{
    discovery::StaticDiscovery,
    engine::{ExecutionEngine, GrpcEngine},
    launch::LaunchOptions,
    placement::BuiltIn,
    spec::GuildSpec,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let guild = GuildSpec::from_path(args.next().context("usage: static_fleet SPEC HOST_URL…")?)?;
    let hosts: Vec<String> = args.collect();

    let engine = GrpcEngine::builder()
        .discovery(Arc::new(StaticDiscovery::new(&hosts)?))
        .policy(BuiltIn::LeastLoaded)
        .build()
        .await?;
    engine.wait_for_hosts(hosts.len(), Duration::from_secs(10)).await?;

    for outcome in engine.run_guild(&guild, &LaunchOptions::default()).await {
        let agent = outcome.result?;
        println!("{} runs on {}", agent.key, agent.host);
    }
    for agent in engine.get_agents_in_guild(guild.id()).await? {
        println!("{} is {}", agent.name, agent.state);
    }
    engine.stop_guild(guild.id()).await?;
    engine.shutdown().await;
    Ok(())
}
