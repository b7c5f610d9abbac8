//! Which agents come when, and how long they stay.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use guildhall::ids::{AgentId, AgentKey, GuildId};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::{Arrivals, Invented, seconds};

/// Agents of one guild that come at once.
const BURST: usize = 50;

/// Agents of a guild, where they do not come at once.
const GUILD: usize = 8;

/// A day, and how much its rate goes up and down.
const DAY: f64 = 3600.0;
const SWING: f64 = 0.8;

/// Exponent of the heavy tail: its mean is finite, its variance is not.
const PARETO: f64 = 1.5;

/// One agent.
#[derive(Clone, Debug)]
pub(super) struct Coming {
    pub(super) key: AgentKey,
    pub(super) arrives: Duration,
    pub(super) stays: Duration,
}

/// Agents, in the order in which they come.
#[derive(Debug)]
pub(super) struct Trace(Vec<Coming>);

impl Trace {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Coming> {
        self.0.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, agent: usize) -> &Coming {
        &self.0[agent]
    }

    /// Invents agents.
    pub(super) fn invent(invented: &Invented, seed: u64) -> anyhow::Result<Self> {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut now = 0.0;
        let coming = |nth: usize| {
            let guild = match invented.arrivals {
                Arrivals::Bursts => nth / BURST,
                Arrivals::Poisson | Arrivals::Diurnal => nth / GUILD,
            };
            let first_of_burst = nth.is_multiple_of(BURST);
            now += match invented.arrivals {
                Arrivals::Poisson => exponential(&mut chance, 1.0 / invented.rate),
                Arrivals::Bursts if first_of_burst => exponential(&mut chance, BURST as f64 / invented.rate),
                Arrivals::Bursts => 0.0,
                Arrivals::Diurnal => {
                    let hour = (now / DAY * std::f64::consts::TAU).sin();
                    exponential(&mut chance, 1.0 / (invented.rate * (1.0 + SWING * hour)))
                }
            };
            let stays = match invented.heavy_tail {
                true => pareto(&mut chance, invented.stay),
                false => exponential(&mut chance, invented.stay),
            };
            Ok(Coming {
                key: key(&format!("guild-{guild}"), &format!("agent-{nth}"))?,
                arrives: seconds(now),
                stays: seconds(stays),
            })
        };
        Ok(Self((0..invented.agents).map(coming).collect::<anyhow::Result<_>>()?))
    }

    /// Reads a CSV file with a line of names and a line an agent.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, names) = lines.next().with_context(|| format!("{} is empty", file.display()))?;
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let column = |name: &str| names.iter().position(|found| *found == name);
        let needed =
            |name: &str| column(name).with_context(|| format!("{} has no column {name}", file.display()));
        let (arrives, stays) = (needed("arrives_s")?, needed("stays_s")?);
        let (guild, agent) = (column("guild"), column("agent"));
        let mut agents = Vec::new();
        for (at, line) in lines {
            let values: Vec<&str> = line.split(',').map(str::trim).collect();
            let nth = agents.len();
            let coming = || {
                ensure!(values.len() == names.len(), "{} values for {} columns", values.len(), names.len());
                let number = |at: usize| {
                    let number: f64 = values[at].parse().with_context(|| format!("{:?}", values[at]))?;
                    ensure!((0.0..1e9).contains(&number), "{number} is not from 0 to a billion seconds");
                    Ok(seconds(number))
                };
                let text = |at: Option<usize>, or: String| at.map_or(or, |at| values[at].to_owned());
                let guild = text(guild, "guild".to_owned());
                let agent = text(agent, format!("agent-{nth}"));
                Ok(Coming { key: key(&guild, &agent)?, arrives: number(arrives)?, stays: number(stays)? })
            };
            agents.push(coming().with_context(|| format!("{}:{}", file.display(), at + 1))?);
        }
        agents.sort_by_key(|coming| coming.arrives);
        Ok(Self(agents))
    }
}

fn key(guild: &str, agent: &str) -> anyhow::Result<AgentKey> {
    Ok(AgentKey::new(GuildId::new(guild)?, AgentId::new(agent)?))
}

/// A time with this mean, of what happens by chance at any moment.
pub(super) fn exponential(chance: &mut impl Rng, mean: f64) -> f64 {
    -mean * (1.0 - chance.random::<f64>()).ln()
}

fn pareto(chance: &mut impl Rng, mean: f64) -> f64 {
    let least = mean * (PARETO - 1.0) / PARETO;
    least / (1.0 - chance.random::<f64>()).powf(1.0 / PARETO)
}
