//! Which agents come when, how long they stay, and what they ask for.
//!
//! | file | agents |
//! | --- | --- |
//! | `invent.rs` | that nobody recorded |
//! | `plain.rs` | of a CSV file with columns of our own |
//! | `azure_vm.rs` | that are virtual machines of Azure's public traces of 2017 and 2019 |
//! | `azure_functions.rs` | that are calls of functions in Azure's public trace of 2019 |
//! | `google.rs` | that are tasks of Google's public cluster trace of 2011 |
//!
//! `rows.rs` reads lines, and says where a bad one is.

mod azure_functions;
mod azure_vm;
mod google;
mod invent;
mod plain;
mod rows;

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use anyhow::ensure;
use clap::ValueEnum;
use guildhall::{
    ids::{AgentId, AgentKey, GuildId},
    resources::Amounts,
};

use super::options::{Fleet, Invented};

pub(super) use invent::exponential;

/// Agents of a trace: so many take some GiB of memory.
const MOST_AGENTS: u64 = 20_000_000;

/// The share of agents that ask for no more than what counts as a typical large one.
const TYPICAL: f64 = 0.9;

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns by name: `arrives_s` and `stays_s`, and if they matter `guild`, `agent`,
    /// `class`, `cpu_millis` and `memory` (bytes).
    Plain,
    /// `vmtable.csv` of the Azure VM traces of 2017 and 2019.
    AzureVm,
    /// Invocations a minute, of the Azure Functions trace of 2019.
    AzureFunctions,
    /// `task_events` of the Google cluster trace of 2011.
    Google,
}

/// CPU and memory: what a host has, or an agent asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) cpu_millis: u64,
    /// Bytes.
    pub(super) memory: u64,
}

impl Size {
    /// So many CPUs and GiB.
    pub(super) fn new(cpus: f64, gib: f64) -> Self {
        Self { cpu_millis: (cpus * 1e3).round() as u64, memory: (gib * f64::from(1 << 30)).round() as u64 }
    }

    pub(super) fn amounts(self) -> Amounts {
        Amounts { cpu_millis: self.cpu_millis, memory: self.memory, ..Amounts::default() }
    }
}

/// One agent.
#[derive(Clone, Debug)]
pub(super) struct Coming {
    pub(super) key: AgentKey,
    /// The number of its guild.
    pub(super) guild: usize,
    pub(super) class: Arc<str>,
    pub(super) arrives: Duration,
    pub(super) stays: Duration,
    pub(super) size: Size,
}

/// Agents, in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Trace {
    agents: Vec<Coming>,
    /// Agents of each guild.
    guilds: Vec<u32>,
    /// So many of the first are there at the beginning.
    warm: usize,
    /// What nine agents in ten ask for at most, CPU and memory each for itself.
    typical: Size,
}

impl Trace {
    pub(super) fn invent(invented: &Invented, fleet: &Fleet, seed: u64) -> anyhow::Result<Self> {
        invent::invent(invented, fleet, seed)
    }

    /// Reads a file, in the format that its first line looks like unless one is given.
    pub(super) fn read(
        file: &Path,
        format: Option<Format>,
        (stay, seed): (f64, u64),
        largest: Size,
    ) -> anyhow::Result<Self> {
        let roll = match format.map_or_else(|| rows::recognise(file), Ok)? {
            Format::Plain => plain::read(file),
            Format::AzureVm => azure_vm::read(file),
            Format::AzureFunctions => azure_functions::read(file, stay, seed),
            Format::Google => google::read(file, largest),
        }?;
        ensure!(!roll.agents.is_empty(), "{} has no agents", file.display());
        Ok(roll.finish())
    }

    pub(super) fn len(&self) -> usize {
        self.agents.len()
    }

    pub(super) fn get(&self, agent: usize) -> &Coming {
        &self.agents[agent]
    }

    pub(super) fn warm(&self) -> usize {
        self.warm
    }

    pub(super) fn guilds(&self) -> &[u32] {
        &self.guilds
    }

    pub(super) fn typical(&self) -> Size {
        self.typical
    }

    /// Whether any agent asks for more than a slot.
    pub(super) fn is_sized(&self) -> bool {
        self.typical != Size::default()
    }

    /// When the last agent comes.
    pub(super) fn last_arrival(&self) -> Duration {
        self.agents.last().map_or(Duration::ZERO, |coming| coming.arrives)
    }

    /// How long agents stay, in the mean.
    pub(super) fn mean_stay(&self) -> Duration {
        let sum: f64 = self.agents.iter().map(|coming| coming.stays.as_secs_f64()).sum();
        Duration::from_secs_f64(sum / self.agents.len().max(1) as f64)
    }
}

/// One agent, as it is read.
#[derive(Clone, Copy, Debug)]
struct Read<'a> {
    guild: &'a str,
    agent: &'a str,
    class: &'a str,
    arrives: Duration,
    stays: Duration,
    size: Size,
}

/// The agents read so far.
#[derive(Debug, Default)]
struct Roll {
    agents: Vec<Coming>,
    guilds: HashMap<String, (usize, GuildId)>,
    classes: HashMap<String, Arc<str>>,
}

impl Roll {
    /// Whether so many more can be read.
    fn has_room(&self, more: u64) -> anyhow::Result<()> {
        let all = more.saturating_add(self.agents.len() as u64);
        ensure!(all <= MOST_AGENTS, "there are more than {MOST_AGENTS} agents: take fewer lines");
        Ok(())
    }

    fn add(&mut self, read: Read<'_>) -> anyhow::Result<()> {
        self.has_room(1)?;
        if !self.guilds.contains_key(read.guild) {
            let guild = (self.guilds.len(), GuildId::new(read.guild)?);
            self.guilds.insert(read.guild.to_owned(), guild);
        }
        if !self.classes.contains_key(read.class) {
            self.classes.insert(read.class.to_owned(), read.class.into());
        }
        let (guild, id) = &self.guilds[read.guild];
        self.agents.push(Coming {
            key: AgentKey::new(id.clone(), AgentId::new(read.agent)?),
            guild: *guild,
            class: Arc::clone(&self.classes[read.class]),
            arrives: read.arrives,
            stays: read.stays,
            size: read.size,
        });
        Ok(())
    }

    fn finish(self) -> Trace {
        let mut agents = self.agents;
        agents.sort_by_key(|coming| coming.arrives);
        let mut guilds = vec![0; self.guilds.len()];
        agents.iter().for_each(|coming| guilds[coming.guild] += 1);
        let typical = Size {
            cpu_millis: at_most(TYPICAL, agents.iter().map(|coming| coming.size.cpu_millis)),
            memory: at_most(TYPICAL, agents.iter().map(|coming| coming.size.memory)),
        };
        Trace { agents, guilds, warm: 0, typical }
    }
}

/// What so large a share of the values are at most.
fn at_most(share: f64, values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    let at = (values.len() as f64 * share).ceil() as usize;
    match values.len() {
        0 => 0,
        all => *values.select_nth_unstable(at.clamp(1, all) - 1).1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_in_ten_ask_for_no_more_than_the_typical_one() {
        assert_eq!(at_most(0.9, std::iter::empty()), 0);
        assert_eq!(at_most(0.9, [7].into_iter()), 7);
        assert_eq!(at_most(0.9, (1..=10).rev()), 9);
        assert_eq!(at_most(0.9, (1..=11).rev()), 10);
    }
}
