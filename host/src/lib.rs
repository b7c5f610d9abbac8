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
//! | `service`, `peer_service` | the gRPC calls of engines and operators, and of other hosts |
//! | `replies` | calls that are carried out once |
//! | [`server`] | who may connect and call what, and how many calls at once; health |
//! | [`tenure`] | keeps the lease, and with it the right to run agents |
//! | `failover` | sees to the agents of hosts that are gone |
//! | `moving`, `rebalance` | moves agents to other hosts: drain, one by one, after hosts joined |
//! | [`supervisor`] | starts, watches, restarts and stops agents |
//! | [`fence`] | ends all agents when the host may not run them any more |
//! | [`state_dir`] | what a host remembers across its processes |
//! | `deletion_cost` | tells Kubernetes how many agents a pod has (feature `kubernetes`) |
//! | [`runner`] | the operator's table: what is executed for which class |
//! | [`launch_document`] | what a runner is told |
//!
//! A host never decides where an agent goes (its engine's policy does), nor who
//! holds an identity (the registry does); it is the authority on its capacity.

pub mod clock;
pub mod config;
#[cfg(feature = "kubernetes")]
pub mod deletion_cost;
mod failover;
mod fault;
pub mod fence;
mod fleet;
mod host;
pub mod launch_document;
mod load;
mod moving;
mod peer_service;
mod rebalance;
mod replies;
pub mod runner;
pub mod server;
mod service;
#[cfg(test)]
mod simulation;
pub mod state_dir;
pub mod supervisor;
pub mod tenure;

#[doc(hidden)]
pub use self::service::{page_key, page_token};
pub use self::{
    config::{HostArgs, HostConfig},
    fleet::{Fleet, FleetBuilder, FleetError},
    host::{Host, HostError},
};
