//! The connection to Redis: every call is bounded in time, and a connection that broke
//! is made anew by the next call.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig, PubSub},
};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{RedisOptions, address::Address, entry::corrupt};
use crate::registry::RegistryError;

/// A connection to one Redis, shared by all calls.
pub(super) struct Link {
    address: String,
    client: Client,
    manager: ConnectionManager,
    timeout: Duration,
}

/// What to ask.
pub(super) enum Question<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

impl Link {
    /// Connects, trying again for a while when Redis is not there.
    pub(super) async fn open(address: Address, options: &RedisOptions) -> Result<Self, RegistryError> {
        let Address { info, name: address } = address;
        let client = Client::open(info)
            .map_err(|error| RegistryError::Address { url: address.clone(), reason: error.to_string() })?;
        let mut last_error = None;
        let connected = (|| connect(client.clone(), options.call_timeout))
            .retry(backoff())
            .when(may_pass)
            .notify(|error, delay| {
                warn!(%address, %error, retry_in_ms = delay.as_millis(), "the registry cannot be reached yet");
                last_error = Some(error.clone());
            });
        let connected = timeout(options.connect_within, connected).await;
        match (connected, last_error) {
            (Ok(Ok(manager)), _) => {
                info!(%address, "connected to the registry");
                Ok(Self { address, client, manager, timeout: options.call_timeout })
            }
            (Ok(Err(error)), _) | (Err(_), Some(error)) => {
                Err(RegistryError::Unavailable { address, source: Box::new(error) })
            }
            (Err(_), None) => Err(RegistryError::Timeout { address, waited: options.connect_within }),
        }
    }

    /// What to call this Redis in logs and errors.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The connection itself.
    pub(super) fn connection(&self) -> ConnectionManager {
        self.manager.clone()
    }

    /// Asks, and asks once more when the connection turns out to be broken. A question
    /// may therefore reach Redis twice. `place` is where the answer is from, for errors.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        place: &str,
        question: Question<'_>,
    ) -> Result<T, RegistryError> {
        self.bounded(async {
            let answer = match question.put_to(self.connection()).await {
                // The first failure is often an old one: that of an attempt to connect
                // which the manager remembers. It has just begun another.
                Err(error) if error.is_io_error() => question.put_to(self.connection()).await,
                answer => answer,
            };
            answer.map_err(|error| self.explain(place, error))
        })
        .await
    }

    /// Asks once.
    pub(super) async fn ask_once<T: FromRedisValue>(
        &self,
        place: &str,
        question: Question<'_>,
    ) -> Result<T, RegistryError> {
        let answer = question.put_to(self.connection());
        self.bounded(async { answer.await.map_err(|error| self.explain(place, error)) }).await
    }

    /// Opens a connection that is told what is published on the channels.
    pub(super) async fn subscribe(&self, channels: &[&str]) -> Result<PubSub, RegistryError> {
        self.bounded(async {
            let listen = async {
                let mut connection = self.client.get_async_pubsub().await?;
                connection.subscribe(channels).await?;
                Ok(connection)
            };
            listen.await.map_err(|error| self.explain("a channel", error))
        })
        .await
    }

    /// Fails what takes longer than a call may take.
    pub(super) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        timeout(self.timeout, work).await.unwrap_or_else(|_| Err(self.timed_out()))
    }

    fn timed_out(&self) -> RegistryError {
        RegistryError::Timeout { address: self.address.clone(), waited: self.timeout }
    }

    /// The error of a watcher's connection that ended.
    pub(super) fn disconnected(&self) -> RegistryError {
        let source = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        RegistryError::Unavailable { address: self.address.clone(), source: Box::new(source) }
    }

    fn explain(&self, place: &str, error: RedisError) -> RegistryError {
        let unreadable = matches!(error.kind(), ErrorKind::UnexpectedReturnType | ErrorKind::Parse)
            || matches!(error.code(), Some("CORRUPT" | "WRONGTYPE"));
        if unreadable {
            return corrupt(place, error.detail().map_or_else(|| error.to_string(), str::to_owned));
        }
        RegistryError::Unavailable { address: self.address.clone(), source: Box::new(error) }
    }
}

impl Question<'_> {
    async fn put_to<T: FromRedisValue>(&self, mut connection: ConnectionManager) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(&mut connection).await,
            Self::Script(script) => script.invoke_async(&mut connection).await,
        }
    }
}

/// Delays between attempts to reach Redis: 0.1 s doubling to 2 s, with jitter, for ever.
pub(super) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
}

async fn connect(client: Client, call_timeout: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        // The next call tries again, and is told how that went.
        .set_number_of_retries(0)
        .set_connection_timeout(Some(call_timeout))
        // Calls are bounded as a whole.
        .set_response_timeout(None);
    let manager = ConnectionManager::new_with_config(client, config).await?;
    // A Redis that wants a password, or is still loading, says so to the first command.
    redis::cmd("PING").exec_async(&mut manager.clone()).await?;
    Ok(manager)
}

/// Whether trying again may help.
fn may_pass(error: &RedisError) -> bool {
    let refused = matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig);
    !refused && !matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}
