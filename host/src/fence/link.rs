//! The host's side of one fence: the way to it, and whether it is there.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair, sockopt,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{FenceBy, guard, process::FenceProcess, wire::Message};

/// How long a process that enrols itself may wait for a fence that does not read. It
/// holds a spawner thread as long, and fails then.
const ENROL_WITHIN: Duration = Duration::from_secs(1);

/// Bytes that may wait for the fence. The system gives what it has, by default a fifth of
/// this twice; then about 500 messages fit, or a list of 20,000 agents.
const WAITING: usize = 1 << 20;

/// How often a fence is looked at that nobody tells us about.
const LOOK: Duration = Duration::from_secs(1);

/// One fence. Dropping it makes the fence end all that it knows.
#[derive(Debug)]
pub(super) struct Link {
    /// Before the process: that ends once this is closed.
    socket: OwnedFd,
    process: Option<FenceProcess>,
}

impl Link {
    /// Starts a fence; `None` when there is to be none.
    pub(super) fn start(by: &FenceBy, hold: Option<&OwnedFd>) -> io::Result<Option<Self>> {
        if *by == FenceBy::Nothing {
            return Ok(None);
        }
        // Packets, so that a message is told whole or not at all, whoever writes at once.
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(ENROL_WITHIN))?;
        sockopt::set_socket_send_buffer_size(&socket, WAITING)?;
        let process = match by {
            FenceBy::Process(program) => {
                let hold = hold.map(OwnedFd::try_clone).transpose()?;
                Some(FenceProcess::start(program, theirs, hold)?)
            }
            FenceBy::Thread => {
                let guard = move || guard::stand(theirs);
                drop(thread::Builder::new().name("fence".to_owned()).spawn(guard)?);
                None
            }
            FenceBy::Nothing => return Ok(None),
        };
        Ok(Some(Self { socket, process }))
    }

    /// Tells the fence something. Answers whether it was told; never waits.
    pub(super) fn tell(&self, message: &Message) -> bool {
        let packet = message.encode();
        send(&self.socket, &packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok()
    }

    /// Whether the fence has its end of the socket.
    pub(super) fn is_there(&self) -> bool {
        // It says nothing, so there is nothing to read but its end.
        !matches!(recv(&self.socket, &mut [0; 1], RecvFlags::DONTWAIT | RecvFlags::PEEK), Ok((0, _)))
    }

    /// Waits until it has not.
    #[allow(unsafe_code)]
    pub(super) async fn ended(&self) {
        // A descriptor of its own, since each can be waited for only once at a time.
        if let Ok(socket) = self.socket.try_clone() {
            // SAFETY: it owns its descriptor, always answers with that one, and keeps it
            // open as long as it lives, which is longer than the registration.
            let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
            if let Ok(watched) = watched
                && watched.readable().await.is_err()
            {
                // The runtime goes down, and this task with it.
                std::future::pending::<()>().await;
            }
        }
        while self.is_there() {
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(FenceProcess::pid)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
