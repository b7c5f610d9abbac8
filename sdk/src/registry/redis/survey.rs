//! Which node serves what, as far as is known now.
//!
//! A call that finds it wrong has it found out anew, at once and once for all who ask.
//! Watchers ask nothing for a long time, and might listen for ever to a node that was
//! replaced while it was cut off. So a task looks now and then, and tells them.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use redis::RedisResult;
use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

use super::{
    form::{Form, Map, Nodes},
    renewable::{Made, Renewable},
};

/// The nodes, and what is known of who serves what.
#[derive(Debug)]
pub(super) struct Survey {
    /// What the Redis is called in logs.
    address: String,
    form: Form,
    pub(super) nodes: Nodes,
    map: Renewable<Map>,
    /// The map that was drawn last.
    news: watch::Sender<Option<Map>>,
}

impl Survey {
    pub(super) fn new(address: String, form: Form, nodes: Nodes) -> Self {
        Self { address, form, nodes, map: Renewable::new(), news: watch::Sender::new(None) }
    }

    /// The map, which is drawn now if there is none.
    pub(super) async fn map(&self) -> RedisResult<Made<Map>> {
        // Boxed, since calls mostly do without.
        self.map.get(self.draw().boxed()).await
    }

    /// Has the map drawn anew by the next who needs it.
    pub(super) fn mistrust(&self, map: &Made<Map>) {
        if self.form.moves() {
            self.map.discard(map);
        }
    }

    /// Has the map drawn anew, whichever it is.
    pub(super) fn doubt(&self) {
        if self.form.moves() {
            self.map.clear();
        }
    }

    /// Whether who serves what can change.
    pub(super) fn moves(&self) -> bool {
        self.form.moves()
    }

    /// Is told each map that differs from the one before.
    pub(super) fn news(&self) -> watch::Receiver<Option<Map>> {
        self.news.subscribe()
    }

    /// Looks for changes, as long as the answer is held.
    pub(super) fn look_out(self: &Arc<Self>, every: Duration) -> Option<AbortOnDropHandle<()>> {
        if !self.form.moves() {
            return None;
        }
        let survey = self.clone();
        let looking = async move {
            loop {
                sleep(every).await;
                match survey.draw().await {
                    Ok(map) if survey.map.peek().is_none_or(|known| known != map) => survey.map.set(map),
                    Ok(_) => {}
                    Err(error) => debug!(address = survey.address, %error, "nobody says who serves"),
                }
            }
        };
        Some(AbortOnDropHandle::new(tokio::spawn(looking)))
    }

    async fn draw(&self) -> RedisResult<Map> {
        let before = self.news.borrow().clone();
        let map = self.form.map(&self.nodes, before).await?;
        let is_new = self.news.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&map);
            if changed {
                *known = Some(map.clone());
            }
            changed
        });
        if is_new && self.form.moves() {
            let places = map.places();
            self.nodes.keep_only(&places);
            let masters: Vec<_> = places.iter().map(ToString::to_string).collect();
            info!(address = self.address, ?masters, "the registry is served");
        }
        Ok(map)
    }
}
