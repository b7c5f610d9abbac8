//! `guildhall host` and `guildhall agent`: what operators do with a fleet that is at work.

mod agents;
mod hosts;

use std::{sync::Arc, time::Duration};

use guildhall::{
    engine::{ExecutionEngine, GrpcEngine},
    placement::BuiltIn,
    registry::Registry,
};

pub(crate) use self::{agents::AgentCommand, hosts::HostCommand};
use crate::connection::{RegistryArgs, TlsArgs};

/// How long to look for a host that is named.
const HOSTS_WITHIN: Duration = Duration::from_secs(10);

/// Which fleet.
#[derive(clap::Args)]
pub(crate) struct FleetArgs {
    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    tls: TlsArgs,
}

impl FleetArgs {
    /// Runs `work` with the registry.
    fn registry<T>(
        &self,
        work: impl AsyncFnOnce(Arc<dyn Registry>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.registry.with(async |registry| work(Arc::new(registry)).await)
    }

    /// Runs `work` with an engine that knows the fleet.
    fn engine<T>(&self, work: impl AsyncFnOnce(&GrpcEngine) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let dialer = self.tls.dialer()?;
        self.registry(async |registry| {
            // It decides nothing here, so the policy that takes nothing to load will do.
            let engine = GrpcEngine::builder().registry(registry).dialer(dialer).policy(BuiltIn::RoundRobin);
            let engine = engine.build().await?;
            engine.wait_for_hosts(1, HOSTS_WITHIN).await?;
            let done = work(&engine).await;
            engine.shutdown().await;
            done
        })
    }
}
