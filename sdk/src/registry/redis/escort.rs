//! What goes along with a command in the same write on the same connection.
//!
//! `WAIT` says how many replicas have what *its own connection* wrote last. So it cannot
//! be asked for on another connection, nor in a round trip of its own without paying for
//! that; it stands right behind the command.

use std::time::Instant;

use redis::{
    Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};

/// A connection that adds to each command what has to go along with it, in one write.
pub(super) struct Escorted {
    pub(super) connection: MultiplexedConnection,
    /// Whether the node is to answer for a slot that is being moved to it.
    pub(super) asking: bool,
    pub(super) keeping: Option<Keeping>,
    /// How many replicas have what was written.
    pub(super) replicas: u64,
}

/// What replicas are to have before a write counts.
#[derive(Clone, Debug)]
pub(super) struct Keeping {
    /// How many of them.
    pub(super) replicas: u32,
    /// Until when there may be an answer.
    pub(super) until: Instant,
    /// A key in the slot of the write.
    pub(super) mark: String,
}

impl ConnectionLike for Escorted {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        // A script that Redis does not know yet is told to it first.
        let loads = command.args_iter().next() == Some(Arg::Simple(b"SCRIPT"));
        if loads || (!self.asking && self.keeping.is_none()) {
            return self.connection.req_packed_command(command);
        }
        Box::pin(async move {
            let mut together = redis::pipe();
            let asking = usize::from(self.asking);
            if self.asking {
                together.cmd("ASKING");
            }
            together.add_command(command.clone());
            if let Some(Keeping { replicas, until, mark }) = &self.keeping {
                if self.asking {
                    together.cmd("ASKING");
                }
                // WAIT is about the last write of its connection. A script that finds its
                // work done writes nothing, yet what it relies on may be new.
                together.cmd("SET").arg(mark).arg("").arg("PX").arg(1);
                // That it was too few is to be told while somebody still listens.
                let within = until.saturating_duration_since(Instant::now()) * 4 / 5;
                let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX).max(1);
                together.cmd("WAIT").arg(replicas).arg(within);
            }
            let count = together.len();
            let answers = self.connection.req_packed_commands(&together, 0, count).await?;
            let mut answers = answers.into_iter().map(Value::extract_error).skip(asking);
            let no_answer = || RedisError::from((ErrorKind::UnexpectedReturnType, "an answer is missing"));
            let answer = answers.next().ok_or_else(no_answer)??;
            if self.keeping.is_some() {
                // Whatever goes wrong here, it is not known that the write is kept.
                let rest = answers.collect::<RedisResult<Vec<_>>>()?;
                self.replicas = redis::from_redis_value(rest.into_iter().next_back().ok_or_else(no_answer)?)?;
            }
            Ok(answer)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}
