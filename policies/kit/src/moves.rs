//! Agents that would be better elsewhere.

use alloc::string::String;

use crate::{Candidate, Resources};

/// An agent that has a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placed {
    /// The guild it belongs to.
    pub guild: String,
    /// Its id.
    pub agent: String,
    /// The class that implements it.
    pub class_name: String,
    /// What it needs of its host.
    pub resources: Resources,
    /// The host it is on.
    pub host: String,
}

/// One agent's move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which of the agents that were asked about.
    pub agent: u32,
    /// The host it should go to.
    pub to: String,
    /// Why, for people to read.
    pub reason: String,
}

impl Move {
    /// Moves an agent to `host`.
    pub fn new(agent: usize, to: &Candidate, reason: impl Into<String>) -> Self {
        Self { agent: agent as u32, to: to.id.clone(), reason: reason.into() }
    }
}
