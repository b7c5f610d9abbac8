//! One connection to one node, which is made when it is needed and made anew after it
//! broke.

use std::time::{Duration, Instant};

use futures::FutureExt;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use tokio::time::timeout;

use super::renewable::{Made, Renewable};

/// A connection, or the will to make one.
#[derive(Debug)]
pub(super) struct Line {
    client: Client,
    patience: Duration,
    /// Whether the node must say that it is a master before it is used.
    only_master: bool,
    connection: Renewable<MultiplexedConnection>,
}

impl Line {
    pub(super) fn new(client: Client, patience: Duration, only_master: bool) -> Self {
        Self { client, patience, only_master, connection: Renewable::new() }
    }

    /// Does something with the connection. One that broke, or that left this without an
    /// answer for long, is not used again by others.
    pub(super) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let made = self.connection.get(self.connect().boxed()).await?;
        let mut attempt = Attempt { line: self, made, begun: Instant::now(), ended: false };
        let outcome = work(attempt.made.value.clone()).await;
        attempt.ended = true;
        if outcome.as_ref().is_err_and(is_broken) {
            self.connection.discard(&attempt.made);
        }
        outcome
    }

    /// Connects, if there is no connection.
    pub(super) async fn ready(&self) -> RedisResult<MultiplexedConnection> {
        Ok(self.connection.get(self.connect().boxed()).await?.value)
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience))
            // Calls are bounded as a whole.
            .set_response_timeout(None);
        let connecting = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            // A Redis that wants a password, or is still loading, says so to the first
            // command.
            redis::cmd("PING").exec_async(&mut connection).await?;
            if self.only_master {
                must_be_master(&mut connection).await?;
            }
            Ok(connection)
        };
        timeout(self.patience, connecting)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }
}

/// One use of a connection.
struct Attempt<'a> {
    line: &'a Line,
    made: Made<MultiplexedConnection>,
    begun: Instant,
    ended: bool,
}

/// A call that ran out of time is dropped, which is all that can be seen of it here. A
/// peer that is gone without a word, or a master that was replaced while it hangs, must
/// not keep the calls that follow.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended && self.begun.elapsed() >= self.line.patience / 2 {
            self.line.connection.discard(&self.made);
        }
    }
}

/// Whether a connection is of no use after this, and may be to a node that serves no more.
pub(super) fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || refuses_as_replica(error)
}

/// Whether a node says that it is not the master, or not yet.
pub(super) fn refuses_as_replica(error: &RedisError) -> bool {
    let code = matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "LOADING" | NOT_MASTER));
    // Before Redis 7 a script's error has the code of the script.
    code || error.detail().is_some_and(|detail| detail.contains("-READONLY"))
}

const NOT_MASTER: &str = "NOTMASTER";

async fn must_be_master(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let role: Vec<Value> = redis::cmd("ROLE").query_async(connection).await?;
    let role: String = role.into_iter().next().map(redis::from_redis_value).transpose()?.unwrap_or_default();
    if role == "master" {
        return Ok(());
    }
    Err(redis::make_extension_error(NOT_MASTER.to_owned(), Some(format!("it says that it is a {role}"))))
}
