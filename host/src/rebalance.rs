//! After hosts joined: agents of this host that the policy would rather have elsewhere,
//! moved a few a minute. A policy that proposes no moves leaves all where they are.

use std::{sync::Arc, time::Duration};

use guildhall::{agent::AgentState, engine::GrpcEngine, registry::Registry};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{moving::Mover, supervisor::Supervisor};

/// How long after hosts joined the first moves are made, so that more may join.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// What the moves are counted by.
const MINUTE: Duration = Duration::from_secs(60);

/// Everything that rebalancing needs.
pub(crate) struct Rebalance {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) supervisor: Supervisor,
    pub(crate) engine: GrpcEngine,
    pub(crate) mover: Mover,
    /// Moves a minute at most; 0 for none.
    pub(crate) a_minute: usize,
    /// How long an agent may take to end.
    pub(crate) grace: Duration,
}

impl Rebalance {
    /// Moves agents whenever hosts have joined, until it is cancelled.
    pub(crate) async fn run(self, cancelled: CancellationToken) {
        if self.a_minute == 0 {
            return cancelled.cancelled().await;
        }
        let mut count = self.engine.host_count();
        let mut known = count.borrow_and_update().unwrap_or(0);
        loop {
            tokio::select! {
                () = cancelled.cancelled() => return,
                changed = count.changed() => if changed.is_err() { return },
            }
            let now = count.borrow_and_update().unwrap_or(0);
            if std::mem::replace(&mut known, now) >= now {
                continue;
            }
            tokio::select! {
                () = cancelled.cancelled() => return,
                () = self.spread() => {}
            }
        }
    }

    /// Makes the moves that the policy proposes until it proposes none.
    async fn spread(&self) {
        sleep(SETTLED_AFTER.mul_f64(1.0 + rand::random::<f64>())).await;
        while self.move_some().await {
            sleep(MINUTE).await;
        }
    }

    /// Answers whether some were moved, so that there may be more.
    async fn move_some(&self) -> bool {
        let mut agents = Vec::new();
        for agent in self.supervisor.list(None) {
            if agent.state == AgentState::Running
                && let Ok(Some(launch)) = self.registry.launch(&agent.key, agent.epoch).await
            {
                agents.push((launch, agent.host));
            }
        }
        let moves = match self.engine.propose_moves(&agents, self.a_minute) {
            Ok(moves) => moves,
            Err(error) => {
                debug!(%error, "the policy proposes no moves");
                return false;
            }
        };
        for proposed in &moves {
            let Some((launch, _)) = agents.get(proposed.agent) else { continue };
            match self.mover.move_agent(&launch.key, Some(&proposed.to), self.grace).await {
                Ok(agent) => {
                    info!(agent = %agent.key, to = %agent.host, reason = proposed.reason, "rebalanced")
                }
                Err(error) => debug!(agent = %launch.key, %error, "the agent is not moved"),
            }
        }
        !moves.is_empty()
    }
}
