//! Streams of what is now, then of changes.
//!
//! A watcher has a connection of its own that is told what scripts publish, and the
//! shared one to ask on. Redis tells each connection in the order in which it carried
//! things out, but two connections have no order between them: what was published
//! before a listing may arrive after it, and would bring an old state back. So the
//! script that lists also publishes an empty message on a channel of the watcher's own,
//! the *mark*, in the same instant. What arrives before the mark is in the listing
//! already; what arrives after it is newer. No numbers are needed, and one epoch's
//! updates are in order, too. In a Cluster the watcher listens at the node that carries
//! out these scripts, so the same holds there: see [`subscription`](super::subscription).
//!
//! A watcher is one task, which always reads, since its connection would otherwise
//! grow a queue without bound here and in Redis. It hands over through a bounded
//! queue; a consumer that lets that fill up gets a new snapshot once it has made room.
//! When the connection breaks, the task connects again and begins with a snapshot.
//! Dropping the stream ends the task and its connection.

mod guild;
mod hosts;

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff};
use futures::{
    StreamExt,
    future::{BoxFuture, OptionFuture},
    stream::{self, BoxStream},
};
use redis::Msg;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{
    link::{Link, backoff},
    schema::{GuildKeys, HostKeys},
    subscription::Subscription,
};
pub(super) use crate::registry::redis::watch::hosts::live_host;
use crate::{agent::AgentEvent, host::HostEvent, ids::GuildId, registry::RegistryError};

/// Events that a consumer may leave unread before it has to begin again with a
/// snapshot.
const BACKLOG: usize = 256;

pub(super) fn hosts(link: Arc<Link>, keys: HostKeys, check_every: Duration) -> BoxStream<'static, HostEvent> {
    watch(link, hosts::Hosts::new(keys, check_every))
}

pub(super) fn guild(link: Arc<Link>, guild: GuildId, keys: GuildKeys) -> BoxStream<'static, AgentEvent> {
    watch(link, guild::Guild::new(guild, keys))
}

/// What can be watched.
trait Subject: Send + Sync + 'static {
    type Event: Send + 'static;
    type Listing: Send + 'static;
    type Check: Send + 'static;

    /// The channel that tells its changes.
    fn channel(&self) -> &str;

    /// A channel of one watcher's own, in the same slot.
    fn fresh_mark(&self) -> String;

    /// Asks for all there is, telling the mark in the same instant.
    fn list(&self, link: Arc<Link>, mark: String) -> Answer<Self::Listing>;

    /// Takes a listing for all there is.
    fn begin(&mut self, listing: Self::Listing) -> Self::Event;

    /// Takes a change; `None` when it is no news.
    fn change(&mut self, message: &[u8]) -> Option<Self::Event>;

    /// When to look for what happens without being told; `None` when nothing does.
    fn next_check(&self) -> Option<Instant>;

    /// Looks for that, telling the mark in the same instant.
    fn check(&self, link: Arc<Link>, mark: String) -> Answer<Self::Check>;

    /// Takes what was found; `None` when it does not fit what is known.
    fn checked(&mut self, found: Self::Check) -> Option<Vec<Self::Event>>;
}

type Answer<T> = BoxFuture<'static, Result<T, RegistryError>>;

fn watch<S: Subject>(link: Arc<Link>, subject: S) -> BoxStream<'static, S::Event> {
    let start = async move {
        let (events, unread) = mpsc::channel(BACKLOG);
        let watcher =
            Watcher { mark: subject.fresh_mark(), link, subject, events, delays: backoff().build() };
        let task = AbortOnDropHandle::new(tokio::spawn(watcher.run()));
        stream::unfold((unread, task), |(mut unread, task)| async {
            unread.recv().await.map(|event| (event, (unread, task)))
        })
    };
    stream::once(start).flatten().boxed()
}

/// The task behind one stream.
struct Watcher<S: Subject> {
    link: Arc<Link>,
    subject: S,
    mark: String,
    events: mpsc::Sender<S::Event>,
    /// How long to wait before each of the next attempts to connect.
    delays: ExponentialBackoff,
}

/// Why following the changes ends while the connection holds.
enum BeginAgain {
    /// The consumer left too much unread.
    FellBehind,
    /// What is known does not fit what Redis says.
    Drifted,
}

impl<S: Subject> Watcher<S> {
    async fn run(mut self) {
        loop {
            let Err(error) = self.session().await;
            let delay = self.delays.next().unwrap_or_default();
            warn!(channel = self.subject.channel(), %error, retry_in_ms = delay.as_millis(), "a watch broke off");
            sleep(delay).await;
        }
    }

    /// One connection's life.
    async fn session(&mut self) -> Result<Infallible, RegistryError> {
        let mut messages = self.link.subscribe(&[self.subject.channel(), &self.mark]).await?;
        loop {
            self.snapshot(&mut messages).await?;
            self.delays = backoff().build();
            match self.follow(&mut messages).await? {
                BeginAgain::FellBehind => debug!(channel = self.subject.channel(), "a watcher fell behind"),
                BeginAgain::Drifted => warn!(channel = self.subject.channel(), "a watch missed changes"),
            }
        }
    }

    /// Waits until the consumer has room, then hands it all there is.
    async fn snapshot(&mut self, messages: &mut Subscription) -> Result<(), RegistryError> {
        let events = self.events.clone();
        let mut room = std::pin::pin!(events.reserve());
        let room = loop {
            tokio::select! {
                room = &mut room => match room {
                    Ok(room) => break room,
                    // The stream was dropped, and this task is about to be.
                    Err(_) => pending().await,
                },
                message = messages.next() => drop(self.expect(message)?),
            }
        };
        let listing = self.subject.list(self.link.clone(), self.mark.clone());
        let (listing, _already_listed) = self.until_marked(messages, listing).await?;
        room.send(self.subject.begin(listing));
        Ok(())
    }

    /// Hands over changes as they come.
    async fn follow(&mut self, messages: &mut Subscription) -> Result<BeginAgain, RegistryError> {
        loop {
            let check = OptionFuture::from(self.subject.next_check().map(sleep_until));
            let events = tokio::select! {
                biased;
                // First, or a check might be put off for ever.
                Some(()) = check => {
                    let found = self.subject.check(self.link.clone(), self.mark.clone());
                    let (found, told_before) = self.until_marked(messages, found).await?;
                    let mut events = self.changes(&told_before);
                    match self.subject.checked(found) {
                        Some(news) => events.extend(news),
                        None => return Ok(BeginAgain::Drifted),
                    }
                    events
                }
                message = messages.next() => {
                    let message = self.expect(message)?;
                    self.changes(&[message])
                }
            };
            for event in events {
                if self.events.try_send(event).is_err() {
                    return Ok(BeginAgain::FellBehind);
                }
            }
        }
    }

    fn changes(&mut self, messages: &[Msg]) -> Vec<S::Event> {
        messages.iter().filter_map(|message| self.subject.change(message.get_payload_bytes())).collect()
    }

    /// Waits for an answer and for the mark of its moment. Also returns what was told
    /// before the mark.
    async fn until_marked<T>(
        &self,
        messages: &mut Subscription,
        answer: Answer<T>,
    ) -> Result<(T, Vec<Msg>), RegistryError> {
        let told_before = async {
            let mut told = Vec::new();
            loop {
                let message = self.expect(messages.next().await)?;
                if message.get_channel_name() == self.mark {
                    return Ok(told);
                }
                told.push(message);
            }
        };
        self.link.bounded(async { tokio::try_join!(answer, told_before) }).await
    }

    fn expect(&self, message: Option<Msg>) -> Result<Msg, RegistryError> {
        message.ok_or_else(|| self.link.disconnected())
    }
}
