//! Orphans: the policy chooses another host for each, which adopts it.

use futures::{StreamExt, stream};
use guildhall::{
    agent::{AgentInfo, AgentState, LastExit},
    engine::EngineError,
    registry::Claimed,
};
use tracing::{debug, error, info, warn};

use super::Failover;

/// Adoptions under way at once from this host.
const AT_ONCE: usize = 16;

pub(super) struct Adoptions {
    failover: Failover,
}

impl Adoptions {
    pub(super) fn new(failover: Failover) -> Self {
        Self { failover }
    }

    /// Finds hosts for the orphans for which this host is first, or with `everybody` for
    /// all. Answers whether there were any.
    pub(super) async fn run(&self, everybody: bool) -> bool {
        let orphans = match self.failover.registry.orphans().await {
            Ok(orphans) => orphans,
            Err(error) => {
                debug!(%error, "orphans cannot be looked for");
                return true;
            }
        };
        let found = orphans.len();
        let own: Vec<_> = orphans
            .into_iter()
            .filter(|orphan| everybody || self.failover.is_first(&orphan.agent.key.to_string()))
            .collect();
        if own.is_empty() {
            return found > 0;
        }
        info!(orphans = found, own = own.len(), "agents have no host; finding one for them");
        let mut adoptions =
            stream::iter(own).map(async |orphan| self.adopt(orphan).await).buffer_unordered(AT_ONCE);
        while adoptions.next().await.is_some() {}
        true
    }

    async fn adopt(&self, orphan: Claimed) {
        let record = orphan.agent;
        let launch = match self.failover.registry.launch(&record.key, record.epoch).await {
            Ok(Some(launch)) => launch,
            // It was adopted or stopped meanwhile, or was never accepted.
            Ok(None) => return self.give_up_without_launch(record).await,
            Err(error) => return debug!(agent = %record.key, %error, "its launch cannot be read"),
        };
        match self.failover.engine.adopt_agent(&record, &launch).await {
            Ok(()) | Err(EngineError::NotFound { .. }) => {}
            Err(EngineError::NoHost { reason, .. }) if !record.failed_on.is_empty() => {
                let reason = format!("there is no host on which it has not failed: {reason}");
                self.fail(record, reason).await;
            }
            Err(error) => warn!(agent = %record.key, %error, "the agent waits for a host"),
        }
    }

    /// Nobody can start an agent whose launch is not kept: that must be told.
    async fn give_up_without_launch(&self, record: AgentInfo) {
        match self.failover.registry.agent(&record.key).await {
            Ok(Some(now)) if now.agent.epoch == record.epoch => {
                let reason = "its host is gone, and its launch is not kept in the registry".to_owned();
                self.fail(record, reason).await;
            }
            _ => {}
        }
    }

    async fn fail(&self, record: AgentInfo, reason: String) {
        let last = record.last_exit.unwrap_or_default();
        let reason = match last.reason.as_str() {
            "" => reason,
            before => format!("{reason}; {before}"),
        };
        error!(agent = %record.key, reason, "the agent has failed");
        let failed = AgentInfo {
            state: AgentState::Failed,
            pid: None,
            last_exit: Some(LastExit { reason, ..last }),
            ..record
        };
        if let Err(error) = self.failover.registry.update(&failed).await {
            debug!(agent = %failed.key, %error, "it has a host again");
        }
    }
}
