//! What Guildhall costs, measured against what it could cost at the least.
//!
//! `make bench` takes every figure; `bench decision heartbeat` takes some. A figure
//! that has a goal is a ratio of two things measured in turns in this very run, so
//! that a busy machine slows both. Nothing here fails a build: a goal that is missed
//! is said, and the exit status is about errors only.
//!
//! The results are printed and kept in `target/bench.json`; see [`report`].

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
mod under_load;
mod workload;

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
    /// The last: from then on spans are recorded.
    RunAgent,
}

impl Figure {
    async fn take(self) -> Result<Vec<Row>> {
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
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut figures = if args.figures.is_empty() { Figure::value_variants().to_vec() } else { args.figures };
    figures.sort_unstable();
    figures.dedup();
    // A host needs five descriptors for each agent, and inherits this limit.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let mut report = Report::open(report::beside_this_program()?)?;
    for figure in figures {
        let name = figure.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        eprintln!("taking {name} …");
        let rows = figure.take().await.with_context(|| format!("{name} was not taken"))?;
        // Saved at once: what fails later does not lose what was measured.
        report.add(rows);
        report.save()?;
    }
    println!("{}", report.table());
    Ok(())
}
