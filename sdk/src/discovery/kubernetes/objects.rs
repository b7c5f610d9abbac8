//! What a watch has told of the objects of one kind.

use std::{collections::HashMap, fmt::Debug, future::pending};

use futures::{Stream, StreamExt, stream::BoxStream};
use kube::{
    ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tracing::{info, warn};

/// What the objects are for, to say what to do when they cannot be had.
pub(super) enum Wanted {
    /// Without these there is no fleet.
    Needed(String),
    /// These give labels alone.
    Labels(&'static str),
}

/// The objects that a watch told of, by name. A watch that fails is begun again, later
/// and later, and what it told stays.
pub(super) struct Objects<K> {
    events: Option<BoxStream<'static, Result<watcher::Event<K>, watcher::Error>>>,
    wanted: Wanted,
    by_name: HashMap<String, K>,
    /// Those of a list that has not ended.
    listing: HashMap<String, K>,
    listed: bool,
    /// What was said of a failure last, while it lasts.
    failing: Option<String>,
}

impl<K: ResourceExt + Debug + Send + 'static> Objects<K> {
    pub(super) fn new(
        events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
        wanted: Wanted,
    ) -> Self {
        Self { events: Some(events.default_backoff().boxed()), wanted, ..Self::none() }
    }

    /// None, and no watch.
    pub(super) fn none() -> Self {
        Self {
            events: None,
            wanted: Wanted::Labels(""),
            by_name: HashMap::new(),
            listing: HashMap::new(),
            listed: false,
            failing: None,
        }
    }

    /// Waits until something has changed. Dropping the future loses nothing.
    pub(super) async fn changed(&mut self) {
        loop {
            let event = match &mut self.events {
                Some(events) => events.next().await,
                None => pending().await,
            };
            match event {
                Some(Ok(event)) => {
                    if self.take(event) {
                        return;
                    }
                }
                Some(Err(error)) => self.fail(&error),
                None => self.events = None,
            }
        }
    }

    /// Answers whether what is known is another now.
    fn take(&mut self, event: watcher::Event<K>) -> bool {
        if self.failing.take().is_some() {
            info!(of = self.what(), "the API server tells again");
        }
        match event {
            watcher::Event::Init => self.listing.clear(),
            watcher::Event::InitApply(object) => drop(self.listing.insert(object.name_any(), object)),
            watcher::Event::InitDone => {
                self.by_name = std::mem::take(&mut self.listing);
                if self.by_name.is_empty()
                    && let Wanted::Needed(what) = &self.wanted
                {
                    warn!("there are no {what}: is it the right name, and does its selector match pods?");
                }
                self.listed = true;
                return true;
            }
            watcher::Event::Apply(object) => {
                self.by_name.insert(object.name_any(), object);
                return true;
            }
            watcher::Event::Delete(object) => {
                self.by_name.remove(&object.name_any());
                return true;
            }
        }
        false
    }

    /// Says once what is wrong, and what to do.
    fn fail(&mut self, error: &watcher::Error) {
        let kind = kind_of(error);
        if self.failing.as_ref() == Some(&kind) {
            return;
        }
        match (&self.wanted, refused(error)) {
            (Wanted::Labels(of), true) => {
                info!("labels of {of} are left out: this account may not list and watch {of}");
            }
            (Wanted::Needed(what), true) => {
                warn!(%error, "this account may not list and watch {what}: bind it to a role with get, list and watch on endpointslices.discovery.k8s.io");
            }
            _ => {
                warn!(%error, of = self.what(), "the API server does not tell; what it told last is gone by")
            }
        }
        self.failing = Some(kind);
    }

    fn what(&self) -> &str {
        match &self.wanted {
            Wanted::Needed(what) => what,
            Wanted::Labels(what) => what,
        }
    }

    /// Whether all of them have been told of once.
    pub(super) fn are_listed(&self) -> bool {
        self.listed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &K> {
        self.by_name.values()
    }

    pub(super) fn named(&self, name: &str) -> Option<&K> {
        self.by_name.get(name)
    }
}

fn refused(error: &watcher::Error) -> bool {
    status_of(error).is_some_and(|code| code == 401 || code == 403)
}

/// The same for failures that need the same to be done about them.
fn kind_of(error: &watcher::Error) -> String {
    status_of(error).map_or_else(|| "unreachable".to_owned(), |code| code.to_string())
}

fn status_of(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}
