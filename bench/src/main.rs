//! What Guildhall costs, measured against what it could cost at the least.
//!
//! `make bench` takes every figure; `bench decision heartbeat` takes some. A figure
//! that has a goal is a ratio of two things measured in turns in this very run, so
//! that a busy machine slows both. Nothing here fails a build: a goal that is missed
//! is said, and the exit status is about errors only.
//!
//! The results are printed and kept in `target/bench.json`; see [`report`]. What takes
//! minutes is taken by `make survival` alone, and kept in `target/survival.json`: see
//! [`survival`].

mod balance;
mod decision;
mod guild;
mod heartbeat;
mod is_running;
mod memory;
mod record;
mod report;
mod run_agent;
mod spans;
mod stage;
mod start_rate;
mod stats;
mod survival;
mod under_load;
mod workload;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::report::{Report, Row};

/// Takes figures of Guildhall's speed and size, prints them, and keeps them in
/// `bench.json` in the target folder.
#[derive(Parser)]
struct Args {
    /// What to measure; everything unless told.
    figures: Vec<Figure>,
    /// Measures what a fleet survives, and how fast, instead.
    #[arg(long)]
    survival: bool,
    /// How long Redis is gone, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    outage: u64,
    /// Puts all figures of survival into a page; unless told, into docs/reliability.md.
    #[arg(long, value_name = "PAGE", num_args = 0..=1, default_missing_value = "docs/reliability.md")]
    write_docs: Option<PathBuf>,
}

/// In the order in which they are taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Figure {
    StartRate,
    IsRunning,
    Heartbeat,
    Decision,
    Guild,
    Balance,
    UnderLoad,
    Memory,
    /// The last of the quick ones: from then on spans are recorded.
    RunAgent,
    Drain,
    Failover,
    Steady,
    Outage,
}

impl Figure {
    /// Whether it is about what a fleet survives.
    fn is_of_survival(self) -> bool {
        matches!(self, Self::Drain | Self::Failover | Self::Steady | Self::Outage)
    }

    async fn take(self, args: &Args) -> Result<Vec<Row>> {
        match self {
            Self::StartRate => start_rate::take().await,
            Self::IsRunning => is_running::take().await,
            Self::Heartbeat => heartbeat::take().await,
            Self::Decision => decision::take().await,
            Self::Guild => guild::take().await,
            Self::Balance => balance::take().await,
            Self::UnderLoad => under_load::take().await,
            Self::Memory => memory::take().await,
            Self::RunAgent => run_agent::take().await,
            Self::Drain => survival::drain::take().await,
            Self::Failover => survival::failover::take().await,
            Self::Steady => survival::steady::take().await,
            Self::Outage => survival::outage::take(Duration::from_secs(args.outage)).await,
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut figures = args.figures.clone();
    if figures.is_empty() {
        figures.extend(Figure::value_variants());
    }
    figures.retain(|figure| figure.is_of_survival() == args.survival);
    figures.sort_unstable();
    figures.dedup();
    // A host needs five descriptors for each agent, and inherits this limit.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let file = if args.survival { "survival.json" } else { "bench.json" };
    let mut report = Report::open(report::beside_this_program(file)?)?;
    for figure in figures {
        let name = figure.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        eprintln!("taking {name} …");
        let rows = figure.take(&args).await.with_context(|| format!("{name} was not taken"))?;
        // Saved at once: what fails later does not lose what was measured.
        report.add(rows);
        report.save()?;
    }
    println!("{}", report.table());
    if let Some(page) = args.write_docs.filter(|_| args.survival) {
        report.write_docs(&page)?;
    }
    Ok(())
}
