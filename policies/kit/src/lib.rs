//! Write a Guildhall placement policy: the program that answers *which host gets
//! this agent?*
//!
//! A policy implements [`Policy`]: it is configured once, learns what changes in
//! the fleet, and decides. The kit keeps the [`Fleet`] for it. A complete policy,
//! which keeps agents in the zone they ask for:
//!
//! ```
//! use guildhall_policy::{Decision, Fleet, InvalidSettings, Policy, Refusal, Request, Settings};
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
//!         let zone = request.labels.get(&self.label);
//!         fleet
//!             .iter()
//!             .filter(|host| !host.is_full() && !request.excludes(host))
//!             .filter(|host| zone.is_none() || host.labels.get(&self.label) == zone)
//!             .min_by_key(|host| host.running)
//!             .map(|host| Decision::new(host, "fewest agents in the zone"))
//!             .ok_or_else(|| Refusal::new(format!("no free host in zone {zone:?}")))
//!     }
//! }
//!
//! guildhall_policy::export!(Zone);
//!
//! // A test drives it natively, through the same door as the component.
//! use guildhall_policy::{Candidate, Change, Live};
//!
//! let mut live = Live::<Zone>::configure("{}")?;
//! let mut north = Candidate::new("host-a", 10);
//! north.labels = [("zone", "north")].into_iter().collect();
//! live.observe([Change::Upsert(north), Change::Upsert(Candidate::new("host-b", 10))]);
//!
//! let mut request = Request::new("guild", "agent");
//! request.labels = [("zone", "north")].into_iter().collect();
//! assert_eq!(live.place(&request)?.host, "host-a");
//! request.excluded = vec!["host-a".to_owned()];
//! assert_eq!(live.place(&request).unwrap_err().reason, r#"no free host in zone Some("north")"#);
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

mod export;
mod fleet;
mod live;
mod settings;
mod types;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod wire;

pub use fleet::{Fleet, Observed};
pub use live::Live;
pub use settings::{InvalidSettings, Settings};
pub use types::{Candidate, Change, Decision, Inputs, Labels, Load, Qos, Refusal, Request, Resources};

/// Answers which host gets an agent.
pub trait Policy: Sized {
    /// What each request must carry.
    const INPUTS: Inputs = Inputs::NONE;

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
}
