//! `guildhall host` and `guildhall agent`: what operators do with a fleet that is at work.

mod agents;
mod hosts;

use std::{sync::Arc, time::Duration};

use guildhall::{
    engine::{ExecutionEngine, GrpcEngine},
    placement::BuiltIn,
    registry::{RedisOptions, RedisRegistry, Registry},
};

pub(crate) use self::{agents::AgentCommand, hosts::HostCommand};

/// How long to look for a host that is named.
const HOSTS_WITHIN: Duration = Duration::from_secs(10);

/// Which fleet.
#[derive(clap::Args)]
pub(crate) struct FleetArgs {
    /// The fleet's registry, as agent-host takes it.
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    redis_url: String,
}

impl FleetArgs {
    /// Runs `work` with the registry.
    fn registry<T>(
        &self,
        work: impl AsyncFnOnce(Arc<dyn Registry>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            work(Arc::new(RedisRegistry::connect(&self.redis_url, RedisOptions::default()).await?)).await
        })
    }

    /// Runs `work` with an engine that knows the fleet.
    fn engine<T>(&self, work: impl AsyncFnOnce(&GrpcEngine) -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.registry(async |registry| {
            // It decides nothing here, so the policy that takes nothing to load will do.
            let engine = GrpcEngine::builder().registry(registry).policy(BuiltIn::RoundRobin).build().await?;
            engine.wait_for_hosts(1, HOSTS_WITHIN).await?;
            let done = work(&engine).await;
            engine.shutdown().await;
            done
        })
    }
}
