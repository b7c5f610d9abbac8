//! A zygote in one page: it prepares what all agents need, and is forked for each.
//!
//! 1. Standard input is a socket for packets. Say `{"ready": true}` when prepared.
//! 2. Take `{"fork": N, "env": {…}, "host_pid": P}` with three descriptors; clone with
//!    `CLONE_PARENT`, so that the child is the host's, while there is one thread only.
//! 3. Answer `{"fork": N, "pid": …}` when the child leads a session of its own.
//! 4. The child takes the descriptors as its standard input, output and error, keeps no
//!    other, has those variables and no others, and dies with its host. From there on it
//!    is a runner like any.
//! 5. End when the socket does.
//!
//! This one has nothing to prepare. It is a zygote to show how, and for tests.
#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsRawFd, OwnedFd},
    process::ExitCode,
};

use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send},
    pipe::{PipeFlags, pipe_with},
};
use serde::Deserialize;

use crate::agent::{self, RunError};

/// Tells the program to be a zygote instead of an agent.
pub const ARGUMENT: &str = "--zygote";

/// Longest packet, bytes.
const MAX_PACKET: usize = 64 * 1024;

#[derive(Deserialize)]
struct Request {
    fork: u64,
    env: BTreeMap<String, String>,
    host_pid: u32,
}

/// Serves forks until the host ends the socket; in each child, runs the agent.
///
/// # Errors
/// As of [`agent::run`]; of the zygote, when its socket fails.
pub fn run() -> Result<ExitCode, RunError> {
    let failed = |what| move |source: io::Error| RunError::Io { what, source };
    let socket = io::stdin();
    send(&socket, br#"{"ready": true}"#, SendFlags::NOSIGNAL)
        .map_err(|error| failed("READY")(error.into()))?;
    while let Some((request, stdio)) = receive(&socket).map_err(failed("the host's socket"))? {
        let fork = request.fork;
        let answer = match clone() {
            Ok(Clone::Child(ack)) => {
                let host = request.host_pid;
                become_child(request.env, stdio).map_err(failed("a forked child"))?;
                drop(ack);
                if std::os::unix::process::parent_id() != host {
                    return Ok(ExitCode::SUCCESS);
                }
                return agent::run();
            }
            Ok(Clone::Parent(pid)) => format!(r#"{{"fork": {fork}, "pid": {pid}}}"#),
            Err(error) => serde_json::json!({"fork": fork, "error": error.to_string()}).to_string(),
        };
        send(&socket, answer.as_bytes(), SendFlags::NOSIGNAL)
            .map_err(|error| failed("an answer")(error.into()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The next request with its descriptors; `None` when the host has ended.
fn receive(socket: &io::Stdin) -> io::Result<Option<(Request, [OwnedFd; 3])>> {
    let mut packet = vec![0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut packet)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let descriptors: Vec<_> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let stdio = descriptors.try_into().map_err(|_| io::Error::other("three descriptors are needed"))?;
    Ok(Some((serde_json::from_slice(&packet[..received.bytes])?, stdio)))
}

enum Clone {
    /// Dropping it lets the parent go on.
    Child(OwnedFd),
    Parent(i32),
}

/// Forks, as a sibling rather than a child. The parent waits until the child has dropped
/// its end of a pipe.
fn clone() -> io::Result<Clone> {
    let (ack, child) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: as by `fork`, with one thread only; that has no other's locks to miss. The
    // identity that the C library remembers is the zygote's, which nothing here asks for.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Clone::Child(child)),
        pid => {
            drop(child);
            rustix::io::read(&ack, &mut [0; 1])?;
            Ok(Clone::Parent(i32::try_from(pid).unwrap_or_default()))
        }
    }
}

/// What execution would have done: the child's own session, signals, descriptors and
/// variables.
fn become_child(env: BTreeMap<String, String>, stdio: [OwnedFd; 3]) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    for (descriptor, number) in stdio.iter().zip(0..) {
        // SAFETY: a system call on numbers. What stood there is not used any more.
        if unsafe { libc::dup2(descriptor.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    // SAFETY: there is one thread.
    unsafe {
        names.iter().for_each(|name| std::env::remove_var(name));
        env.iter().for_each(|(name, value)| std::env::set_var(name, value));
    }
    Ok(())
}
