//! One process and its group, from fork to reaping.
//!
//! The process leads a group of its own, so that its children can be signalled
//! with it. Its end is read from a pidfd: without SIGCHLD, and without reaping, so
//! that its id still stands for the group while the rest of that is killed.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::{Errno, fcntl_dupfd_cloexec},
    pipe::{PipeFlags, pipe_with},
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, getpgid,
        kill_process_group, pidfd_open, pidfd_send_signal, waitid, waitpid,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

use super::vfork::Program;
use crate::fence::{Fence, Gate};

/// How long children that a dead agent left behind, and that the host inherited,
/// may take to be reaped. They have been killed, so only a process that the kernel
/// cannot interrupt takes longer.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// How often a fence that is too busy to be told is told that a group is done, once a
/// millisecond. It does no harm if it never hears of it.
const RELEASE_ATTEMPTS: u32 = 100;

/// What stands at a process's standard input.
#[derive(Debug)]
pub(super) enum Input {
    /// A pipe, of which the host holds the other end.
    Pipe,
    /// Nothing.
    Empty,
    /// This.
    Is(OwnedFd),
}

/// When the fence is told of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enrolment {
    /// Before it executes its program.
    AtOnce,
    /// When it becomes somebody's: until then it ends with its input or its host.
    Later,
}

/// A process that has just been started, with the host's ends of its pipes.
pub(super) struct Spawned {
    pub(super) leader: Leader,
    /// `None` when standard input is empty.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Spawned {
    /// Starts a program. The process dies with the calling thread, and the fence knows
    /// its group, from the moment that `enrolment` says until it is reaped.
    pub(super) fn start(
        program: &Program,
        input: Input,
        enrolment: Enrolment,
        fence: &Arc<Fence>,
    ) -> io::Result<Self> {
        let (theirs, stdin, stdout, stderr) = Stdio::new(input)?;
        let gate = match enrolment {
            Enrolment::AtOnce => fence.gate()?,
            Enrolment::Later => Gate::open(),
        };
        let pid = program.spawn(theirs.borrow(), &gate)?;
        let is_enrolled = enrolment == Enrolment::Later || fence.enrolled(pid, &gate);
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => {
                let leader = Leader { pid, pidfd, fence: Arc::clone(fence), reaped: false };
                if !is_enrolled {
                    return Err(not_enrolled());
                }
                Ok(Self { leader, stdin, stdout, stderr })
            }
            Err(error) => {
                kill_process_group(pid, Signal::KILL)?;
                fence.release(pid);
                waitpid(Some(pid), WaitOptions::empty())?;
                Err(error.into())
            }
        }
    }
}

/// A process's ends of its three pipes.
#[derive(Debug)]
pub(super) struct Stdio([OwnedFd; 3]);

impl Stdio {
    /// Its ends, and the host's: of standard input if that is a pipe, of output and error.
    pub(super) fn new(input: Input) -> io::Result<(Self, Option<OwnedFd>, OwnedFd, OwnedFd)> {
        let (its_stdin, stdin) = match input {
            Input::Pipe => {
                let (read, write) = pipe()?;
                (read, Some(write))
            }
            Input::Empty => (above_stdio(File::open("/dev/null")?.into())?, None),
            Input::Is(descriptor) => (above_stdio(descriptor)?, None),
        };
        let (stdout, its_stdout) = pipe()?;
        let (stderr, its_stderr) = pipe()?;
        Ok((Self([its_stdin, its_stdout, its_stderr]), stdin, stdout, stderr))
    }

    pub(super) fn borrow(&self) -> [BorrowedFd<'_>; 3] {
        self.0.each_ref().map(AsFd::as_fd)
    }
}

fn not_enrolled() -> io::Error {
    io::Error::other("the fence was not told of it")
}

/// The reading and the writing end of a pipe, both closed on exec.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((above_stdio(read)?, above_stdio(write)?))
}

/// In a host without standard input, output or error, a new descriptor may take the
/// place of one of them, and would be in the way when a child gets its own.
fn above_stdio(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() > 2 { Ok(descriptor) } else { Ok(fcntl_dupfd_cloexec(&descriptor, 3)?) }
}

/// The first process of a group. Dropping it before it is reaped kills the group.
#[derive(Debug)]
pub(super) struct Leader {
    pid: Pid,
    pidfd: OwnedFd,
    fence: Arc<Fence>,
    reaped: bool,
}

impl Leader {
    /// Takes charge of a process that a zygote forked for the host: a child of the host,
    /// at the head of its own group. The fence does not know it yet.
    pub(super) fn adopt(pid: Pid, fence: &Arc<Fence>) -> io::Result<Self> {
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if matches!(waitid(WaitId::PidFd(pidfd.as_fd()), look), Err(Errno::CHILD)) {
            // Nobody here could ever learn how it ends.
            pidfd_send_signal(&pidfd, Signal::KILL)?;
            return Err(io::Error::other("it is no child of the host: a zygote clones with CLONE_PARENT"));
        }
        let leader = Self { pid, pidfd, fence: Arc::clone(fence), reaped: false };
        if getpgid(Some(pid))? != pid {
            pidfd_send_signal(&leader.pidfd, Signal::KILL)?;
            return Err(io::Error::other("it does not lead a process group of its own"));
        }
        Ok(leader)
    }

    /// Sends a signal to the whole group. A group that is gone needs none.
    fn signal(&self, signal: Signal) {
        // Until it is reaped the leader keeps its id from being used again.
        debug_assert!(!self.reaped);
        if let Err(error) = kill_process_group(self.pid, signal)
            && error != Errno::SRCH
        {
            tracing::warn!(pid = self.pid.as_raw_pid(), ?signal, %error, "a process group was not signalled");
        }
    }

    /// Takes the leader's status once it has ended; `None` before that.
    fn try_reap(&mut self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) | Err(Errno::INTR) => None,
            Ok(Some(status)) => {
                self.reaped = true;
                Some(Exit::from(&status))
            }
            // Somebody else in this process reaped it; its status is lost.
            Err(_) => {
                self.reaped = true;
                Some(Exit { code: None, signal: None })
            }
        }
    }
}

impl AsRawFd for Leader {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

impl Drop for Leader {
    /// Only when its task was dropped, as a runtime does that is shut down.
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.signal(Signal::KILL);
        self.fence.release(self.pid);
        // A killed process ends in about a millisecond. One that does not stays
        // a zombie until the host ends, which is better than to block here.
        for _ in 0..100 {
            if self.try_reap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl From<&WaitIdStatus> for Exit {
    fn from(status: &WaitIdStatus) -> Self {
        Self { code: status.exit_status(), signal: status.terminating_signal() }
    }
}

impl Exit {
    /// Whether it ended by itself and says that all is well.
    pub(in crate::supervisor) fn is_success(self) -> bool {
        self.code == Some(0)
    }

    /// What happened, in words.
    pub(in crate::supervisor) fn describe(self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("exited with code {code}"),
            (None, Some(signal)) => format!("killed by signal {}", signal_name(signal)),
            (None, None) => "ended, and its status is unknown".to_owned(),
        }
    }
}

fn signal_name(signal: i32) -> String {
    const NAMES: [(i32, &str); 11] = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGTERM, "SIGTERM"),
    ];
    match NAMES.iter().find(|(number, _)| *number == signal) {
        Some((number, name)) => format!("{number} ({name})"),
        None => signal.to_string(),
    }
}

/// A running process, as its agent's task holds it.
#[derive(Debug)]
pub(super) struct Process(AsyncFd<Leader>);

impl Process {
    #[allow(unsafe_code)]
    pub(super) fn new(leader: Leader) -> io::Result<Self> {
        // SAFETY: the leader owns its pidfd, always answers with that one, and keeps
        // it open as long as it lives, which is longer than the registration.
        Ok(Self(unsafe { AsyncFd::register_with_interest(leader, Interest::READABLE)? }))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.get_ref().pid.as_raw_pid().unsigned_abs()
    }

    /// Waits until the process has ended. Can be asked again and again.
    pub(super) async fn ended(&self) {
        // An error means that the runtime goes down, and this task with it.
        if self.0.readable().await.is_err() {
            std::future::pending().await
        }
    }

    /// Tells the fence of a process that is about to become somebody's.
    pub(super) fn enrol(&self) -> io::Result<()> {
        let Leader { pid, fence, .. } = self.0.get_ref();
        if fence.enrol(*pid) { Ok(()) } else { Err(not_enrolled()) }
    }

    pub(super) fn terminate(&self) {
        self.0.get_ref().signal(Signal::TERM);
    }

    pub(super) fn kill(&self) {
        self.0.get_ref().signal(Signal::KILL);
    }

    /// Waits for the end, kills what is left of the group, and reaps all of it that
    /// is the host's to reap.
    pub(super) async fn reap(mut self) -> Exit {
        self.ended().await;
        self.kill();
        let Leader { pid: group, fence, .. } = self.0.get_ref();
        let group = *group;
        for _ in 0..RELEASE_ATTEMPTS {
            if fence.release(group) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let exit = loop {
            if let Some(exit) = self.0.get_mut().try_reap() {
                break exit;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        reap_left_behind(group).await;
        exit
    }
}

/// Reaps children of a dead agent that became the host's own: it is the first
/// process of its container, or a subreaper. Elsewhere there are none.
async fn reap_left_behind(group: Pid) {
    let mut pause = Duration::from_millis(1);
    let mut waited = Duration::ZERO;
    loop {
        match waitid(WaitId::Pgid(Some(group)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) if waited < LEFT_BEHIND => {
                tokio::time::sleep(pause).await;
                waited += pause;
                pause *= 2;
            }
            Ok(None) => {
                tracing::warn!(group = group.as_raw_pid(), "killed children of an agent do not end");
                return;
            }
            Err(_) => return,
        }
    }
}
