//! What a fleet survives, and how fast: real `agent-host` processes on a real Redis, from
//! which something is taken away.
//!
//! | file | figure |
//! | --- | --- |
//! | `failover.rs` | a host is killed: until its agents run elsewhere |
//! | `drain.rs` | a host is drained: until it is empty, and how long each agent was down |
//! | `steady.rs` | nothing happens: what that costs Redis |
//! | `outage.rs` | Redis is gone for minutes: what becomes of agents and calls |
//! | `fleet.rs` | the processes |
//! | `lives.rs` | when which agent ran, by the agents' own testimony |
//!
//! Times are taken from the agents' testimonies alone, on the clock that all processes
//! share; none comes from a host or from Redis.

pub(crate) mod drain;
pub(crate) mod failover;
mod fleet;
mod lives;
pub(crate) mod outage;
pub(crate) mod steady;
