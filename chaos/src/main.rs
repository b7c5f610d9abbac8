//! Tries to break Guildhall with real processes, real Redis and a network of its own, and
//! proves from what the agents themselves wrote down that nothing ran twice or was lost.
//!
//! `make chaos` runs it; `docs/reliability.md` says how to read what it finds. Begin at
//! [`scenario`], which is one run; [`nemesis`] says what happens in it and [`checker`]
//! judges it. Outside of its [`sandbox`] this program only adds up what the runs found.

mod checker;
mod faults;
mod fleet;
mod history;
mod names;
mod nemesis;
mod network;
mod planted;
mod program;
mod redis;
mod report;
mod sandbox;
mod scenario;
mod stale;
mod wire;
mod workload;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::{
    planted::Bug,
    redis::Setup,
    report::Report,
    scenario::{Outcome, Scenario},
};

/// Injects faults into a fleet of real processes, checks what came of them, and writes
/// `chaos.json` into the target folder.
///
/// Exit codes: 0 when all held that must, 1 when something did not, 2 when the suite
/// itself could not do its work.
#[derive(Parser)]
#[command(name = "chaos")]
struct Args {
    /// What chance is made of: the same seed gives the same schedule.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Faults, all setups of Redis together.
    #[arg(long, default_value_t = 120)]
    faults: usize,

    /// How Redis is set up.
    #[arg(long, value_enum, default_value_t = Registries::All)]
    registry: Registries,

    /// Hosts.
    #[arg(long, default_value_t = 5)]
    hosts: usize,

    /// How long a lease is.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    lease: Duration,

    /// Planted bugs to look for as well, in `target/planted/agent-host`.
    #[arg(long, value_enum, default_value_t = Bugs::All)]
    planted: Bugs,

    /// Prints the schedule that the seed stands for, and does nothing.
    #[arg(long)]
    plan: bool,

    /// Keeps the logs and testimonies of each run, also when nothing was found.
    #[arg(long)]
    keep: bool,

    /// Puts the figures into this page.
    #[arg(long, num_args = 0..=1, default_missing_value = "docs/reliability.md")]
    write_docs: Option<PathBuf>,

    /// Where to write `chaos.json`; unless told, the target folder.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Registries {
    Single,
    Sentinel,
    Cluster,
    /// Each in turn.
    All,
}

impl Registries {
    fn setups(self) -> Vec<Setup> {
        match self {
            Self::Single => vec![Setup::Single],
            Self::Sentinel => vec![Setup::Sentinel],
            Self::Cluster => vec![Setup::Cluster],
            Self::All => Setup::value_variants().to_vec(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bugs {
    NoSelfFence,
    IgnoreStaleEpochs,
    /// Each in turn.
    All,
    None,
}

impl Bugs {
    fn bugs(self) -> Vec<Bug> {
        match self {
            Self::NoSelfFence => vec![Bug::NoSelfFence],
            Self::IgnoreStaleEpochs => vec![Bug::IgnoreStaleEpochs],
            Self::All => Bug::value_variants().to_vec(),
            Self::None => Vec::new(),
        }
    }
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("CHAOS_LOG").unwrap_or_else(|_| EnvFilter::new("error,chaos=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
    let done = match sandbox::run_dir() {
        Some(dir) => inside(&dir).map(|()| true),
        None => outside(&Args::parse()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn inside(dir: &Path) -> Result<()> {
    let scenario: Scenario = sandbox::scenario(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = scenario::run(&scenario, dir) => outcome,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        }
    })?;
    sandbox::conclude(dir, &outcome)?;
    // Its tasks and threads have no end; the sandbox's end is theirs.
    runtime.shutdown_background();
    Ok(())
}

/// Runs every scenario in a sandbox of its own. Answers whether all held that must.
fn outside(args: &Args) -> Result<bool> {
    ensure!(args.hosts >= 2 && args.hosts <= 10, "--hosts must be 2 to 10");
    let setups = args.registry.setups();
    // What does not divide is the first one's.
    let share = |n| args.faults / setups.len() + if n == 0 { args.faults % setups.len() } else { 0 };
    if args.plan {
        for (n, setup) in setups.iter().copied().enumerate() {
            println!("{setup:?}:");
            let rounds = nemesis::schedule(args.seed, share(n), setup, args.hosts, args.lease);
            rounds.iter().for_each(|round| println!("  {round}"));
        }
        return Ok(true);
    }
    let release = beside_this_program()?;
    let target = release.parent().context("there is no target folder")?;
    let scenario = |setup, faults, planted, program: PathBuf| {
        ensure!(program.is_file(), "there is no {}: `make chaos` builds it", program.display());
        Ok(Scenario {
            seed: args.seed,
            faults,
            setup,
            hosts: args.hosts,
            lease: args.lease,
            planted,
            program,
        })
    };
    let mut report = Report::new(args.seed, args.hosts, args.lease);
    for (n, setup) in setups.iter().copied().enumerate() {
        let scenario = scenario(setup, share(n), None, release.join("agent-host"))?;
        let outcome: Outcome =
            sandbox::enter(&scenario, |outcome: &Outcome| args.keep || !outcome.is_clean())?;
        outcome.faulty().for_each(|what| eprintln!("FOUND: {what}"));
        outcome.ended_in_outages.iter().for_each(|what| eprintln!("ended while only Redis was away: {what}"));
        report.add(setup, &outcome);
    }
    for bug in args.planted.bugs() {
        let scenario = scenario(Setup::Single, 0, Some(bug), target.join("planted/agent-host"))?;
        tracing::info!(bug = bug.name(), "a planted bug: it must be found");
        let outcome: Outcome = sandbox::enter(&scenario, |_| args.keep)?;
        outcome.faulty().for_each(|what| eprintln!("planted, and found: {what}"));
        report.add_planted(bug, &outcome);
    }
    let file = report.write(args.output.as_deref().unwrap_or(target))?;
    if let Some(page) = &args.write_docs {
        report::write_docs(&report, page)?;
    }
    println!("{}\n{}", report.figures(), file.display());
    Ok(report.is_clean())
}

/// The folder that this program, and `agent-host`, were built in.
fn beside_this_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().context("this program is in no folder")?.to_owned())
}
