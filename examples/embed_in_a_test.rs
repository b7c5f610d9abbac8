//! An app's own test, on a fleet inside the test: real processes, no Redis, nothing
//! to deploy, and nothing left afterwards.

use std::time::Duration;

use guildhall::{engine::ExecutionEngine, launch::LaunchOptions, spec::GuildSpec};
use guildhall_host::{
    Fleet,
    runner::{Runner, RunnerTable},
};

const GUILD: &str = "
id: newsroom
name: Newsroom
description: Finds stories and writes them up.
agents:
  - { id: reporter, name: Reporter, description: Finds stories., class_name: newsroom.Reporter }
  - { id: editor, name: Editor, description: Writes them up., class_name: newsroom.Editor }
";

#[tokio::test]
async fn the_newsroom_runs_on_two_hosts() -> anyhow::Result<()> {
    let runner = Runner::new("echo", echo_runner::binary()?);
    let fleet = Fleet::builder(RunnerTable::from_iter([runner])).hosts(2).start().await?;
    let engine = fleet.engine().build().await?;
    engine.wait_for_hosts(2, Duration::from_secs(10)).await?;

    let guild = GuildSpec::from_yaml(GUILD)?;
    let mut hosts = Vec::new();
    for outcome in engine.run_guild(&guild, &LaunchOptions::default()).await {
        hosts.push(outcome.result?.host);
    }
    hosts.sort();
    assert_eq!(hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>(), ["host-1", "host-2"]);

    let reporter = &engine.find_agents_by_name(guild.id(), "Reporter").await?[0];
    assert!(engine.is_agent_running(&reporter.key).await?);

    engine.stop_guild(guild.id()).await?;
    assert!(!engine.is_agent_running(&reporter.key).await?);
    engine.shutdown().await;
    assert!(fleet.stop().await);
    Ok(())
}
