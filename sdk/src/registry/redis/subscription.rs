//! A connection that is told what is published on some channels, at the node where the
//! keys of these channels are.
//!
//! In a Cluster any node would be told, since nodes pass on to each other what is
//! published. But they do so over a link that forgets what it could not deliver, and the
//! order of two nodes' words is nobody's. At the node that carries out the scripts, what
//! they tell arrives in the order in which they ran, as with a single Redis. So when that
//! is another node the subscription ends, and is to be made there.

use futures::StreamExt;
use redis::{Msg, aio::PubSubStream};
use tokio::sync::watch;

use super::form::{Map, Place};

/// What is told on some channels, until the connection or its node is the wrong one.
pub(super) struct Subscription {
    pub(super) messages: PubSubStream,
    pub(super) place: Place,
    /// One of the channels; all of them are in one slot.
    pub(super) channel: String,
    pub(super) news: watch::Receiver<Option<Map>>,
}

impl Subscription {
    /// The next message; `None` when there will be no more here.
    pub(super) async fn next(&mut self) -> Option<Msg> {
        loop {
            let map = self.news.borrow_and_update().clone();
            if map.is_some_and(|map| map.place(&self.channel) != Some(&self.place)) {
                return None;
            }
            tokio::select! {
                message = self.messages.next() => return message,
                news = self.news.changed() => news.ok()?,
            }
        }
    }
}
