//! Watching the agents of a supervisor.

use std::sync::{Arc, Weak};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use guildhall::agent::AgentEvent;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::Shared;

/// A watcher holds the supervisor weakly, so it does not keep it alive.
struct Watcher {
    shared: Weak<Shared>,
    /// `None` when the next event is to be a snapshot.
    changes: Option<Receiver<AgentEvent>>,
}

impl Watcher {
    async fn next(&mut self) -> Option<AgentEvent> {
        if let Some(changes) = &mut self.changes {
            match changes.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "a watcher was too slow"),
            }
        }
        let (agents, changes) = self.shared.upgrade()?.table.watch()?;
        self.changes = Some(changes);
        Some(AgentEvent::Snapshot(agents))
    }
}

pub(super) fn watch(shared: &Arc<Shared>) -> BoxStream<'static, AgentEvent> {
    let watcher = Watcher { shared: Arc::downgrade(shared), changes: None };
    stream::unfold(watcher, async |mut watcher| watcher.next().await.map(|event| (event, watcher))).boxed()
}
