//! The fence as a process: how the host starts it, and what it is then.
//!
//! Its standard input is the socket, its standard output what it is to hold. So it needs
//! no other descriptors, and nothing unsafe to pass them.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::{Arc, atomic::AtomicBool},
    thread,
};

use rustix::{
    io::Errno,
    net::{SocketType, sockopt::socket_type},
    process::{
        Pid, PidfdFlags, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, pidfd_open, setpriority_process,
        setrlimit, setsid, waitid,
    },
};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::guard;

/// The highest priority that there is without real time.
const FIRST_OF_ALL: i32 = -20;

/// What a service manager, a terminal or an operator may send to all processes there are.
const IGNORED: [i32; 7] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGALRM, SIGUSR1, SIGUSR2];

/// A fence process, as the host holds it.
#[derive(Debug)]
pub(super) struct FenceProcess {
    pid: Pid,
    /// Taken when it is dropped.
    pidfd: Option<OwnedFd>,
}

impl FenceProcess {
    pub(super) fn start(program: &Path, socket: OwnedFd, hold: Option<OwnedFd>) -> io::Result<Self> {
        let hold = hold.map_or_else(Stdio::null, Stdio::from);
        // It needs nothing of the environment, which holds the registry's password. What
        // it could say would be said on a pipe that may be full, so it says nothing.
        let mut command = Command::new(program);
        command.arg0("agent-host").arg("fence").env_clear();
        let child = command.stdin(socket).stdout(hold).stderr(Stdio::null()).spawn()?;
        let pid = Pid::from_child(&child);
        // It is this thread's child, so nobody has reaped it.
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, pidfd: Some(pidfd) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }
}

impl Drop for FenceProcess {
    /// Reaps it, once it has ended what it is to end.
    fn drop(&mut self) {
        let Some(pidfd) = self.pidfd.take() else { return };
        let reap = move || {
            // Or it is reaped with what the host inherits; see `reaper.rs`.
            while let Err(Errno::INTR) = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {}
        };
        let _ = thread::Builder::new().name("fence-end".to_owned()).spawn(reap);
    }
}

/// What `agent-host fence` does. Only a host starts it.
pub fn main() -> ExitCode {
    let socket = io::stdin();
    if socket_type(&socket) != Ok(SocketType::SEQPACKET) {
        eprintln!("agent-host fence: this is started by a host, and of no use alone");
        return ExitCode::from(2);
    }
    // A handler that does nothing of note, since to ignore a signal takes unsafe code.
    let noticed = Arc::new(AtomicBool::new(false));
    for signal in IGNORED {
        let _ = signal_hook::flag::register(signal, Arc::clone(&noticed));
    }
    // What is sent to the host's group or its terminal is not for this one.
    let _ = setsid();
    let _ = std::fs::write("/proc/self/comm", "fence");
    // Where that is allowed it goes before whatever keeps the machine busy.
    let _ = setpriority_process(None, FIRST_OF_ALL);
    // A descriptor for each group.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    guard::stand(&socket);
    ExitCode::SUCCESS
}
