//! The engine: what an app calls to run agents on a fleet.
//!
//! [`ExecutionEngine`] is the interface; [`GrpcEngine`] runs agents on
//! `agent-host` processes. Agents outlive the engine that started them: another
//! app may find and stop them.

mod error;
mod grpc;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use self::{
    error::{EngineError, Tried},
    grpc::{DrainProgress, GrpcEngine, GrpcEngineBuilder, Predecessor, Retries, Timeouts},
};
use crate::{
    agent::{AgentEvent, AgentInfo},
    ids::{AgentKey, GuildId},
    launch::{Launch, LaunchOptions},
    spec::GuildSpec,
};

/// What came of one agent of a guild.
#[derive(Debug)]
pub struct AgentOutcome {
    /// Which agent.
    pub key: AgentKey,
    /// The agent as it was started or stopped, or why not.
    pub result: Result<AgentInfo, EngineError>,
}

/// Runs, finds, watches and stops agents.
#[async_trait]
pub trait ExecutionEngine: Send + Sync + std::fmt::Debug {
    /// Starts one agent on a host that the policy chooses, and answers when it is
    /// ready.
    ///
    /// # Errors
    /// [`EngineError`]; after an error of this call no process of this launch is
    /// left running, except where [`EngineError::Timeout`] says that it may be.
    async fn run_agent(&self, launch: Launch) -> Result<AgentInfo, EngineError>;

    /// Starts all agents of a guild at once, with bounded concurrency, and answers
    /// one outcome for each in the order of the spec. One agent's failure does not
    /// stop the others.
    async fn run_guild(&self, guild: &GuildSpec, options: &LaunchOptions) -> Vec<AgentOutcome>;

    /// Stops one agent and forgets it. Answers when its process is gone.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is no such agent.
    async fn stop_agent(&self, key: &AgentKey) -> Result<AgentInfo, EngineError>;

    /// Stops all agents of a guild at once: one outcome for each.
    ///
    /// # Errors
    /// [`EngineError`] when the guild's agents cannot be listed.
    async fn stop_guild(&self, guild: &GuildId) -> Result<Vec<AgentOutcome>, EngineError>;

    /// One agent, also one that failed or finished; `None` when there is none.
    ///
    /// # Errors
    /// [`EngineError`] when it cannot be known.
    async fn get_agent(&self, key: &AgentKey) -> Result<Option<AgentInfo>, EngineError>;

    /// All agents of a guild, sorted by id.
    ///
    /// # Errors
    /// [`EngineError`] when they cannot be known.
    async fn get_agents_in_guild(&self, guild: &GuildId) -> Result<Vec<AgentInfo>, EngineError>;

    /// The agents of a guild that have this name. Names need not be unique.
    ///
    /// # Errors
    /// [`EngineError`] when they cannot be known.
    async fn find_agents_by_name(&self, guild: &GuildId, name: &str) -> Result<Vec<AgentInfo>, EngineError>;

    /// Whether the agent's process is there and ready.
    ///
    /// # Errors
    /// [`EngineError`] when it cannot be known.
    async fn is_agent_running(&self, key: &AgentKey) -> Result<bool, EngineError>;

    /// The agents of a guild: a snapshot, then changes, until it is dropped or the
    /// engine shuts down.
    fn watch(&self, guild: &GuildId) -> BoxStream<'static, AgentEvent>;

    /// Closes the engine: running calls end with [`EngineError::ShutDown`], its
    /// connections are closed. The agents go on.
    async fn shutdown(&self);
}
