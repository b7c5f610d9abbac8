//! What a policy is told and what it answers, as plain Rust.

use std::fmt;

/// What a host, an agent or an operator says about something: names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        Self(labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What a host last reported about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Share of all the host's CPUs in use, 0.0 to 1.0; NaN when unknown.
    pub cpu_fraction: f64,
    /// Memory in use, bytes.
    pub memory_used: u64,
    /// Memory there is, bytes; 0 when unknown.
    pub memory_total: u64,
    /// Agents that are starting and not yet ready.
    pub starts_in_flight: u32,
    /// Age of this report when the service learned of it, milliseconds.
    pub heartbeat_age_ms: u64,
}

impl Default for Load {
    /// A host that has not reported: nothing is known.
    fn default() -> Self {
        Self {
            cpu_fraction: f64::NAN,
            memory_used: 0,
            memory_total: 0,
            starts_in_flight: 0,
            heartbeat_age_ms: 0,
        }
    }
}

/// A host that may be chosen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// The host's id.
    pub id: String,
    /// What the host, or its orchestrator, says about itself.
    pub labels: Labels,
    /// Agents the host takes at most.
    pub capacity: u32,
    /// Agents on the host, those that are starting included.
    pub running: u32,
    /// What the host last reported about itself.
    pub load: Load,
}

impl Candidate {
    /// An idle host with room for `capacity` agents, of which nothing else is known.
    pub fn new(id: impl Into<String>, capacity: u32) -> Self {
        Self { id: id.into(), labels: Labels::default(), capacity, running: 0, load: Load::default() }
    }

    /// Whether the host has all the agents it takes.
    pub fn is_full(&self) -> bool {
        self.running >= self.capacity
    }
}

/// One change of the fleet.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The host is new, or has reported again.
    Upsert(Candidate),
    /// The host of this id is gone.
    Remove(String),
}

/// What the agent says it needs; `None` where its spec says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// Whole CPUs; 0.5 is half of one.
    pub cpus: Option<f64>,
    /// Whole GPUs.
    pub gpus: Option<f64>,
    /// Resources that the operator named, and how much of each.
    pub custom: Vec<(String, f64)>,
}

/// What quality of service the agent asks for; `None` where its spec says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qos {
    /// How long an operation may take, milliseconds.
    pub timeout_ms: Option<u64>,
    /// How often a failed operation is tried again.
    pub retry_count: Option<u32>,
    /// Acceptable latency, milliseconds.
    pub latency_ms: Option<u64>,
}

/// One agent that needs a host.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// The guild it belongs to.
    pub guild: String,
    /// Its id, which is unique within the guild.
    pub agent: String,
    /// Its name, as people know it.
    pub name: String,
    /// The class that implements it.
    pub class_name: String,
    /// Its labels.
    pub labels: Labels,
    /// What it needs of its host.
    pub resources: Resources,
    /// The service it asks for.
    pub qos: Qos,
    /// Hosts that must not be chosen: they have just refused this agent.
    pub excluded: Vec<String>,
    /// A number from a counter that all engines share; there when
    /// [`Policy::INPUTS`](crate::Policy::INPUTS) asks for it.
    pub ticket: Option<u64>,
}

impl Request {
    /// A request that says nothing but which agent needs a host.
    pub fn new(guild: impl Into<String>, agent: impl Into<String>) -> Self {
        Self { guild: guild.into(), agent: agent.into(), ..Self::default() }
    }

    /// Whether `host` must not be chosen.
    pub fn excludes(&self, host: &Candidate) -> bool {
        self.excluded.contains(&host.id)
    }
}

/// What a policy wants in each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inputs {
    /// A fresh number from a counter that all engines share.
    pub ticket: bool,
}

impl Inputs {
    /// Nothing.
    pub const NONE: Self = Self { ticket: false };
    /// A ticket.
    pub const TICKET: Self = Self { ticket: true };
}

/// Where the agent goes, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The chosen host's id.
    pub host: String,
    /// Why, for people to read.
    pub reason: String,
}

impl Decision {
    /// Chooses `host`.
    pub fn new(host: &Candidate, reason: impl Into<String>) -> Self {
        Self { host: host.id.clone(), reason: reason.into() }
    }
}

/// Why no host was chosen, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: String,
}

impl Refusal {
    /// Refuses for a reason of the policy's own.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}
