//! Guildhall's host: supervises agents, one operating-system process each.
//!
//! Operators run the binary `agent-host`; programs embed a [`Fleet`]. What is
//! inside, from the outside in:
//!
//! | module | what it does |
//! | --- | --- |
//! | [`config`] | flags and environment, validated whole |
//! | [`Host`] | one host: starts and ends its parts in order |
//! | [`Fleet`] | several hosts in one process, for demos, tests and laptops |
//! | `service` | the gRPC calls |
//! | `heartbeat` | keeps the lease, tells the load |
//! | [`supervisor`] | starts, watches, restarts and stops agents |
//! | [`fence`] | ends all agents when the host may not run them any more |
//! | [`state_dir`] | what a host remembers across its processes |
//! | [`runner`] | the operator's table: what is executed for which class |
//! | [`launch_document`] | what a runner is told |
//!
//! A host never decides where an agent goes (its engine's policy does), nor who
//! holds an identity (the registry does); it is the authority on its capacity.

pub mod clock;
pub mod config;
mod fault;
pub mod fence;
mod fleet;
mod heartbeat;
mod host;
pub mod launch_document;
mod load;
pub mod runner;
mod service;
pub mod state_dir;
pub mod supervisor;
mod unreadable;

pub use self::{
    config::{HostArgs, HostConfig},
    fleet::{Fleet, FleetBuilder, FleetError},
    host::{Host, HostError},
};
