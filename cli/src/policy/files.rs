//! Fleets and requests as people write them: YAML, or JSON, which is YAML too.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use guildhall::{
    ids::{AgentId, AgentKey, GuildId, HostId},
    placement::{Candidate, FleetChange, Load, Peer, PlacementRequest, Standing},
    resources::{Amounts, Resources},
};
use serde::{Deserialize, de::DeserializeOwned};

/// A fleet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fleet {
    hosts: Vec<Host>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    id: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default = "hundred")]
    capacity: u32,
    #[serde(default)]
    running: u32,
    cpu_fraction: Option<f64>,
    #[serde(default)]
    memory_used: u64,
    #[serde(default)]
    memory_total: u64,
    #[serde(default)]
    starts_in_flight: u32,
    /// What there is for agents, and what those on the host asked for.
    allocatable: Option<Amounts>,
    #[serde(default)]
    requested: Amounts,
    #[serde(default)]
    warm: BTreeMap<String, u32>,
    #[serde(default)]
    standing: Standing,
}

fn hundred() -> u32 {
    100
}

/// An agent that needs a host.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    guild: Option<String>,
    agent: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    class_name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    num_cpus: Option<f64>,
    num_gpus: Option<f64>,
    #[serde(default)]
    custom_resources: BTreeMap<String, f64>,
    #[serde(default)]
    restarts: u32,
    #[serde(default)]
    failed_on: Vec<String>,
    /// Where the others of its guild are.
    #[serde(default)]
    peers: Vec<Peer>,
    #[serde(default)]
    excluded: Vec<String>,
}

impl Fleet {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        read(path)
    }

    /// What a placement service is to be told.
    pub(super) fn changes(&self) -> anyhow::Result<Vec<FleetChange>> {
        self.hosts.iter().map(|host| Ok(FleetChange::Upsert(host.candidate()?))).collect()
    }
}

impl Host {
    fn candidate(&self) -> anyhow::Result<Candidate> {
        Ok(Candidate {
            labels: self.labels.clone(),
            running: self.running,
            allocatable: self.allocatable.clone(),
            requested: self.requested.clone(),
            warm: self.warm.clone(),
            standing: self.standing,
            load: Load {
                cpu_fraction: self.cpu_fraction.unwrap_or(f64::NAN),
                memory_used: self.memory_used,
                memory_total: self.memory_total,
                starts_in_flight: self.starts_in_flight,
                ..Load::default()
            },
            ..Candidate::new(HostId::new(&self.id)?, self.capacity)
        })
    }
}

impl Request {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        read(path)
    }

    /// The request of the `nth` agent like this one.
    pub(super) fn nth(&self, nth: u64) -> anyhow::Result<PlacementRequest> {
        let guild = GuildId::new(self.guild.as_deref().unwrap_or("guild"))?;
        let agent = match (&self.agent, nth) {
            (Some(agent), 0) => agent.clone(),
            (Some(agent), nth) => format!("{agent}-{nth}"),
            (None, nth) => format!("agent-{nth}"),
        };
        Ok(PlacementRequest {
            name: self.name.clone(),
            class_name: self.class_name.clone(),
            labels: self.labels.clone(),
            resources: Amounts::from(&Resources {
                num_cpus: self.num_cpus,
                num_gpus: self.num_gpus,
                custom_resources: self.custom_resources.clone(),
            }),
            restarts: self.restarts,
            failed_on: self.failed_on.iter().map(HostId::new).collect::<Result<_, _>>()?,
            guild_size: u32::try_from(self.peers.len() + 1)?,
            peers: self.peers.clone(),
            excluded: self.excluded.iter().map(HostId::new).collect::<Result<_, _>>()?,
            ticket: Some(nth),
            ..PlacementRequest::new(AgentKey::new(guild, AgentId::new(&agent)?))
        })
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}
