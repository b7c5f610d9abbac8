//! An agent's standard input: the launch document, then silence until the host ends.

use std::{io, os::fd::OwnedFd};

use rustix::io::Errno;
use tokio::net::unix::pipe;

/// The host's end of the pipe. It is held until the agent ends, for its closing is
/// how an agent learns that its host died.
#[derive(Debug)]
pub(super) enum Stdin {
    /// Some of the document is not yet written: it is larger than the pipe.
    Writing { pipe: pipe::Sender, document: Vec<u8>, written: usize },
    /// All is written.
    Open { _pipe: OwnedFd },
    /// There is no pipe.
    Closed,
}

impl Stdin {
    /// Writes as much as the pipe takes at once, which is nearly always all.
    pub(super) fn deliver(pipe: OwnedFd, document: String) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let document = document.into_bytes();
        let mut written = 0;
        if write(&pipe, &document, &mut written) {
            return Ok(Self::Open { _pipe: pipe });
        }
        let pipe = pipe::Sender::from_owned_fd(pipe)?;
        Ok(Self::Writing { pipe, document, written })
    }

    /// Writes the rest as the agent reads; pending when there is none. Dropping the
    /// future loses nothing.
    pub(super) async fn progress(&mut self) {
        let Self::Writing { pipe, document, written } = self else { return std::future::pending().await };
        loop {
            if pipe.writable().await.is_err() {
                return std::future::pending().await;
            }
            match pipe.try_write(&document[*written..]) {
                Ok(bytes) => *written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // As below.
                Err(_) => break,
            }
            if *written == document.len() {
                break;
            }
        }
        if let Self::Writing { pipe, .. } = std::mem::replace(self, Self::Closed)
            && let Ok(pipe) = pipe.into_nonblocking_fd()
        {
            *self = Self::Open { _pipe: pipe };
        }
    }
}

/// Writes until all is written (true) or the pipe is full (false).
fn write(pipe: &OwnedFd, document: &[u8], written: &mut usize) -> bool {
    while *written < document.len() {
        match rustix::io::write(pipe, &document[*written..]) {
            Ok(bytes) => *written += bytes,
            Err(Errno::AGAIN) => return false,
            Err(Errno::INTR) => {}
            // The agent does not read. Whether it starts all the same is for its
            // readiness to say.
            Err(_) => return true,
        }
    }
    true
}
