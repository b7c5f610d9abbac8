//! The main job from end to end, on three hosts inside this process: read a guild,
//! place its agents, ping them, kill one and see it restarted, place them again by
//! another policy, stop everything and prove that no process is left.

mod fleet;
mod process_group;
mod report;

use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use futures::StreamExt;
use guildhall::{
    agent::{AgentEvent, AgentInfo, AgentState},
    engine::{ExecutionEngine, GrpcEngine},
    ids::AgentKey,
    launch::LaunchOptions,
    placement::{BuiltIn, PolicyChoice},
    spec::GuildSpec,
};

use crate::{
    fleet::DemoFleet,
    report::{Report, Restarted, table},
};

/// How long the killed agent may take to be back: its restart waits 1 s.
const BACK_WITHIN: Duration = Duration::from_secs(20);

/// Runs a guild on an embedded fleet and shows what happens.
#[derive(Parser)]
struct Args {
    /// The guild, YAML or JSON as Rustic AI writes it.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/todo_guild.json"))]
    spec: PathBuf,
    /// `round-robin`, `least-loaded`, or the path of a policy component.
    #[arg(long, default_value = "round-robin")]
    policy: String,
    /// How many hosts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    hosts: u16,
    /// Prints one JSON object to standard output, and all else to standard error.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    process_group::lead();
    let filter = tracing_subscriber::EnvFilter::try_from_env("LOG").unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&args) {
        Ok(report) => {
            if args.json {
                println!("{}", serde_json::json!(report));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("demo: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: &Args) -> Result<Report> {
    let mut say = Say { to_stderr: args.json };
    let guild = GuildSpec::from_path(&args.spec)?;
    say.line(format!("guild      {} ({}), {} agents", guild.name(), guild.id(), guild.agents().len()));

    let begun = Instant::now();
    let fleet = DemoFleet::start(args.hosts, guild.agents().len()).await?;
    say.line(format!("fleet      {} hosts in {}", args.hosts, short(begun.elapsed())));

    let outcome = tour(args, &guild, &fleet, &mut say).await;
    let peaceful = fleet.stop().await;
    let mut report = outcome?;
    report.left_over_processes = peaceful?;
    ensure!(report.left_over_processes == 0, "{} processes are left", report.left_over_processes);
    say.line("stopped    everything; no process is left".to_owned());
    Ok(report)
}

/// What happens while the fleet runs.
async fn tour(args: &Args, guild: &GuildSpec, fleet: &DemoFleet, say: &mut Say) -> Result<Report> {
    let policy = PolicyChoice::parse(&args.policy);
    let engine = fleet.engine(policy.clone()).await?;
    let agents = place(&engine, guild, fleet, say).await?;
    let victim = agents.first().context("the guild has no agents")?.key.clone();
    let restarted = kill_and_await(&engine, &victim, fleet, say).await?;

    let agents = engine.get_agents_in_guild(guild.id()).await?;
    let report = Report::new(guild, &engine.policy(), &engine.hosts(), &agents, restarted);
    stop(&engine, guild).await?;
    engine.shutdown().await;

    let second = match policy {
        PolicyChoice::BuiltIn(BuiltIn::LeastLoaded) => BuiltIn::RoundRobin,
        _ => BuiltIn::LeastLoaded,
    };
    let engine = fleet.engine(second).await?;
    place(&engine, guild, fleet, say).await?;
    stop(&engine, guild).await?;
    engine.shutdown().await;
    Ok(report)
}

/// Runs all agents of the guild, shows them, and has each answer a ping.
async fn place(
    engine: &GrpcEngine,
    guild: &GuildSpec,
    fleet: &DemoFleet,
    say: &mut Say,
) -> Result<Vec<AgentInfo>> {
    let begun = Instant::now();
    for outcome in engine.run_guild(guild, &LaunchOptions::default()).await {
        outcome.result.with_context(|| format!("agent {} was not started", outcome.key))?;
    }
    let took = begun.elapsed();
    let agents = engine.get_agents_in_guild(guild.id()).await?;
    ensure!(agents.len() == guild.agents().len(), "{} agents run", agents.len());
    say.line(format!("policy     {}, all agents ready in {}", engine.policy(), short(took)));
    say.line(table(&agents));
    for agent in &agents {
        fleet.ping(agent).await?;
    }
    say.line(format!(
        "ping       {} of {} agents answered, each as who it should be",
        agents.len(),
        agents.len()
    ));
    Ok(agents)
}

/// Kills an agent's process and waits until the next incarnation answers.
async fn kill_and_await(
    engine: &GrpcEngine,
    victim: &AgentKey,
    fleet: &DemoFleet,
    say: &mut Say,
) -> Result<Restarted> {
    let before = engine.get_agent(victim).await?.context("the agent is gone")?;
    let pid = before.pid.context("the agent has no process")?;
    let mut events = engine.watch(&victim.guild);
    let begun = Instant::now();
    process_group::kill(pid)?;
    let back = async {
        while let Some(event) = events.next().await {
            let changed = match event {
                AgentEvent::Changed(agent) => vec![agent],
                AgentEvent::Snapshot(agents) => agents,
                _ => continue,
            };
            let new = |agent: &AgentInfo| {
                agent.key == *victim && agent.epoch > before.epoch && agent.state == AgentState::Running
            };
            if let Some(agent) = changed.into_iter().find(new) {
                return Ok(agent);
            }
        }
        bail!("the watch ended")
    };
    let after = tokio::time::timeout(BACK_WITHIN, back)
        .await
        .with_context(|| format!("{victim} is not back after {}", short(BACK_WITHIN)))??;
    let took = begun.elapsed();
    fleet.ping(&after).await?;
    say.line(format!(
        "killed     {} (pid {pid}) with SIGKILL: back after {} as pid {} under epoch {}, and it answers",
        victim.agent,
        short(took),
        after.pid.unwrap_or_default(),
        after.epoch
    ));
    Ok(Restarted::new(&before, &after, took))
}

async fn stop(engine: &GrpcEngine, guild: &GuildSpec) -> Result<()> {
    for outcome in engine.stop_guild(guild.id()).await? {
        outcome.result.with_context(|| format!("agent {} was not stopped", outcome.key))?;
    }
    ensure!(engine.get_agents_in_guild(guild.id()).await?.is_empty(), "agents are left in the registry");
    Ok(())
}

/// Tells people what happens.
struct Say {
    to_stderr: bool,
}

impl Say {
    fn line(&mut self, text: String) {
        // Nobody may be listening any more; the demo goes on.
        let _ = match self.to_stderr {
            true => writeln!(std::io::stderr(), "{text}"),
            false => writeln!(std::io::stdout(), "{text}"),
        };
    }
}

/// An error and its causes in one line, without what a message already says of the next.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        told if told.contains(&cause) => told.to_owned(),
        told => format!("{told}: {cause}"),
    })
}

fn short(duration: Duration) -> String {
    humantime::format_duration(Duration::from_millis(duration.as_millis() as u64)).to_string()
}
