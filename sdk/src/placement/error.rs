//! What can go wrong with a policy: kept apart by when it happens and by whose
//! fault it is, so that callers can act on it.

use std::{error::Error, io, path::PathBuf, time::Duration};

use crate::ids::HostId;

use super::{
    artifact::{BuiltIn, MAX_POLICY_BYTES},
    types::Refusal,
};

/// A policy that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error(
        "cannot read the policy file {}: {source} (the built-in policies are {})",
        path.display(), BuiltIn::ALL.map(BuiltIn::name).join(", ")
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The policy is larger than [`MAX_POLICY_BYTES`], or one of the files with it is
    /// larger than such a file ever is.
    #[error("policy {name} is too large: a policy may have {MAX_POLICY_BYTES} bytes")]
    TooLarge {
        /// The policy's name.
        name: String,
    },
    /// The settings that come with the policy are no JSON.
    #[error("the policy's settings {} cannot be used: {source}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: serde_json::Error,
    },
    /// The source cannot say which policy it has.
    #[error("the policy cannot be fetched: {0}")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The process ended while the policy was being read.
    #[error("the process is ending")]
    ShutDown,
    /// The policy is not one that the operator trusts.
    #[error("policy {policy} is not trusted: {reason}")]
    Untrusted {
        /// Which policy, with its digest.
        policy: String,
        /// Why not.
        reason: &'static str,
    },
    /// The bytes are not a WebAssembly component.
    #[error("policy {name} is not a WebAssembly component: {found}")]
    NotAComponent {
        /// The policy's name.
        name: String,
        /// What it is instead.
        found: String,
    },
    /// A chain of policies that cannot be read.
    #[error("the chain of policies {name} cannot be used: {problem}")]
    Chain {
        /// The chain's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The component is damaged, or uses what Guildhall does not offer.
    #[error("policy {name} does not compile: {source}")]
    Invalid {
        /// The policy's name.
        name: String,
        /// The compiler's words.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The component wants something from outside; a policy gets nothing.
    #[error("policy {name} imports {}; a policy may import nothing", imports.join(", "))]
    Imports {
        /// The policy's name.
        name: String,
        /// What it imports.
        imports: Vec<String>,
    },
    /// The component does not export what `placement.wit` says a policy exports.
    #[error("policy {name} is not of the world guildhall:placement/placement: {source}")]
    WrongWorld {
        /// The policy's name.
        name: String,
        /// What is missing or differs.
        source: Box<dyn Error + Send + Sync>,
    },
    /// WebAssembly cannot run in this process at all.
    #[error("WebAssembly cannot run here: {message}")]
    NoRuntime {
        /// Why not.
        message: String,
    },
}

/// A policy that was loaded, and cannot be made ready to decide.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigureError {
    /// The policy says a schema of its settings that is not understood.
    #[error("policy {policy} has a schema of its settings that cannot be used: {problem}")]
    Schema {
        /// The policy's name.
        policy: String,
        /// What is not understood, and where.
        problem: String,
    },
    /// The policy judges no single hosts, so it cannot decide together with others.
    #[error(
        "policy {policy} judges no single hosts, and cannot be one of several: it does not export `scoring`"
    )]
    NotForChains {
        /// The policy's name.
        policy: String,
    },
    /// There is no thread for a policy that decides in the shadow of another.
    #[error("no thread for the shadow policy: {0}")]
    NoThread(#[source] io::Error),
    /// The policy does not take these settings.
    #[error("policy {policy} refuses its settings: {message}")]
    Settings {
        /// The policy's name.
        policy: String,
        /// What is wrong with which field, in the policy's words.
        message: String,
    },
    /// The policy failed while it was being configured.
    #[error(transparent)]
    Failed(#[from] PolicyError),
}

/// A decision that was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The policy works, and found no host for this agent.
    #[error("policy {policy} found no host: {refusal}")]
    Refused {
        /// The policy's name.
        policy: String,
        /// Why not.
        refusal: Refusal,
    },
    /// The policy failed. The next decision is made by a fresh instance of it.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The policy asked for a ticket in each request, and this one has none.
    #[error("policy {policy} needs a ticket to decide by")]
    NeedsTicket {
        /// The policy's name.
        policy: String,
    },
}

/// A policy that did not take the place of another, which goes on deciding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// It cannot be configured.
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    /// It failed when it was told of the fleet, or asked about an agent that was placed
    /// a while ago.
    #[error("the new {0}")]
    Failed(#[from] PolicyError),
}

/// What a policy was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// It was being instantiated.
    Start,
    /// It was reading its settings.
    Configure,
    /// It was learning what changed in the fleet.
    Observe,
    /// It was deciding.
    Place,
    /// It was deciding about a guild.
    PlaceGuild,
    /// It was judging hosts.
    Score,
    /// It was proposing moves.
    ProposeMoves,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Configure => "configure",
            Self::Observe => "observe",
            Self::Place => "place",
            Self::PlaceGuild => "place-guild",
            Self::Score => "score",
            Self::ProposeMoves => "propose-moves",
        })
    }
}

/// A policy that misbehaved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It trapped: a panic, an out-of-bounds access, a stack overflow.
    #[error("policy {policy} trapped in {call}: {message}")]
    Trapped {
        /// The policy's name.
        policy: String,
        /// What it was doing.
        call: Call,
        /// The runtime's words.
        message: String,
    },
    /// It used more CPU time than a call may.
    #[error("policy {policy} took more than {} ms of CPU time in {call}", budget.as_millis())]
    OverTime {
        /// The policy's name.
        policy: String,
        /// What it was doing.
        call: Call,
        /// What a call may use.
        budget: Duration,
    },
    /// It asked for more memory than it may have, and failed for want of it.
    #[error("policy {policy} ran out of memory in {call}: it may have {limit} bytes")]
    OverMemory {
        /// The policy's name.
        policy: String,
        /// What it was doing.
        call: Call,
        /// What it may have, bytes.
        limit: usize,
    },
    /// It asked for larger tables than it may have, and failed for want of them.
    #[error("policy {policy} ran out of table space in {call}: it may have {limit} elements")]
    OverTables {
        /// The policy's name.
        policy: String,
        /// What it was doing.
        call: Call,
        /// What it may have, elements.
        limit: usize,
    },
    /// It chose a host that the fleet does not have.
    #[error("policy {policy} chose the host {host:?}, which is not in the fleet")]
    UnknownHost {
        /// The policy's name.
        policy: String,
        /// The name it gave, cut to the length of an id.
        host: String,
    },
    /// It chose a host that the request had excluded.
    #[error("policy {policy} chose the host {host}, which the request excludes")]
    ExcludedHost {
        /// The policy's name.
        policy: String,
        /// The host.
        host: HostId,
    },
    /// It chose a host that takes no agents.
    #[error("policy {policy} chose the host {host}, which takes no agents")]
    ClosedHost {
        /// The policy's name.
        policy: String,
        /// The host.
        host: HostId,
    },
    /// It answered something else that cannot be meant.
    #[error("policy {policy} answered nonsense in {call}: {problem}")]
    Nonsense {
        /// The policy's name.
        policy: String,
        /// What it was doing.
        call: Call,
        /// What is wrong with the answer.
        problem: String,
    },
}
