//! Starting a program without copying the host.
//!
//! A plain fork copies the page tables of the whole host, and then a page each time
//! the host writes to one: measured, 3 ms for a small host and 8 ms for one of
//! 60 MB, where the program itself starts in one. The way around, which the standard
//! library takes when nothing is to be done between fork and exec, leaves no room
//! for the parent-death signal. So this does what `posix_spawn` does, with that in
//! between: the child borrows the host's memory, and the thread that made it is held
//! until the child has executed its program or has failed.
//!
//! This is the one place with code on the child's side of a fork. It runs on a stack
//! of its own, with all signals blocked, and makes system calls only.
#![allow(unsafe_code)]

use std::{
    ffi::{CString, OsStr, c_char, c_int, c_void},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, RawFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    ptr,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use rustix::{
    fs::{Access, access},
    process::{Pid, getpid},
};

use crate::fence::{Gate, enrolment};

/// Bytes of stack for the child, which needs a few hundred.
const STACK: usize = 32 * 1024;

/// Highest number of a signal.
const LAST_SIGNAL: c_int = 64;

/// A program with its arguments and its whole environment, ready to be executed.
#[derive(Debug)]
pub(super) struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// `command` is a path, or a name that is looked up in the `PATH` of `env`.
    pub(super) fn new<'a>(
        command: &Path,
        args: impl IntoIterator<Item = &'a str>,
        env: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    ) -> io::Result<Self> {
        let mut search = OsStr::new("");
        let mut variables = Vec::new();
        for (name, value) in env {
            if name == "PATH" {
                search = value;
            }
            variables.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
        }
        let own_name = CString::new(command.as_os_str().as_bytes())?;
        let args = args.into_iter().map(|argument| CString::new(argument.as_bytes()));
        Ok(Self {
            path: CString::new(find(command, search)?.into_os_string().into_vec())?,
            args: std::iter::once(Ok(own_name)).chain(args).collect::<Result<_, _>>()?,
            env: variables,
        })
    }

    /// Starts the program in a process group of its own, with `stdio` as its standard
    /// input, output and error and no other descriptor. It dies with this thread, and
    /// the fence behind `gate` knows its group before the program is executed.
    ///
    /// The descriptors of `stdio` are above 2.
    pub(super) fn spawn(&self, stdio: [BorrowedFd<'_>; 3], gate: &Gate) -> io::Result<Pid> {
        let args = pointers(&self.args);
        let env = pointers(&self.env);
        let child = Child {
            path: self.path.as_ptr(),
            args: args.as_ptr(),
            env: env.as_ptr(),
            stdio: stdio.map(|descriptor| descriptor.as_raw_fd()),
            gate: gate.descriptor().map(|descriptor| descriptor.as_raw_fd()),
            host: getpid().as_raw_pid(),
            error: AtomicI32::new(0),
            enrolled: AtomicBool::new(false),
        };
        let mut stack = vec![Page([0; PAGE]); STACK / PAGE];
        let top = stack.as_mut_ptr_range().end;
        // SAFETY: `sigset_t` is plain data that `sigfillset` initialises. The mask of
        // this thread is put back below, also when the clone fails.
        let (pid, error) = unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            // SAFETY: CLONE_VFORK holds this thread until the child has left the
            // shared memory, so `child` and all it points to, and `stack`, outlive
            // its use of them. The stack grows down from its aligned end, and nobody
            // else uses it. The child touches no other memory of the host but this
            // thread's errno.
            let pid = libc::clone(
                run_child,
                top.cast(),
                libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
                ptr::from_ref(&child).cast_mut().cast(),
            );
            let error = io::Error::last_os_error();
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
            (pid, error)
        };
        let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Err(error) };
        match child.error.load(Ordering::Relaxed) {
            0 => Ok(pid),
            errno => {
                // It has exited by now, and is nobody's agent.
                gate.withdraw(pid);
                rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
                let error = io::Error::from_raw_os_error(errno);
                if gate.descriptor().is_some() && !child.enrolled.into_inner() {
                    return Err(io::Error::new(
                        error.kind(),
                        format!("the fence was not told of it: {error}"),
                    ));
                }
                Err(error)
            }
        }
    }
}

const PAGE: usize = 4096;

/// Stacks are aligned to 16 bytes at least.
#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "memory")] [u8; PAGE]);

/// What the child needs; all of it is made before, for the child cannot allocate.
struct Child {
    path: *const c_char,
    args: *const *const c_char,
    env: *const *const c_char,
    stdio: [RawFd; 3],
    /// Where it tells the fence of itself.
    gate: Option<RawFd>,
    host: i32,
    /// Why the program was not executed, as an errno; 0 when it was.
    error: AtomicI32,
    /// Whether the fence was told.
    enrolled: AtomicBool,
}

extern "C" fn run_child(child: *mut c_void) -> c_int {
    // SAFETY: this is the `Child` that `spawn` passes, alive as said there.
    let child = unsafe { &*child.cast::<Child>() };
    // SAFETY: runs in a child of `clone`, as it must.
    let errno = unsafe { child.execute() };
    child.error.store(errno, Ordering::Relaxed);
    // SAFETY: ends the child without running anything of the host's at exit.
    unsafe { libc::_exit(127) }
}

impl Child {
    /// Becomes the program. Answers with an errno if that fails.
    ///
    /// # Safety
    /// Only to be called in a child that shares no signal handlers and no descriptors
    /// with the host. It makes system calls only, and allocates nothing.
    unsafe fn execute(&self) -> c_int {
        // SAFETY: system calls on plain numbers, and on pointers that are as
        // `execve` wants them: to texts that end in 0, in lists that end in null.
        unsafe {
            default_signals();
            if libc::setpgid(0, 0) != 0
                || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) != 0
            {
                return errno();
            }
            // The host may have died before that was set; then there is nobody left
            // to send the signal.
            if libc::getppid() != self.host {
                return libc::ESRCH;
            }
            // Before anything that the program does, and after all that ends it with the
            // host: it may wait here for a fence that is busy, for as long as the socket
            // says.
            if let Some(gate) = self.gate {
                let message = enrolment(libc::getpid());
                while libc::send(gate, message.as_ptr().cast(), message.len(), libc::MSG_NOSIGNAL) < 0 {
                    if errno() != libc::EINTR {
                        return errno();
                    }
                }
            }
            self.enrolled.store(true, Ordering::Relaxed);
            for (descriptor, number) in self.stdio.into_iter().zip(0..) {
                if libc::dup2(descriptor, number) < 0 {
                    return errno();
                }
            }
            // What Rust opens is closed on exec from the start; what the host's own
            // parent or a C library left open is not.
            if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
                return errno();
            }
            libc::execve(self.path, self.args, self.env);
            errno()
        }
    }
}

/// Gives every signal its default action, also those that the host ignores (as Rust
/// does SIGPIPE), and lets them through. No handler of the host may run in a child
/// that has the host's memory, so the actions come first.
///
/// # Safety
/// As [`Child::execute`].
unsafe fn default_signals() {
    // SAFETY: `sigaction` and `sigset_t` are plain data, for which zeroes mean the
    // default action and no flags. Signals that have none to set are refused.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=LAST_SIGNAL {
            libc::sigaction(signal, &default, ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
}

fn errno() -> c_int {
    // Reads one number; nothing is allocated.
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

fn find(command: &Path, search: &OsStr) -> io::Result<PathBuf> {
    if command.as_os_str().as_bytes().contains(&b'/') {
        return Ok(command.to_owned());
    }
    let candidates = std::env::split_paths(search).map(|dir| dir.join(command));
    let found = candidates.into_iter().find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such command in PATH"))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, os::fd::AsFd};

    use super::*;
    use crate::fence::{Fence, FenceBy};

    fn run(command: &str, args: &[&str], env: &[(&str, &str)]) -> io::Result<(String, Option<i32>)> {
        let env = env.iter().map(|(name, value)| (OsStr::new(*name), OsStr::new(*value)));
        let program = Program::new(Path::new(command), args.iter().copied(), env)?;
        let null = File::open("/dev/null")?;
        let (mut read, write) = std::io::pipe()?;
        let nobody = Fence::start(FenceBy::Nothing, None)?.gate()?;
        let pid = program.spawn([null.as_fd(), write.as_fd(), write.as_fd()], &nobody)?;
        drop(write);
        let mut output = String::new();
        read.read_to_string(&mut output)?;
        let (_, status) =
            rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?.unwrap();
        Ok((output, status.exit_status()))
    }

    #[test]
    fn a_program_gets_what_it_was_given() {
        let script = r#"echo "$0 $1 $GREETING $#"; ignored=$(trap); echo "[$ignored]"; exit 3"#;
        let env = [("PATH", "/usr/bin:/bin"), ("GREETING", "hello there")];
        let (output, code) = run("sh", &["-c", script, "zero", "one"], &env).unwrap();
        assert_eq!((output.as_str(), code), ("zero one hello there 1\n[]\n", Some(3)));
    }

    #[test]
    fn signals_are_as_they_are_by_default() {
        // Rust ignores SIGPIPE, and tests run on threads that block nothing.
        let (status, _) = run("/bin/cat", &["/proc/self/status"], &[]).unwrap();
        for name in ["SigBlk:\t", "SigIgn:\t"] {
            let mask = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            // Above 31 are signals that the C library keeps for itself.
            assert_eq!(u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff, 0, "{name} {mask}");
        }
    }

    #[test]
    fn what_cannot_be_executed_is_said() {
        let error = |command| run(command, &[], &[("PATH", "/usr/bin:/bin")]).unwrap_err().to_string();
        assert_eq!(error("/no/such/program"), "No such file or directory (os error 2)");
        assert_eq!(error("no-such-program"), "no such command in PATH");
        assert_eq!(error("/dev/null"), "Permission denied (os error 13)");
        assert_eq!(error("nul\0byte"), "data provided contains a nul byte");
    }
}
