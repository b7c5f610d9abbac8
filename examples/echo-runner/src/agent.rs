//! The agent itself: the runner contract in one page.
//!
//! 1. Read one line of JSON from standard input, and become who it says.
//! 2. Prepare, and only then say `READY=1` on the socket `NOTIFY_SOCKET` names.
//! 3. Say `WATCHDOG=1` in time, from the loop that does the work.
//! 4. End on SIGTERM, and when standard input ends: then the host is dead.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::{consts::SIGTERM, low_level};

use crate::{
    Behaviour, DIR_VARIABLE, LaunchDocument, MalformedDocument, OnStart, Order, Pong,
    client::Request,
    notify::{notify, watchdog_interval},
    socket_path, witness,
};

/// Tells the program to be one of an agent's children instead of an agent.
pub const CHILD_ARGUMENT: &str = "--be-a-child";

/// A client has this long to say what it wants.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the agent ended when it should not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It was not told who to be.
    #[error(transparent)]
    Document(#[from] MalformedDocument),
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What it refused.
        what: &'static str,
        /// What it says.
        #[source]
        source: io::Error,
    },
}

impl RunError {
    /// 2 for a launch that cannot succeed, 1 for what may pass.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Document(_) => 2,
            Self::Io { .. } => 1,
        }
    }
}

fn io(what: &'static str) -> impl Fn(io::Error) -> RunError {
    move |source| RunError::Io { what, source }
}

/// Runs the agent to its end.
///
/// # Errors
/// [`RunError`], with the exit code that it stands for.
pub fn run() -> Result<ExitCode, RunError> {
    // For a host that started this ahead of need.
    notify("X_WAITING=1").map_err(io("X_WAITING=1"))?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(io("standard input"))?;
    let document = LaunchDocument::parse(&line)?;
    if let Some(dir) = std::env::var_os(witness::DIR_VARIABLE) {
        witness::testify(dir.as_ref(), &document).map_err(io("the witness's file"))?;
    }
    let behaviour = document.behaviour();
    match behaviour.on_start {
        Some(OnStart::Exit(code)) => {
            eprintln!("told to exit with code {code}");
            return Ok(ExitCode::from(code));
        }
        Some(OnStart::Crash) => obey(Order::Crash),
        _ => {}
    }
    let mut agent = Agent::open(document, &behaviour)?;
    obey(Order::Stderr(behaviour.stderr_bytes));
    thread::sleep(Duration::from_millis(behaviour.ready_after_ms));
    if behaviour.on_start != Some(OnStart::NeverReady) {
        notify("READY=1\nSTATUS=answering pings").map_err(io("READY=1"))?;
    }
    match behaviour.on_start {
        Some(OnStart::ExitAfterReady(code)) => return Ok(ExitCode::from(code)),
        Some(OnStart::CrashAfterReady) => obey(Order::Crash),
        Some(OnStart::HangAfterReady) => obey(Order::Hang),
        _ => {}
    }
    agent.serve()
}

/// What an agent's child does: nothing, for as long as it is let.
pub fn be_child() -> ! {
    // Registering any action turns off the one that ends the process.
    if let Ok((_, write)) = UnixStream::pair() {
        let _ = low_level::pipe::register(SIGTERM, write);
    }
    loop {
        thread::park();
    }
}

struct Agent {
    document: LaunchDocument,
    ignore_sigterm: bool,
    listener: UnixListener,
    socket: PathBuf,
    /// Readable after a SIGTERM.
    sigterm: UnixStream,
    children: Vec<u32>,
}

impl Agent {
    fn open(document: LaunchDocument, behaviour: &Behaviour) -> Result<Self, RunError> {
        let (sigterm, write) = UnixStream::pair().map_err(io("a pair of sockets"))?;
        low_level::pipe::register(SIGTERM, write).map_err(io("SIGTERM"))?;
        let dir = std::env::var_os(DIR_VARIABLE).map_or_else(std::env::temp_dir, PathBuf::from);
        let socket = socket_path(&dir, &document.guild_id, &document.agent_id, document.epoch);
        let listener = UnixListener::bind(&socket).map_err(io("the socket for pings"))?;
        let children = (0..behaviour.fork_children).map(|_| start_child()).collect::<io::Result<_>>();
        Ok(Self {
            document,
            ignore_sigterm: behaviour.ignore_sigterm,
            listener,
            socket,
            sigterm,
            children: children.map_err(io("a child"))?,
        })
    }

    fn serve(&mut self) -> Result<ExitCode, RunError> {
        let watchdog = watchdog_interval();
        let mut next_sign = watchdog.map(|interval| Instant::now() + interval);
        let stdin = io::stdin();
        loop {
            let mut sources = [
                PollFd::new(&stdin, PollFlags::IN),
                PollFd::new(&self.sigterm, PollFlags::IN),
                PollFd::new(&self.listener, PollFlags::IN),
            ];
            let wait = next_sign.map(|at| at.saturating_duration_since(Instant::now()));
            let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
            match poll(&mut sources, wait.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result.map_err(|error| io("poll")(error.into()))?,
            };
            let [host_speaks, told_to_end, client] = sources.map(|source| !source.revents().is_empty());
            if host_speaks && stdin.lock().read(&mut [0; 256]).map_err(io("standard input"))? == 0 {
                return Ok(ExitCode::SUCCESS);
            }
            if told_to_end {
                self.sigterm.read(&mut [0; 16]).map_err(io("SIGTERM"))?;
                if !self.ignore_sigterm {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            if client {
                // A client that says nothing, or nonsense, is its own affair.
                let _ = self.listener.accept().and_then(|(stream, _)| self.answer(stream));
            }
            if next_sign.is_some_and(|at| at <= Instant::now()) {
                notify("WATCHDOG=1").map_err(io("WATCHDOG=1"))?;
                next_sign = watchdog.map(|interval| Instant::now() + interval);
            }
        }
    }

    fn answer(&self, stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
        stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut stream = reader.into_inner();
        match serde_json::from_str(&line)? {
            Request::Ping(payload) => {
                let LaunchDocument { guild_id, agent_id, epoch, .. } = &self.document;
                let pong = Pong {
                    guild: guild_id.clone(),
                    agent: agent_id.clone(),
                    epoch: *epoch,
                    pid: std::process::id(),
                    children: self.children.clone(),
                    payload,
                };
                stream.write_all(format!("{}\n", serde_json::to_string(&pong)?).as_bytes())
            }
            Request::Do(order) => {
                stream.write_all(b"\n")?;
                drop(stream);
                if let Order::Exit(code) = order {
                    let _ = fs::remove_file(&self.socket);
                    std::process::exit(code.into());
                }
                obey(order);
                Ok(())
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

fn start_child() -> io::Result<u32> {
    let program = std::env::current_exe()?;
    Ok(Command::new(program).arg(CHILD_ARGUMENT).stdin(Stdio::null()).spawn()?.id())
}

fn obey(order: Order) {
    match order {
        Order::Crash => std::process::abort(),
        Order::Exit(code) => std::process::exit(code.into()),
        Order::Hang => loop {
            thread::park();
        },
        Order::Stderr(bytes) => flood(bytes),
    }
}

/// Writes numbered lines of 64 bytes, and how many they were.
fn flood(bytes: u64) {
    if bytes == 0 {
        return;
    }
    let mut stderr = io::BufWriter::with_capacity(64 * 1024, io::stderr().lock());
    let lines = bytes.div_ceil(64);
    for line in 0..lines {
        // A host that does not listen any more is about to be noticed elsewhere.
        let _ = writeln!(stderr, "flood {line:>57}");
    }
    let _ = writeln!(stderr, "flooded {lines} lines");
}
