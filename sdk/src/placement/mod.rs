//! Which host gets an agent? A policy says so: a WebAssembly component that this
//! module loads, keeps informed of the fleet, and asks.
//!
//! Begin with [`Policy::load`] and [`PlacementService::new`]:
//!
//! ```
//! use guildhall::ids::{AgentId, AgentKey, GuildId, HostId};
//! use guildhall::placement::{
//!     BuiltIn, Candidate, CompiledCache, FleetChange, PlacementRequest, PlacementService, Policy,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::load(&BuiltIn::LeastLoaded.into(), &CompiledCache::default())?;
//! let service = PlacementService::new(policy, &serde_json::json!({}), Default::default())?;
//!
//! let mut busy = Candidate::new(HostId::new("host-a")?, 10);
//! busy.running = 9;
//! let idle = Candidate::new(HostId::new("host-b")?, 10);
//! service.observe([FleetChange::Upsert(busy), FleetChange::Upsert(idle)]);
//!
//! let agent = AgentKey::new(GuildId::new("guild")?, AgentId::new("writer")?);
//! let decision = service.place(&PlacementRequest::new(agent))?;
//! assert_eq!(decision.host.as_str(), "host-b");
//! # Ok(())
//! # }
//! ```
//!
//! A policy can do no harm: it imports nothing, its memory, tables and time are
//! bounded by [`PolicyLimits`], and when it fails, that decision has an error and
//! the next is made by a fresh instance. It is compiled once for each version,
//! kept in a [`CompiledCache`], and holds the fleet itself, so that a decision
//! passes only the request.
//!
//! This module never starts an agent and never asks a host or the registry: it
//! knows what it was told. `docs/policies.md` says how to write a policy.

mod artifact;
mod bounds;
mod cache;
mod chain;
mod component;
mod decider;
mod digest;
mod error;
mod fallback;
mod guild;
mod instance;
mod journal;
mod judge;
mod limits;
mod policy;
mod runtime;
mod seat;
mod service;
mod settings;
mod source;
mod stubs;
mod table;
mod trust;
mod types;
mod wit;

pub use artifact::{BuiltIn, MAX_POLICY_BYTES, PolicyArtifact};
pub use cache::CompiledCache;
pub use component::{Compiled, Imports};
pub use digest::{InvalidDigest, Sha256Digest};
pub use error::{Call, ConfigureError, LoadError, PlaceError, PolicyError, ReplaceError};
pub use fallback::{Fallback, PolicyStatus};
pub use guild::{GuildDecision, GuildMode, GuildRequest, Kind, Member, Move, Placed};
pub use instance::MAX_REASON_BYTES;
pub use journal::{
    Comparison, DecisionLog, Difference, Entry, InCharge, Outcome, RecordedDecisions, Replay, ReplayError,
    Shadow, UnreadableLog,
};
pub use limits::PolicyLimits;
pub use policy::{CONTRACT, Policy};
pub use runtime::{forked, rest};
pub use service::PlacementService;
pub use source::{PolicyChoice, PolicyFiles, PolicySource};
pub use trust::{InvalidKey, PublicKey, Trust};
pub use types::{
    Candidate, Choice, Decision, FleetChange, Load, Needs, Peer, PlacementRequest, PolicyIdentity, Refusal,
    Rejection, Standing,
};
