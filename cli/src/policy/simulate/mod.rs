//! Policies tried on an invented fleet, beside each other, before one goes live.
//!
//! | file | idea |
//! | --- | --- |
//! | `trace.rs` | which agents come when, and how long they stay: read or invented |
//! | `world.rs` | hosts, engines and time: what happens to these agents |
//! | `outcome.rs` | what came of it |
//!
//! Decisions are made by the placement service of the SDK, the same code that engines
//! run. Nothing reads a clock but for the cost of a decision, and chance comes from a
//! seed: the same arguments give the same outcome.

mod outcome;
mod trace;
mod world;

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use clap::ValueEnum;

use self::{outcome::Outcome, trace::Trace, world::World};
use super::Subject;

#[derive(clap::Args)]
pub(crate) struct Simulate {
    /// A policy to try; several are compared. Settings are those in its folder.
    #[arg(long = "policy", value_name = "NAME|PATH", default_values = ["round-robin", "least-loaded"])]
    policies: Vec<String>,

    /// Which agents come when: a CSV file with the columns `arrives_s` and `stays_s`, and
    /// `guild` and `agent` if they matter. Unset: invented, as the next options say.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    #[command(flatten)]
    invented: Invented,

    #[command(flatten)]
    fleet: Fleet,

    /// Where chance begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Agents that nobody recorded.
#[derive(Clone, Debug, clap::Args)]
struct Invented {
    /// How many agents come.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    agents: usize,

    /// When they come.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    arrivals: Arrivals,

    /// How many come in a second, in the mean.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    rate: f64,

    /// How many seconds they stay, in the mean.
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0)]
    stay: f64,

    /// Most stay shortly, and a few very long (Pareto with the exponent 1.5).
    #[arg(long)]
    heavy_tail: bool,
}

/// When agents come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Arrivals {
    /// Each for itself.
    Poisson,
    /// Guilds of fifty at once.
    Bursts,
    /// More by day than by night; a day has an hour.
    Diurnal,
}

/// The fleet that they come to.
#[derive(Clone, Debug, clap::Args)]
struct Fleet {
    /// How many hosts there are.
    #[arg(long, value_name = "N", default_value_t = 100)]
    hosts: usize,

    /// Agents that a host takes.
    #[arg(long, value_name = "N", default_value_t = 100)]
    capacity: u32,

    /// Every third host takes half as many, every third twice as many.
    #[arg(long)]
    mixed: bool,

    /// Engines that decide at once, each by itself.
    #[arg(long, value_name = "N", default_value_t = 4)]
    engines: usize,

    /// Seconds between two load reports of a host.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    report_every: f64,

    /// Seconds from one death of a host to the next, in the mean; it comes back after a
    /// minute. Unset: none dies.
    #[arg(long, value_name = "SECONDS")]
    deaths_every: Option<f64>,
}

impl Simulate {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.check()?;
        let trace = match &self.trace {
            Some(file) => Trace::read(file)?,
            None => Trace::invent(&self.invented, self.seed)?,
        };
        let mut outcomes = Vec::new();
        for policy in &self.policies {
            let subject = Subject { policy: policy.clone(), settings: None };
            let (_, policy, settings) = subject.load()?;
            outcomes.push(World::new(&self.fleet, &policy, &settings, self.seed)?.live_through(&trace)?);
        }
        match self.json {
            true => println!("{}", serde_json::json!({"agents": trace.len(), "policies": outcomes})),
            false => println!("{}", Outcome::table(&outcomes)),
        }
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let Fleet { hosts, engines, report_every, deaths_every, .. } = &self.fleet;
        ensure!(*hosts > 0 && *engines > 0, "there must be a host and an engine");
        let mut times = vec![("--rate", self.invented.rate), ("--stay", self.invented.stay)];
        times.push(("--report-every", *report_every));
        times.extend(deaths_every.map(|every| ("--deaths-every", every)));
        for (name, value) in times {
            ensure!(value.is_finite() && value > 0.0 && value < 1e9, "{name} {value} is not above zero");
        }
        Ok(())
    }
}

/// Simulated time from so many seconds; a billion of them at most.
fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 1e9))
}
