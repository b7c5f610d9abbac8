//! Guildhall runs long-lived agent processes on a fleet of hosts and lets a
//! WebAssembly policy decide which host gets which agent. This crate is what an
//! app depends on.
//!
//! Begin with [`GrpcEngine`](engine::GrpcEngine), which implements
//! [`ExecutionEngine`](engine::ExecutionEngine), and a
//! [`GuildSpec`](spec::GuildSpec):
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use guildhall::{
//!     engine::{ExecutionEngine, GrpcEngine},
//!     launch::LaunchOptions,
//!     placement::BuiltIn,
//!     registry::{RedisOptions, RedisRegistry},
//!     spec::GuildSpec,
//! };
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = RedisRegistry::connect("redis://127.0.0.1:6379", RedisOptions::default()).await?;
//! let engine = GrpcEngine::builder()
//!     .registry(Arc::new(registry))
//!     .policy(BuiltIn::LeastLoaded)
//!     .build()
//!     .await?;
//!
//! let guild = GuildSpec::from_path("guild.yaml")?;
//! for outcome in engine.run_guild(&guild, &LaunchOptions::default()).await {
//!     let agent = outcome.result?;
//!     println!("{} runs on {} under epoch {}", agent.key, agent.host, agent.epoch);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`engine`] | run, find, watch and stop agents |
//! | [`spec`] | guilds and agents as Rustic AI writes them |
//! | [`launch`] | everything a host needs to start one agent |
//! | [`placement`] | policies: load one, keep it informed, ask it |
//! | [`registry`] | the shared store of hosts, agents and leases |
//! | [`discovery`] | which hosts there are |
//! | [`transport`] | how they are spoken to: plain text or TLS |
//! | [`ids`], [`agent`], [`host`], [`resources`], [`fault`] | the words all of them use |
//! | [`wire`] | the one place where those words meet the gRPC messages |

pub mod agent;
pub mod discovery;
pub mod engine;
pub mod fault;
mod fleet;
pub mod host;
pub mod ids;
pub mod launch;
pub mod placement;
#[doc(hidden)]
pub mod planted;
pub mod registry;
pub mod resources;
pub mod spec;
pub mod transport;
pub mod wire;
