//! Policies tried on an invented fleet, beside each other, before one goes live.
//!
//! | file | idea |
//! | --- | --- |
//! | `options.rs` | what can be set |
//! | `trace/` | which agents come when, how long they stay and how large they are: read or invented |
//! | `agenda.rs`, `host.rs`, `world/` | time, hosts and engines: what happens to these agents |
//! | `look.rs`, `notes.rs`, `reasons.rs` | what is noted meanwhile |
//! | `quantiles.rs`, `outcome.rs` | what came of it |
//! | `table.rs`, `page/` | how it is shown |
//!
//! Decisions are made by the placement service of the SDK, the same code that engines
//! run. Nothing reads a clock but for what this machine took, and chance comes from a
//! seed: the same arguments give the same outcome.

mod agenda;
mod host;
mod look;
mod notes;
mod options;
mod outcome;
mod page;
mod quantiles;
mod reasons;
mod table;
mod trace;
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::json;

use self::{
    options::{Fleet, Invented, Trial, above_zero},
    outcome::Outcome,
    trace::{Format, Trace},
    world::World,
};

/// Looks at the loads in the time of a simulation, and the shortest time between two.
const LOOKS: u32 = 200;
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Simulate {
    /// A policy to try, and its settings if need be: `least-loaded={"choices": 3}`. Several
    /// are compared. Unset settings: those in its folder, or none.
    #[arg(long = "policy", value_name = "NAME|PATH[=JSON]", default_values = ["round-robin", "least-loaded"])]
    policies: Vec<Trial>,

    /// Which agents come when: a CSV file. Unset: invented, as the next options say.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// How that file is written. Unset: what its first line looks like.
    #[arg(long, value_enum, requires = "trace")]
    trace_format: Option<Format>,

    #[command(flatten)]
    invented: Invented,

    #[command(flatten)]
    fleet: Fleet,

    /// The second at which it ends. Unset: when all agents have come and nobody waits.
    #[arg(long, value_name = "SECONDS")]
    until: Option<f64>,

    /// The second from which on loads count. Unset: as long as an agent stays in the mean,
    /// at most half of the time.
    #[arg(long, value_name = "SECONDS")]
    warm_up: Option<f64>,

    /// Where chance begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    /// Write that JSON object to a file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write a page with plots, which needs nothing but itself.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// When a simulation ends, and when loads are looked at.
#[derive(Clone, Copy, Debug)]
struct Span {
    until: Option<Duration>,
    /// Loads are looked at from the one to the other, the same for all policies: until the
    /// end, or the last agent and the last change of the fleet's size.
    warm_up: Duration,
    last_look: Duration,
    look_every: Duration,
}

impl Simulate {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.check()?;
        let trace = match &self.trace {
            Some(file) => {
                let largest = self.fleet.largest();
                Trace::read(file, self.trace_format, (self.invented.stay, self.seed), largest)?
            }
            None => Trace::invent(&self.invented, &self.fleet, self.seed)?,
        };
        let span = self.span(&trace);
        let mut outcomes = Vec::new();
        for Trial { label, subject } in &self.policies {
            let named = || format!("--policy {label}");
            let (_, policy, settings) = subject.load().with_context(named)?;
            let begun = Instant::now();
            let world = World::new(&self.fleet, &trace, span, (&policy, &settings), self.seed);
            let notes = world.with_context(named)?.live()?;
            let identity = ((**policy.identity()).clone(), settings);
            outcomes.push(Outcome::new(label.clone(), identity, notes, begun.elapsed()));
        }
        let all = json!({
            "agents": trace.len() - trace.warm(), "warm": trace.warm(), "hosts": self.fleet.hosts,
            "engines": self.fleet.engines, "report_every_s": self.fleet.report_every, "seed": self.seed,
            "policies": outcomes,
        });
        if let Some(file) = &self.out {
            write(file, format!("{all}\n"))?;
        }
        if let Some(file) = &self.html {
            write(file, page::page(&self.about(&trace), span, &outcomes))?;
        }
        match self.json {
            true => println!("{all}"),
            false => println!("{}", table::table(&outcomes)),
        }
        Ok(())
    }

    /// What was simulated, in one sentence.
    fn about(&self, trace: &Trace) -> String {
        let Fleet { hosts, engines, report_every, .. } = &self.fleet;
        let from = match &self.trace {
            Some(file) => format!(" of {}", file.display()),
            None => String::new(),
        };
        let warm = match trace.warm() {
            0 => String::new(),
            warm => format!(" beside {warm} that are there at the beginning"),
        };
        let agents = trace.len() - trace.warm();
        format!(
            "{agents} agents{from}{warm}, {hosts} hosts that report every {report_every} s, {engines} engines, seed {}.",
            self.seed
        )
    }

    fn span(&self, trace: &Trace) -> Span {
        let until = self.until.map(seconds);
        let scaled = self.fleet.scale_out.iter().chain(&self.fleet.scale_in).map(|scale| scale.at);
        let all = until.unwrap_or_else(|| scaled.fold(trace.last_arrival(), Duration::max));
        Span {
            until,
            last_look: all,
            warm_up: self.warm_up.map_or(trace.mean_stay().min(all / 2), seconds),
            look_every: (all / LOOKS).max(LOOK_EVERY),
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        self.fleet.check()?;
        self.invented.check()?;
        ensure!(
            self.trace.is_none() || !self.invented.warm,
            "--warm is for invented agents, and not for those of a --trace"
        );
        self.until.map_or(Ok(()), |until| above_zero("--until", until))?;
        let warm_up = self.warm_up.unwrap_or_default();
        ensure!((0.0..1e9).contains(&warm_up), "--warm-up {warm_up} is not from 0 to a billion");
        Ok(())
    }
}

fn write(file: &Path, text: String) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Simulated time from so many seconds; a billion of them at most.
fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 1e9))
}
