//! Write a Guildhall placement policy: the program that answers *which host gets
//! this agent?*
//!
//! A policy implements [`Policy`]: it is configured once, learns what changes in
//! the fleet, and decides. The kit keeps the [`Fleet`] for it. A complete policy,
//! which keeps agents in the zone they ask for:
//!
//! ```
//! use guildhall_policy::{
//!     Decision, Fleet, InvalidSettings, Policy, Refusal, Request, Settings, Verdict,
//! };
//!
//! struct Zone {
//!     /// The label that names a zone, on hosts and on agents.
//!     label: String,
//! }
//!
//! impl Policy for Zone {
//!     fn configure(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
//!         let label = settings.text("label")?.unwrap_or_else(|| "zone".to_owned());
//!         match label.is_empty() {
//!             true => Err(settings.invalid("label", "must not be empty")),
//!             false => Ok(Self { label }),
//!         }
//!     }
//!
//!     fn place(&mut self, fleet: &Fleet, request: &Request) -> Result<Decision, Refusal> {
//!         let zone = request.label(&self.label);
//!         fleet.best(request, |at| {
//!             let host = &fleet[at];
//!             match zone.is_none() || host.label(&self.label) == zone {
//!                 true => Verdict::Score(1.0 - host.running as f32 / host.capacity as f32),
//!                 false => Verdict::rejected("in another zone"),
//!             }
//!         })
//!     }
//! }
//!
//! guildhall_policy::export!(Zone);
//!
//! // A test drives it natively, through the same door as the component.
//! use guildhall_policy::{Candidate, Change, Live, labels};
//!
//! let mut live = Live::<Zone>::configure("{}")?;
//! let mut north = Candidate::new("host-a", 10);
//! north.labels = labels([("zone", "north")]);
//! live.observe([Change::Upsert(north), Change::Upsert(Candidate::new("host-b", 10))]);
//!
//! let mut request = Request::new("guild", "agent");
//! request.labels = labels([("zone", "north")]);
//! assert_eq!(live.place(&request)?.host, "host-a");
//! request.excluded = vec!["host-a".to_owned()];
//! let refusal = live.place(&request).unwrap_err();
//! assert_eq!(refusal.reason, "none of 2 hosts will do: 1 excluded, 1 in another zone");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`export!`] makes a component of it when the crate is compiled to
//! `wasm32-unknown-unknown` as a `cdylib`; `docs/policies.md` has the commands.
//! Natively it is a plain library, and [`Live`] drives it in tests and benchmarks.
//!
//! A policy has no clock, no files, no network and no chance: what it is told is
//! all it knows, so the same history gives the same answers anywhere. A panic
//! costs the decision it happens in; the next is made by a fresh instance.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod export;
mod fleet;
mod guild;
mod hash;
#[cfg(not(target_arch = "wasm32"))]
mod json;
mod live;
mod moves;
mod settings;
mod text;
mod types;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod wire;

use alloc::vec::Vec;

pub use fleet::{Fleet, Observed};
pub use guild::{GuildDecision, GuildRequest, Kind, Member, Mode, one_by_one};
pub use hash::{agent_of, identity, members_of};
pub use live::Live;
pub use moves::{Move, Placed};
pub use settings::{InvalidSettings, Setting, Settings, Value};
pub use text::Piece;
pub use types::{
    Candidate, Change, Choice, Decision, Inputs, Label, Load, Peer, Qos, Quantity, Refusal, Rejection,
    Request, Resources, Standing, Verdict, Warm, labels, percent,
};

/// What the macros name.
#[doc(hidden)]
pub mod rt {
    pub use alloc::{string::String, vec::Vec};

    #[cfg(target_arch = "wasm32")]
    pub use rlsf::SmallGlobalTlsf as Allocator;
}

/// Answers which host gets an agent. The first three functions are a whole policy; the
/// others count when [`export!`] names them: `guilds` ([`place_guild`](Self::place_guild)),
/// `scoring` ([`score`](Self::score) and [`chosen`](Self::chosen)) and `rebalancing`
/// ([`propose_moves`](Self::propose_moves)).
pub trait Policy: Sized {
    /// What each request must carry.
    const INPUTS: Inputs = Inputs::NONE;

    /// A JSON Schema of the settings. Those that do not fit are refused before
    /// [`configure`](Self::configure) sees them.
    const SETTINGS: &'static str = "";

    /// Takes the operator's settings. A field that is not taken is an error: so a
    /// misspelt one is told, not ignored.
    ///
    /// # Errors
    /// [`InvalidSettings`] names the field that is wrong.
    fn configure(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings>;

    /// Learns what has just changed in `fleet`. A policy that keeps nothing of its
    /// own beside the fleet has nothing to do here.
    fn observe(&mut self, fleet: &Fleet, observed: &Observed) {
        let _ = (fleet, observed);
    }

    /// Decides.
    ///
    /// # Errors
    /// [`Refusal`] says, for people, why no host will do.
    fn place(&mut self, fleet: &Fleet, request: &Request) -> Result<Decision, Refusal>;

    /// Decides about all agents of a guild at once; by default, about one after another.
    fn place_guild(&mut self, fleet: &Fleet, request: &GuildRequest) -> GuildDecision {
        one_by_one(request, fleet, Self::INPUTS.peers, |one| guild::position(fleet, &self.place(fleet, one)?))
    }

    /// Judges the host at this position, which [takes agents](Fleet::unavailable), so that
    /// several policies decide together.
    fn score(&mut self, fleet: &Fleet, request: &Request, at: usize) -> Verdict {
        let _ = (fleet, request, at);
        Verdict::rejected("not judged")
    }

    /// The agent that was last asked about goes to the host at this position, as this
    /// policy and others decided together.
    fn chosen(&mut self, fleet: &Fleet, at: usize) {
        let _ = (fleet, at);
    }

    /// Says which of these agents would be better elsewhere, the most useful move first:
    /// `most` at most. By default, none.
    fn propose_moves(&mut self, fleet: &Fleet, placed: &[Placed], most: usize) -> Vec<Move> {
        let _ = (fleet, placed, most);
        Vec::new()
    }
}
