//! An agent's standard input: the launch document, then silence until the host ends.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::{Interest, unix::AsyncFd};

/// The host's end of the pipe. It is held until the agent ends, for its closing is
/// how an agent learns that its host died.
#[derive(Debug)]
pub(super) enum Stdin {
    /// Some of the document is not yet written: it is larger than the pipe.
    Writing { pipe: AsyncFd<OwnedFd>, document: Vec<u8>, written: usize },
    /// All is written.
    Open { _pipe: OwnedFd },
    /// There is no pipe.
    Closed,
}

impl Stdin {
    /// Writes as much as the pipe takes at once, which is nearly always all.
    pub(super) fn deliver(pipe: OwnedFd, document: String) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let document = document.into_bytes();
        let mut written = 0;
        if write(&pipe, &document, &mut written) {
            return Ok(Self::Open { _pipe: pipe });
        }
        let pipe = AsyncFd::with_interest(pipe, Interest::WRITABLE)?;
        Ok(Self::Writing { pipe, document, written })
    }

    /// Writes the rest as the agent reads; pending when there is none. Dropping the
    /// future loses nothing.
    pub(super) async fn progress(&mut self) {
        let Self::Writing { pipe, document, written } = self else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = pipe.writable().await else { return std::future::pending().await };
            if write(pipe.get_ref(), document, written) {
                break;
            }
            ready.clear_ready();
        }
        if let Self::Writing { pipe, .. } = std::mem::replace(self, Self::Closed) {
            *self = Self::Open { _pipe: pipe.into_inner() };
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
