//! What can be set: the agents that come, and the fleet that they come to.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, ensure};
use clap::ValueEnum;

use super::{super::Subject, seconds, trace::Size};

/// A policy to try.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// What it is called: what the user wrote.
    pub(super) label: String,
    pub(super) subject: Subject,
}

impl FromStr for Trial {
    type Err = anyhow::Error;

    fn from_str(written: &str) -> anyhow::Result<Self> {
        // A path may have `=` in it, but hardly `={`.
        let (policy, settings) = match written.find("={") {
            Some(at) => (&written[..at], Some(&written[at + 1..])),
            None => (written, None),
        };
        if let Some(settings) = settings {
            serde_json::from_str::<serde_json::Value>(settings).context("what follows the = is no JSON")?;
        }
        let subject =
            Subject { policy: policy.to_owned(), settings: settings.map(str::to_owned), wasi_stubs: false };
        Ok(Self { label: written.to_owned(), subject })
    }
}

/// Agents that nobody recorded.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Invented {
    /// How many agents come.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(super) agents: usize,

    /// When they come.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    pub(super) arrivals: Arrivals,

    /// How many come in a second, in the mean.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub(super) rate: f64,

    /// How many seconds they stay, in the mean; so do those of `azure-functions`.
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0)]
    pub(super) stay: f64,

    /// Most stay shortly, and a few very long (Pareto with the exponent 1.5).
    #[arg(long)]
    pub(super) heavy_tail: bool,

    /// What they ask of their hosts.
    #[arg(long, value_enum, default_value_t = Sizes::None)]
    pub(super) sizes: Sizes,

    /// Begin with as many agents as there are in the mean (the rate times the stay),
    /// evenly on the hosts, each with the rest of its stay.
    #[arg(long)]
    pub(super) warm: bool,
}

/// When agents come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Arrivals {
    /// Each for itself.
    Poisson,
    /// Guilds of fifty at once.
    Bursts,
    /// More by day than by night; a day has an hour.
    Diurnal,
}

/// What agents ask of their hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sizes {
    /// Nothing but a slot.
    None,
    /// Half a CPU and one GiB each.
    Even,
    /// That in the mean: most far less, a few very much (Pareto with the exponent 1.5).
    Heavy,
}

/// The fleet that they come to.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Fleet {
    /// How many hosts there are.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) hosts: usize,

    /// Agents that a host takes.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) capacity: u32,

    /// CPUs of a host, for agents that ask for some.
    #[arg(long, value_name = "N", default_value_t = 32.0)]
    pub(super) cpus: f64,

    /// Memory of a host in GiB, for agents that ask for some.
    #[arg(long, value_name = "GIB", default_value_t = 128.0)]
    pub(super) memory: f64,

    /// Every third host is half as large, every third twice as large.
    #[arg(long)]
    pub(super) mixed: bool,

    /// Engines that decide at once, each by itself.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(super) engines: usize,

    /// Seconds between two load reports of a host.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    pub(super) report_every: f64,

    /// Seconds from one death of a host to the next, in the mean; it comes back after a
    /// minute. Unset: none dies.
    #[arg(long, value_name = "SECONDS")]
    pub(super) deaths_every: Option<f64>,

    /// So many hosts join at that second; may be given again.
    #[arg(long, value_name = "AT:N")]
    pub(super) scale_out: Vec<Scale>,

    /// So many hosts drain at that second, the last ones first, and leave; may be given again.
    #[arg(long, value_name = "AT:N")]
    pub(super) scale_in: Vec<Scale>,

    /// Moves a minute that the policy may propose after a scale-out; 0: it is not asked.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) moves: usize,
}

/// A change of the fleet's size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) at: Duration,
    pub(super) hosts: usize,
}

impl FromStr for Scale {
    type Err = anyhow::Error;

    fn from_str(written: &str) -> anyhow::Result<Self> {
        let (at, hosts) =
            written.split_once(':').context("must be a second and a number of hosts: 600:10")?;
        let at: f64 = at.parse().context("before the colon must be a second")?;
        ensure!((0.0..1e9).contains(&at), "before the colon must be a second from 0 to a billion");
        let hosts = hosts.parse().context("behind the colon must be a number of hosts")?;
        Ok(Self { at: seconds(at), hosts })
    }
}

impl Fleet {
    /// What the largest of the hosts has.
    pub(super) fn largest(&self) -> Size {
        let largest = if self.mixed { 2.0 } else { 1.0 };
        Size::new(self.cpus * largest, self.memory * largest)
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.hosts > 0, "--hosts must be above zero");
        ensure!(self.engines > 0, "--engines must be above zero");
        above_zero("--cpus", self.cpus)?;
        above_zero("--memory", self.memory)?;
        above_zero("--report-every", self.report_every)?;
        self.deaths_every.map_or(Ok(()), |every| above_zero("--deaths-every", every))
    }
}

impl Invented {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        above_zero("--rate", self.rate)?;
        above_zero("--stay", self.stay)
    }
}

/// A time or a rate with which one can reckon.
pub(super) fn above_zero(name: &str, value: f64) -> anyhow::Result<()> {
    ensure!(value.is_finite() && value > 0.0 && value < 1e9, "{name} {value} is not above zero");
    Ok(())
}
