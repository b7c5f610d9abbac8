//! What agents say about themselves, by the sd_notify protocol.
//!
//! Each process gets a datagram socket of its own, so that nothing an earlier
//! incarnation says can be taken for the word of a later one.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::{io::Errno, net::RecvFlags};
use tokio::net::UnixDatagram;

/// Longest datagram that is read, bytes; the rest of a longer one is dropped.
const MAX_DATAGRAM: usize = 4096;

/// Longest status that is kept, bytes.
const MAX_STATUS: usize = 256;

/// One message of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// `READY=1`: it has started.
    pub ready: bool,
    /// `X_WAITING=1`: it was started ahead of need, and waits for its launch document.
    pub waiting: bool,
    /// `WATCHDOG=1`: it lives.
    pub alive: bool,
    /// `WATCHDOG=trigger`: it asks to be treated as if it had hung.
    pub trigger: bool,
    /// `STOPPING=1`: it is about to end.
    pub stopping: bool,
    /// `STATUS=…`: what it does, in words; cut to 256 bytes.
    pub status: Option<String>,
    /// How many lines said something else, or nothing that can be read.
    pub ignored: usize,
}

impl Notice {
    /// Reads a datagram: lines of `NAME=VALUE`. Never fails: what it does not know
    /// it counts as ignored.
    pub fn parse(datagram: &[u8]) -> Self {
        let mut notice = Self::default();
        for line in datagram.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match line {
                b"READY=1" => notice.ready = true,
                b"X_WAITING=1" => notice.waiting = true,
                b"WATCHDOG=1" => notice.alive = true,
                b"WATCHDOG=trigger" => notice.trigger = true,
                b"STOPPING=1" => notice.stopping = true,
                _ => match line.strip_prefix(b"STATUS=").map(str::from_utf8) {
                    Some(Ok(status)) => {
                        notice.status = Some(status[..status.floor_char_boundary(MAX_STATUS)].to_owned());
                    }
                    _ => notice.ignored += 1,
                },
            }
        }
        notice
    }
}

/// The socket of one process. Its file goes when it is dropped.
#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// Opens the socket `number` in `dir`, which nobody else may enter.
    pub(super) fn open(dir: &Path, number: u64) -> io::Result<Self> {
        let path = dir.join(format!("{number:x}"));
        Ok(Self { socket: UnixDatagram::bind(&path)?, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next message. Dropping the future loses nothing.
    pub(super) async fn notice(&self) -> Notice {
        loop {
            if self.socket.readable().await.is_err() {
                return std::future::pending().await;
            }
            let mut datagram = [0; MAX_DATAGRAM];
            if let Ok(bytes) = self.socket.try_recv(&mut datagram) {
                return Notice::parse(&datagram[..bytes]);
            }
        }
    }

    /// Whether a message that waits says that the agent is ready. For an agent that
    /// ended right after it said so.
    pub(super) fn was_ready(&self) -> bool {
        let mut datagram = [0; MAX_DATAGRAM];
        loop {
            match rustix::net::recv(&self.socket, &mut datagram, RecvFlags::DONTWAIT) {
                Ok((bytes, _)) if Notice::parse(&datagram[..bytes]).ready => return true,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        // At worst a file is left, in a directory that goes with the supervisor.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_read_line_by_line() {
        let none = Notice::default;
        let status = |status: &str| Some(status.to_owned());
        for (datagram, wanted) in [
            (&b""[..], none()),
            (b"READY=1", Notice { ready: true, ..none() }),
            (b"READY=0", Notice { ignored: 1, ..none() }),
            (b"READY=1 ", Notice { ignored: 1, ..none() }),
            (b"X_WAITING=1", Notice { waiting: true, ..none() }),
            (b"WATCHDOG=1\n", Notice { alive: true, ..none() }),
            (b"WATCHDOG=trigger", Notice { trigger: true, ..none() }),
            (
                b"STATUS=a=b\nREADY=1\n\nSTOPPING=1",
                Notice { ready: true, stopping: true, status: status("a=b"), ..none() },
            ),
            (b"STATUS=\xff\nMAINPID=1\nREADY=1", Notice { ready: true, ignored: 2, ..none() }),
            (b"\0\0\xfe", Notice { ignored: 1, ..none() }),
        ] {
            assert_eq!(Notice::parse(datagram), wanted, "{}", datagram.escape_ascii());
        }
        let long = Notice::parse(format!("STATUS={}", "ä".repeat(3000)).as_bytes()).status.unwrap();
        assert_eq!(long, "ä".repeat(128));
    }

    proptest! {
        #[test]
        fn no_datagram_breaks_the_parser(datagram in prop::collection::vec(any::<u8>(), 0..MAX_DATAGRAM)) {
            let notice = Notice::parse(&datagram);
            let ready = datagram.split(|byte| *byte == b'\n').any(|line| line == b"READY=1");
            prop_assert_eq!(notice.ready, ready);
            prop_assert!(notice.status.is_none_or(|status| status.len() <= MAX_STATUS));
        }
    }
}
