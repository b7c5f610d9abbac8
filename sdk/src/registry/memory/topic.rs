//! A channel that costs nothing while nobody watches.

use std::sync::Arc;

use tokio::sync::broadcast;

/// Changes that a watcher may fall behind before it has to begin again with a
/// snapshot.
const BACKLOG: usize = 256;

/// What a watcher reads changes from.
pub(super) type Changes<E> = broadcast::Receiver<Arc<E>>;

/// Tells changes of one kind to all who watch them.
pub(super) struct Topic<E>(Option<broadcast::Sender<Arc<E>>>);

impl<E> Default for Topic<E> {
    fn default() -> Self {
        Self(None)
    }
}

impl<E> Topic<E> {
    pub(super) fn subscribe(&mut self) -> Changes<E> {
        self.0.get_or_insert_with(|| broadcast::Sender::new(BACKLOG)).subscribe()
    }

    pub(super) fn publish(&mut self, event: impl FnOnce() -> E) {
        // The backlog's memory goes when the last watcher has gone.
        self.0.take_if(|watchers| watchers.receiver_count() == 0);
        if let Some(watchers) = &self.0 {
            watchers.send(Arc::new(event())).ok();
        }
    }
}
