//! Talking to an echo agent: one line there, one line back.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// What an agent answers to a ping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pong {
    /// Its guild.
    pub guild: String,
    /// Its id within the guild.
    pub agent: String,
    /// Its incarnation.
    pub epoch: u64,
    /// Its process.
    pub pid: u32,
    /// The processes that it has started.
    pub children: Vec<u32>,
    /// What was sent.
    pub payload: String,
}

/// Something to do that no good agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Order {
    /// Die of a signal.
    Crash,
    /// Exit with this code.
    Exit(u8),
    /// Do nothing any more: no answer, no sign of life, no end on SIGTERM.
    Hang,
    /// Write so many bytes to standard error.
    Stderr(u64),
}

/// One line to the agent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Ping(String),
    Do(Order),
}

/// Why an agent gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// It cannot be reached, or was silent for too long.
    #[error("the agent at {socket} does not answer: {source}")]
    Io {
        /// Its socket.
        socket: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It answered something else.
    #[error("the agent's answer cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
}

/// Asks an agent to echo `payload`. Blocks for up to `timeout`.
///
/// # Errors
/// [`ClientError`] when there is no answer, or not one of an echo agent.
pub fn ping(socket: &Path, payload: &str, timeout: Duration) -> Result<Pong, ClientError> {
    let line = send(socket, &Request::Ping(payload.to_owned()), timeout)?;
    Ok(serde_json::from_str(&line)?)
}

/// Tells an agent to misbehave. Blocks until it has begun to.
///
/// # Errors
/// [`ClientError::Io`] when it cannot be reached.
pub fn order(socket: &Path, order: Order, timeout: Duration) -> Result<(), ClientError> {
    send(socket, &Request::Do(order), timeout).map(drop)
}

fn send(socket: &Path, request: &Request, timeout: Duration) -> Result<String, ClientError> {
    let line = serde_json::to_string(request)?;
    let exchange = || -> io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer)
    };
    exchange().map_err(|source| ClientError::Io { socket: socket.display().to_string(), source })
}
