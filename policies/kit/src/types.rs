//! What a policy is told and what it answers, as plain Rust.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

use crate::text;

/// What a host, an agent or an operator says about something: a name and a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The name.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Labels of these names and values.
pub fn labels<N: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (N, V)>) -> Vec<Label> {
    labels.into_iter().map(|(key, value)| Label { key: key.into(), value: value.into() }).collect()
}

fn value<'a>(labels: &'a [Label], key: &str) -> Option<&'a str> {
    labels.iter().find(|label| label.key == key).map(|label| label.value.as_str())
}

/// A named amount, such as a custom resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantity {
    /// The name.
    pub name: String,
    /// How much.
    pub amount: f64,
}

/// How much a host has, or an agent needs. An agent whose spec says nothing of a
/// resource needs 0 of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory: u64,
    /// Thousandths of an accelerator, such as a GPU.
    pub accelerator_millis: u64,
    /// Resources that the operator named, in the operator's units.
    pub custom: Vec<Quantity>,
}

/// What a host last measured of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Share of all the host's CPUs in use, 0.0 to 1.0; NaN when unknown.
    pub cpu_fraction: f64,
    /// CPU in use, thousandths of a CPU; 0 when unknown.
    pub cpu_used_millis: u64,
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
            cpu_used_millis: 0,
            memory_used: 0,
            memory_total: 0,
            starts_in_flight: 0,
            heartbeat_age_ms: 0,
        }
    }
}

/// Runners that wait, ready to become an agent of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warm {
    /// The class.
    pub class_name: String,
    /// How many.
    pub ready: u32,
}

/// Whether a host takes agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    #[default]
    Open,
    /// An operator wants no new agents on it.
    Cordoned,
    /// It is giving up its agents, and ends soon.
    Draining,
}

#[cfg(target_arch = "wasm32")]
impl Standing {
    /// As `placement.wit` numbers them.
    #[doc(hidden)]
    pub fn _lift(number: u8) -> Self {
        match number {
            0 => Self::Open,
            1 => Self::Cordoned,
            _ => Self::Draining,
        }
    }
}

/// A host. It may be chosen when it is open.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// The host's id.
    pub id: String,
    /// Zone, region, node, instance type: what the host or its orchestrator says.
    pub labels: Vec<Label>,
    /// Agents the host takes at most: its slots.
    pub capacity: u32,
    /// Agents on the host, those that are starting included.
    pub running: u32,
    /// What there is for agents; `None` when the host does not say.
    pub allocatable: Option<Resources>,
    /// What the agents on the host asked for, in all.
    pub requested: Resources,
    /// What the host last measured of itself.
    pub load: Load,
    /// Runners that wait, ready to become an agent.
    pub warm: Vec<Warm>,
    /// Whether it takes agents.
    pub standing: Standing,
}

impl Candidate {
    /// An open, idle host with room for `capacity` agents, of which nothing else is known.
    pub fn new(id: impl Into<String>, capacity: u32) -> Self {
        Self {
            id: id.into(),
            labels: Vec::new(),
            capacity,
            running: 0,
            allocatable: None,
            requested: Resources::default(),
            load: Load::default(),
            warm: Vec::new(),
            standing: Standing::Open,
        }
    }

    /// The value of its label of this name.
    pub fn label(&self, name: &str) -> Option<&str> {
        value(&self.labels, name)
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

/// Another agent of the guild, and where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub agent: String,
    /// Its name, as people know it.
    pub name: String,
    /// The class that implements it.
    pub class_name: String,
    /// The host it is on.
    pub host: String,
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
    pub labels: Vec<Label>,
    /// What it needs of its host.
    pub resources: Resources,
    /// The service it asks for.
    pub qos: Qos,
    /// How often it was started again so far.
    pub restarts: u32,
    /// Hosts on which it has failed: another one may suit it better.
    pub failed_on: Vec<String>,
    /// Agents in its guild, this one included; 0 when that is not known.
    pub guild_size: u32,
    /// The others of its guild that have a host; there when
    /// [`Policy::INPUTS`](crate::Policy::INPUTS) asks for them.
    pub peers: Vec<Peer>,
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

    /// The value of its label of this name.
    pub fn label(&self, name: &str) -> Option<&str> {
        value(&self.labels, name)
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
    /// Where the other agents of the guild are, on which hosts this one failed, and how
    /// often it was started again.
    pub peers: bool,
}

impl Inputs {
    /// Nothing.
    pub const NONE: Self = Self { ticket: false, peers: false };
    /// A ticket.
    pub const TICKET: Self = Self { ticket: true, peers: false };
    /// What became of the guild so far.
    pub const PEERS: Self = Self { ticket: false, peers: true };
}

/// A host that may have the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The host's id.
    pub host: String,
    /// How good it is: not NaN.
    pub score: f64,
    /// Why, for people to read.
    pub reason: String,
}

/// Where the agent goes, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The chosen host's id.
    pub host: String,
    /// How good it is, for people to read and to compare with the others: not NaN.
    pub score: f64,
    /// Why, for people to read.
    pub reason: String,
    /// Hosts to ask when that one refuses, the best first: 15 at most.
    pub others: Vec<Choice>,
}

impl Decision {
    /// Chooses `host`.
    pub fn new(host: &Candidate, reason: impl Into<String>) -> Self {
        Self { host: host.id.clone(), score: 0.0, reason: reason.into(), others: Vec::new() }
    }

    /// The same with this score.
    #[must_use]
    pub fn with_score(self, score: f64) -> Self {
        Self { score, ..self }
    }

    /// The same, and where to go when the host refuses.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.others.push(Choice { host: other.host, score: other.score, reason: other.reason });
        self.others.extend(other.others);
        self
    }
}

/// Hosts that were not taken for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason, in a word or a few: `full`, `short of memory`.
    pub reason: String,
    /// How many hosts.
    pub count: u32,
    /// Which, or some of them.
    pub hosts: Vec<String>,
}

/// Why no host was chosen, for people to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: String,
    /// Why each host was not taken.
    pub rejections: Vec<Rejection>,
    /// The agent should wait, and the policy be asked again after so many milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// Refuses for a reason of the policy's own.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }

    /// Refuses because of all these, of so many hosts.
    #[cold]
    pub fn because(hosts: usize, rejections: Vec<Rejection>) -> Self {
        if hosts == 0 {
            return Self { rejections, ..Self::new("there are no hosts") };
        }
        let mut reason = text!("none of ", hosts, " hosts will do");
        for (nth, rejection) in rejections.iter().enumerate() {
            reason.push_str(if nth == 0 { ": " } else { ", " });
            reason.push_str(&text!(rejection.count, " ", rejection.reason));
        }
        Self { reason, rejections, retry_after_ms: None }
    }

    /// The same, to be asked again after so many milliseconds.
    #[must_use]
    pub fn retry_after_ms(self, milliseconds: u64) -> Self {
        Self { retry_after_ms: Some(milliseconds), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl core::error::Error for Refusal {}

/// A share in percent, for reasons: floats are formatted by code that is as large as a
/// whole policy.
pub fn percent(share: f64) -> u32 {
    (share * 100.0 + 0.5) as u32
}

/// What a policy says of one host.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The host will do, from 0.0 (barely) to 1.0 (could not be better).
    Score(f32),
    /// It will not, for this reason, in a word or a few: `short of memory`.
    Rejected(Cow<'static, str>),
}

impl Verdict {
    /// The host will not do.
    pub fn rejected(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Rejected(reason.into())
    }
}
