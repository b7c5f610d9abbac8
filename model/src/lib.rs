//! The protocol of `docs/consistency.md` as a model, and a check of all worlds that it
//! leads to.
//!
//! Three machines, up to two agents and one registry, whose clocks do not tick alike, live
//! through every history with a bounded number of faults. In each state of each of them
//! no agent has two processes, epochs grow, no stale write is accepted, and nothing is
//! lost. Then the protocol is broken in one place after another, and each time a history
//! must turn up in which one of these does not hold.
//!
//! Begin with [`protocol`]; [`configuration`] says what is looked at.
//!
//! # What the model leaves out
//!
//! - A healthy host renews, or asks for promises, at each tick of its clock; that it does
//!   not is a fault. Everything else happens at any time or never.
//! - Exchanges happen at once, which is when the protocol has the least room, except for
//!   the one that a configuration lets be late.
//! - Councils are whole views: with so few hosts nobody is left out. Whose turn it is, and
//!   whether a host was blind, is not asked: anyone may bury, at any time.
//! - `OUTAGE_PATIENCE`, and the registry's own failures, are not modelled.
//! - Drift is bounded for good (see [`time`]), not for each lease.

pub mod action;
pub mod check;
pub mod configuration;
pub mod flaws;
pub mod host;
pub mod message;
pub mod protocol;
pub mod registry;
pub mod time;
pub mod world;

pub use check::{Outcome, check};
pub use configuration::Configuration;
pub use flaws::Flaw;
