//! How calls reach Redis, whatever its form: each is bounded in time, goes to the node that
//! serves its key, and finds another connection or another node when that fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{ExponentialBuilder, Retryable};
use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation, ServerErrorKind,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{
    RedisOptions,
    address::Address,
    entry::corrupt,
    escort::{Escorted, Keeping},
    form::{Nodes, Place},
    line::refuses_as_replica,
    subscription::Subscription,
    survey::Survey,
    tls::TlsError,
};
use crate::registry::RegistryError;

/// How often one call may be sent elsewhere, or be told to wait, before it fails.
const DETOURS: usize = 5;

/// How long to wait when nobody can serve at the moment.
const SHORT_PAUSE: Duration = Duration::from_millis(50);

/// The way to one Redis, shared by all calls.
pub(super) struct Link {
    address: String,
    survey: Arc<Survey>,
    timeout: Duration,
    replicas: u32,
    _lookout: Option<AbortOnDropHandle<()>>,
}

/// What to ask.
#[derive(Clone, Copy)]
pub(super) enum Question<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

/// How a question is to be put.
#[derive(Clone, Copy)]
struct Manner {
    /// Whether it may reach Redis twice.
    again: bool,
    /// Whether replicas must have what it wrote.
    kept: bool,
}

impl Link {
    /// Connects, trying again for a while when Redis is not there.
    pub(super) async fn open(address: Address, options: &RedisOptions) -> Result<Self, RegistryError> {
        let Address { info, form, name: address } = address;
        let replicas = options.replicas.unwrap_or(form.usual_replicas());
        let nodes = Nodes::new(info, options.call_timeout, form.wants_masters());
        let survey = Arc::new(Survey::new(address.clone(), form, nodes));
        let mut last_error = None;
        let connected = (|| connect(&survey)).retry(backoff()).when(may_pass).notify(|error, delay| {
            warn!(%address, %error, retry_in_ms = delay.as_millis(), "the registry cannot be reached yet");
            last_error = Some(error.clone());
        });
        let connected = timeout(options.connect_within, connected).await;
        match (connected, last_error) {
            (Ok(Ok(())), _) => {
                info!(%address, replicas, "connected to the registry");
                let _lookout = survey.look_out(options.call_timeout);
                Ok(Self { address, survey, timeout: options.call_timeout, replicas, _lookout })
            }
            (Ok(Err(error)), _) | (Err(_), Some(error)) => Err(unavailable(&address, error)),
            (Err(_), None) => Err(RegistryError::Timeout { address, waited: options.connect_within }),
        }
    }

    /// What to call this Redis in logs and errors.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A connection to the node that serves a key.
    pub(super) async fn connection(&self, key: &str) -> Result<MultiplexedConnection, RegistryError> {
        let connecting = async {
            let map = self.survey.map().await?;
            let place = map.value.place(key).ok_or_else(|| unserved(key))?;
            self.survey.nodes.at(place)?.shared.ready().await
        };
        self.bounded(async { connecting.await.map_err(|error| self.explain(key, error)) }).await
    }

    /// Whether one node serves both keys, as far as is known.
    pub(super) async fn are_together(&self, one: &str, other: &str) -> Result<bool, RegistryError> {
        let map = self.survey.map().await.map_err(|error| self.explain(one, error))?;
        Ok(map.value.place(one) == map.value.place(other))
    }

    /// Asks, and asks once more when the connection turns out to be broken. A question
    /// may therefore reach Redis twice. `place` is where the answer is from: it decides on
    /// the node, and errors name it.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        place: &str,
        question: Question<'_>,
    ) -> Result<T, RegistryError> {
        self.put(place, question, Manner { again: true, kept: false }).await
    }

    /// Asks once.
    pub(super) async fn ask_once<T: FromRedisValue>(
        &self,
        place: &str,
        question: Question<'_>,
    ) -> Result<T, RegistryError> {
        self.put(place, question, Manner { again: false, kept: false }).await
    }

    /// Like [`ask`](Self::ask), for what others rely on: the answer counts only when so
    /// many replicas as were asked for have all that Redis wrote until then.
    ///
    /// # Errors
    /// [`RegistryError::NotReplicated`] when they do not have it in time. It was written
    /// all the same, and may or may not survive a failover.
    pub(super) async fn ask_kept<T: FromRedisValue>(
        &self,
        place: &str,
        question: Question<'_>,
    ) -> Result<T, RegistryError> {
        self.put(place, question, Manner { again: true, kept: true }).await
    }

    async fn put<T: FromRedisValue>(
        &self,
        key: &str,
        question: Question<'_>,
        manner: Manner,
    ) -> Result<T, RegistryError> {
        let keeping = (manner.kept && self.replicas > 0).then(|| Keeping {
            replicas: self.replicas,
            until: Instant::now() + self.timeout,
            mark: format!("{key}:kept"),
        });
        self.bounded(async {
            let (answer, got) =
                self.find(key, question, manner, keeping).await.map_err(|error| self.explain(key, error))?;
            if manner.kept && got < u64::from(self.replicas) {
                return Err(self.not_replicated(got));
            }
            Ok(answer)
        })
        .await
    }

    /// Finds a node that answers. Also says how many replicas have it, where that was asked.
    async fn find<T: FromRedisValue>(
        &self,
        key: &str,
        question: Question<'_>,
        manner: Manner,
        keeping: Option<Keeping>,
    ) -> RedisResult<(T, u64)> {
        let mut detours_left = DETOURS;
        let mut may_break = manner.again;
        let mut sent_to: Option<Detour> = None;
        loop {
            let map = self.survey.map().await?;
            let (place, asking) = match sent_to.take() {
                Some(Detour { place, asking }) => (place, asking),
                None => (map.value.place(key).ok_or_else(|| unserved(key))?.clone(), false),
            };
            let node = self.survey.nodes.at(&place)?;
            let line = if keeping.is_some() { &node.kept } else { &node.shared };
            let keeping = keeping.clone();
            let asked = line.with(async |connection| {
                let mut escorted = Escorted { connection, asking, keeping, replicas: 0 };
                let answer = question.put_to(&mut escorted).await?;
                Ok((answer, escorted.replicas))
            });
            let error = match asked.await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let recourse = Recourse::of(&error, &place);
            if !matches!(recourse, Recourse::None | Recourse::To(Detour { asking: true, .. })) {
                self.survey.mistrust(&map);
            }
            match recourse {
                Recourse::Again if may_break => may_break = false,
                Recourse::To(detour) if detours_left > 0 => sent_to = Some(detour),
                Recourse::Later if detours_left > 0 && self.survey.moves() => sleep(SHORT_PAUSE).await,
                _ => return Err(error),
            }
            detours_left -= 1;
        }
    }

    /// Opens a connection that is told what is published on the channels, which are all in
    /// one slot.
    pub(super) async fn subscribe(&self, channels: &[&str]) -> Result<Subscription, RegistryError> {
        let channel = channels.first().copied().unwrap_or_default();
        let listen = async {
            let news = self.survey.news();
            let map = self.survey.map().await?;
            let listen = async {
                let place = map.value.place(channel).ok_or_else(|| unserved(channel))?.clone();
                let node = self.survey.nodes.at(&place)?;
                // Where it matters, this has the node say that it is a master.
                node.shared.ready().await?;
                let mut connection = node.client.get_async_pubsub().await?;
                connection.subscribe(channels).await?;
                // Dropping the other half ends nothing.
                let (_, messages) = connection.split();
                Ok(Subscription { messages, place, channel: channel.to_owned(), news })
            };
            listen.await.inspect_err(|_| self.survey.mistrust(&map))
        };
        self.bounded(async { listen.await.map_err(|error| self.explain("a channel", error)) }).await
    }

    /// Asks every node that serves something.
    pub(super) async fn ask_each<T>(
        &self,
        ask: impl AsyncFn(MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<Vec<(String, T)>, RegistryError> {
        let asking = async {
            let map = self.survey.map().await?;
            let mut answers = Vec::new();
            for place in map.value.places() {
                let answer = self.survey.nodes.at(place)?.shared.with(&ask).await?;
                let name = if *place == Place::Given { self.address.clone() } else { place.to_string() };
                answers.push((name, answer));
            }
            Ok(answers)
        };
        self.bounded(async { asking.await.map_err(|error| self.explain("its settings", error)) }).await
    }

    /// Fails what takes longer than a call may take.
    pub(super) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let mut given_up = GivenUp { link: self, begun: Instant::now(), ended: false };
        match timeout(self.timeout, work).await {
            Ok(outcome) => {
                given_up.ended = true;
                outcome
            }
            Err(_) => Err(self.timed_out()),
        }
    }

    fn timed_out(&self) -> RegistryError {
        RegistryError::Timeout { address: self.address.clone(), waited: self.timeout }
    }

    /// The error of a watcher's connection that ended.
    pub(super) fn disconnected(&self) -> RegistryError {
        let source = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        RegistryError::Unavailable { address: self.address.clone(), source: Box::new(source) }
    }

    fn not_replicated(&self, got: u64) -> RegistryError {
        RegistryError::NotReplicated { address: self.address.clone(), wanted: self.replicas, got }
    }

    fn explain(&self, place: &str, error: RedisError) -> RegistryError {
        let unreadable = matches!(error.kind(), ErrorKind::UnexpectedReturnType | ErrorKind::Parse)
            || matches!(error.code(), Some("CORRUPT" | "WRONGTYPE"));
        if unreadable {
            return corrupt(place, error.detail().map_or_else(|| error.to_string(), str::to_owned));
        }
        if error.code() == Some("NOREPLICAS") {
            // The setting min-replicas-to-write refuses for the same reason, beforehand.
            return self.not_replicated(0);
        }
        unavailable(&self.address, error)
    }
}

/// One call. When it ran out of time, be it here or where a longer one that it is part of
/// is bounded, it may have waited for a node that serves no more.
struct GivenUp<'a> {
    link: &'a Link,
    begun: Instant,
    ended: bool,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if !self.ended && self.begun.elapsed() >= self.link.timeout / 2 {
            self.link.survey.doubt();
        }
    }
}

impl Question<'_> {
    async fn put_to<T: FromRedisValue>(
        &self,
        connection: &mut (impl ConnectionLike + Send),
    ) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Script(script) => script.invoke_async(connection).await,
        }
    }
}

/// Another node, where a question is to be put.
struct Detour {
    place: Place,
    asking: bool,
}

/// What can be done about an error.
enum Recourse {
    None,
    /// Putting the question once more, though it may have been answered.
    Again,
    /// Putting it to another node; this one has not answered it.
    To(Detour),
    /// Putting it a little later; it was not answered.
    Later,
}

impl Recourse {
    fn of(error: &RedisError, said: &Place) -> Self {
        let to = |asking| {
            let place = error.redirect_node().and_then(|(place, _)| Place::read(place, said));
            place.map_or(Self::Later, |place| Self::To(Detour { place, asking }))
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => to(false),
            ErrorKind::Server(ServerErrorKind::Ask) => to(true),
            ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => Self::Later,
            _ if refuses_as_replica(error) => Self::Later,
            _ if error.is_io_error() || error.is_unrecoverable_error() => Self::Again,
            _ => Self::None,
        }
    }
}

fn unserved(key: &str) -> RedisError {
    (ErrorKind::Io, "no node of the cluster serves this slot", key.to_owned()).into()
}

fn unavailable(address: &str, error: RedisError) -> RegistryError {
    let source = match TlsError::of(&error) {
        Some(error) => Box::new(error) as Box<dyn std::error::Error + Send + Sync>,
        None => Box::new(error),
    };
    RegistryError::Unavailable { address: address.to_owned(), source }
}

/// Delays between attempts to reach Redis: 0.1 s doubling to 2 s, with jitter, for ever.
pub(super) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
}

/// Finds out who serves, and connects to them all.
async fn connect(survey: &Survey) -> RedisResult<()> {
    let map = survey.map().await?;
    for place in map.value.places() {
        let ready = async { survey.nodes.at(place)?.shared.ready().await };
        ready.await.inspect_err(|_| survey.mistrust(&map))?;
    }
    Ok(())
}

/// Whether trying again may help.
fn may_pass(error: &RedisError) -> bool {
    let refused = matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig)
        || TlsError::of(error).is_some();
    !refused && !matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}

#[cfg(test)]
mod tests {
    use guildhall_testing::{RedisCluster, RedisServer};

    use super::*;

    async fn open(url: &str, options: &RedisOptions) -> Link {
        Link::open(Address::parse(url, options).unwrap(), options).await.unwrap()
    }

    /// Writes, and writes nothing, and both at once, with a replica that follows and with
    /// one that hangs.
    async fn is_kept_only_when_a_replica_has_it(link: &Link, key: &str, replica: &RedisServer) {
        let script = redis::Script::new("return redis.call('INCR', KEYS[1])");
        let nothing = redis::Script::new("return redis.call('EXISTS', KEYS[1])");
        let (count, look) = (script.key(key), nothing.key(key));
        let (count, look) = (Question::Script(&count), Question::Script(&look));
        assert_eq!(link.ask_kept::<u64>(key, count).await.unwrap(), 1);
        assert_eq!(link.ask_kept::<u64>(key, look).await.unwrap(), 1);
        replica.pause().unwrap();
        for question in [count, look] {
            let begun = Instant::now();
            let error = link.ask_kept::<u64>(key, question).await.unwrap_err();
            assert!(
                matches!(error, RegistryError::NotReplicated { wanted: 1, got: 0, .. }),
                "{error} after {:?}",
                begun.elapsed()
            );
        }
        // Nobody else waits, neither for a read nor for a write.
        let begun = Instant::now();
        assert_eq!(link.ask::<u64>(key, count).await.unwrap(), 3);
        assert!(begun.elapsed() < link.timeout / 2);
        let waiting = link.ask_kept::<u64>(key, count);
        let (waiting, resumed) = tokio::join!(waiting, async {
            sleep(link.timeout / 3).await;
            replica.resume()
        });
        resumed.unwrap();
        assert_eq!(waiting.unwrap(), 4, "it is answered once the replica has it");
    }

    fn options() -> RedisOptions {
        RedisOptions {
            call_timeout: Duration::from_millis(1500),
            replicas: Some(1),
            ..RedisOptions::default()
        }
    }

    #[tokio::test]
    async fn what_others_rely_on_is_kept_by_a_replica() {
        let server = RedisServer::start().unwrap();
        let follow = ["--replicaof", "127.0.0.1", &server.port().to_string()];
        let without = open(&server.url(), &RedisOptions::default()).await;
        let link = open(&server.url(), &options()).await;
        let command = redis::cmd("INCR").arg("n").take();
        let question = Question::Command(&command);
        assert_eq!(without.ask_kept::<u64>("n", question).await.unwrap(), 1, "a single Redis has none");
        let error = link.ask_kept::<u64>("n", question).await.unwrap_err();
        assert!(matches!(error, RegistryError::NotReplicated { got: 0, .. }), "{error}");
        let replica = RedisServer::start_with(&follow).unwrap();
        let followed = async {
            while link.ask_kept::<u64>("n", question).await.is_err() {
                sleep(SHORT_PAUSE).await;
            }
        };
        timeout(Duration::from_secs(20), followed).await.expect("the replica follows");
        is_kept_only_when_a_replica_has_it(&link, "other", &replica).await;
    }

    #[tokio::test]
    async fn in_a_cluster_the_replica_of_the_node_that_wrote_keeps_it() {
        let cluster = RedisCluster::start().unwrap();
        // Time enough to tell before the replica is found to have failed.
        let options = RedisOptions { replicas: None, ..options() };
        let link = open(&cluster.url(), &options).await;
        for key in ["{a}:n", "{b}:n", "{c}:n"] {
            let replica = cluster.replica_of(cluster.master_of(key).unwrap()).unwrap();
            is_kept_only_when_a_replica_has_it(&link, key, &cluster.nodes()[replica]).await;
        }
    }

    #[tokio::test]
    async fn in_a_cluster_each_key_is_found_wherever_it_went() {
        let cluster = RedisCluster::start().unwrap();
        let link = open(&cluster.url(), &options()).await;
        let key = "{moved}:n";
        let command = redis::cmd("INCR").arg(key).take();
        let ask = async || link.ask::<u64>(key, Question::Command(&command)).await.unwrap();
        assert_eq!(ask().await, 1);
        let channel = "{moved}:changes";
        let mut told = link.subscribe(&[channel]).await.unwrap();
        let from = cluster.master_of(key).unwrap();
        let to = (from + 1) % 3;
        let id = |node: usize| cluster.ask(node, "CLUSTER MYID").unwrap().lines().last().unwrap().to_owned();
        let slot = cluster.ask(from, &format!("CLUSTER KEYSLOT {key}")).unwrap();
        let slot = slot.trim_start_matches(':').trim().to_owned();
        let set = |node: usize, what: &str| {
            let said = cluster.ask(node, &format!("CLUSTER SETSLOT {slot} {what}")).unwrap();
            assert!(said.starts_with("+OK"), "{said}");
        };
        set(to, &format!("IMPORTING {}", id(from)));
        set(from, &format!("MIGRATING {}", id(to)));
        assert_eq!(ask().await, 2, "it is still here");
        let port = cluster.nodes()[to].port();
        let said = cluster.ask(from, &format!("MIGRATE 127.0.0.1 {port} {key} 0 1000")).unwrap();
        assert!(said.starts_with("+OK"), "{said}");
        assert_eq!(ask().await, 3, "it is on the other side, which answers when asked so");
        assert_eq!(link.ask_kept::<u64>(key, Question::Command(&command)).await.unwrap(), 4);
        set(to, &format!("NODE {}", id(to)));
        set(from, &format!("NODE {}", id(to)));
        assert_eq!(ask().await, 5, "it has moved");
        assert_eq!(ask().await, 6);
        let left = timeout(Duration::from_secs(20), told.next()).await;
        assert!(left.unwrap().is_none(), "who listens is to listen elsewhere");
        let mut told = link.subscribe(&[channel]).await.unwrap();
        let news = redis::cmd("PUBLISH").arg(channel).arg("news").take();
        let _: u64 = link.ask(channel, Question::Command(&news)).await.unwrap();
        let message = timeout(Duration::from_secs(20), told.next()).await.unwrap().unwrap();
        assert_eq!(message.get_payload_bytes(), b"news");
    }
}
