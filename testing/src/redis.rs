//! A real Redis of a test's own.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a server may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How long a server may take for one answer to a test.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Comes behind every answer to a test.
const END: &str = "that-was-all";

/// A free port may be taken by somebody else before Redis listens on it.
const PORTS_TO_TRY: usize = 5;

/// What a server says when it is ready, and what a Sentinel says.
const READY: [&str; 2] = ["Ready to accept connections", "Sentinel ID is"];

/// Runs Redis, and ends it when its own standard input ends: that happens when the
/// test lets go of it, and also when the test is killed, whichever thread started it.
/// Unless it is told to keep them, its files go with it. A Ctrl-C is ignored here, since
/// the test's own end says enough.
const KEEPER: &str = r#"
trap '' INT
redis-server "$@" 2>&1 &
echo $!
exec >/dev/null 2>&1
read -r word
kill -CONT $!
kill $!
wait $!
[ "$word" = keep ] || rm -r "$GUILDHALL_TEST_DIR"
"#;

/// A Redis server on a free port of the loopback interface, which keeps nothing on
/// disk and ends with this value, or with the test process if that is killed.
///
/// Several tests can share one under key prefixes of their own.
pub struct RedisServer {
    port: u16,
    kind: Kind,
    arguments: Vec<String>,
    directory: TempDir,
    process: Option<Process>,
}

/// Writes what a server reads into its folder, given its port.
pub(crate) type Prepare = Box<dyn Fn(u16, &Path) -> io::Result<()> + Send + Sync>;

/// How a server is told where to listen.
enum Kind {
    /// By the arguments that each of these servers has.
    Usual,
    /// By arguments and files of its own.
    Bare(Prepare),
}

struct Process {
    keeper: Child,
    lifeline: ChildStdin,
    redis: Pid,
}

/// Why a server did not start. Its `Debug` is its message, so that an `unwrap` in a
/// test shows it well.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no `redis-server` to run.
    #[error("redis-server is not installed; these tests need it: apt-get install redis-server")]
    Missing,
    /// The server ended, or was not ready in time.
    #[error("redis-server did not start on port {port}; it said:\n{log}")]
    NotReady {
        /// The port it was to listen on.
        port: u16,
        /// What it wrote.
        log: String,
    },
    /// The operating system refused something on the way.
    #[error("redis-server could not be run: {0}")]
    Io(#[from] io::Error),
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl RedisServer {
    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn start() -> Result<Self, StartError> {
        Self::start_with::<&str>(&[])
    }

    /// Starts one that says everything about how it listens by itself, as one with TLS or
    /// a Sentinel does. Of the arguments `PORT` is replaced by its port, `DIR` by its folder.
    pub(crate) fn start_bare(arguments: Vec<String>, prepare: Prepare) -> Result<Self, StartError> {
        Self::start_as(Kind::Bare(prepare), arguments)
    }

    /// Like [`start`](Self::start), with further arguments of `redis-server`, such as
    /// `--requirepass`.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn start_with<A: AsRef<str>>(arguments: &[A]) -> Result<Self, StartError> {
        Self::start_as(Kind::Usual, arguments.iter().map(|argument| argument.as_ref().to_owned()).collect())
    }

    fn start_as(kind: Kind, arguments: Vec<String>) -> Result<Self, StartError> {
        let directory = tempfile::Builder::new().prefix("guildhall-redis-").tempdir()?;
        let mut server = Self { port: 0, kind, arguments, directory, process: None };
        for _ in 1..PORTS_TO_TRY {
            server.port = free_port()?;
            if server.restart().is_ok() {
                return Ok(server);
            }
        }
        server.port = free_port()?;
        server.restart()?;
        Ok(server)
    }

    /// Where it listens: `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the server, which goes when it does.
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// The process of the server, while it runs.
    pub fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|process| process.redis)
    }

    /// Ends the server and waits until it is gone, with all its data.
    pub fn stop(&mut self) {
        if let Some(Process { mut keeper, mut lifeline, .. }) = self.process.take() {
            // They may be wanted for a start again, and go with this value.
            lifeline.write_all(b"keep\n").ok();
            drop(lifeline);
            keeper.wait().ok();
        }
    }

    /// Starts the server on the same port, ending it before if it runs. Its data is
    /// gone, unless its arguments say otherwise.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn restart(&mut self) -> Result<(), StartError> {
        self.stop();
        std::fs::create_dir_all(self.directory.path())?;
        self.process = Some(self.spawn()?);
        Ok(())
    }

    /// Ends the server without a chance to say goodbye to anybody, and waits until it is
    /// gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL).ok();
        self.stop();
    }

    /// Stops the server in its tracks: it accepts connections, and answers nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let redis = self.pid().ok_or(io::ErrorKind::NotFound)?;
        Ok(kill_process(redis, signal)?)
    }

    fn spawn(&self) -> Result<Process, StartError> {
        require_redis()?;
        let (port, folder) = (self.port.to_string(), self.directory.path());
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "redis-keeper"]);
        match &self.kind {
            Kind::Usual => {
                command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
                command.arg("--dir").arg(folder).args(&self.arguments);
            }
            Kind::Bare(prepare) => {
                prepare(self.port, folder)?;
                let filled =
                    |text: &String| text.replace("PORT", &port).replace("DIR", &folder.to_string_lossy());
                command.args(self.arguments.iter().map(filled));
            }
        }
        let mut keeper = command
            .env("GUILDHALL_TEST_DIR", self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(lifeline), Some(output)) = (keeper.stdin.take(), keeper.stdout.take()) else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        };
        match wait_until_ready(output) {
            Ok(redis) => Ok(Process { keeper, lifeline, redis }),
            Err(log) => {
                drop(lifeline);
                keeper.wait()?;
                Err(StartError::NotReady { port: self.port, log })
            }
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisServer").field("port", &self.port).field("pid", &self.pid()).finish()
    }
}

fn require_redis() -> Result<(), StartError> {
    match Command::new("redis-server").arg("--version").stdout(Stdio::null()).status() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StartError::Missing),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Sends a command, its words parted by spaces; what is said, as it is said.
pub(crate) fn ask(server: &RedisServer, command: &str) -> io::Result<String> {
    let mut redis = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server.port())))?;
    redis.set_read_timeout(Some(ANSWERED_WITHIN))?;
    // What follows shows where the answer ends.
    write!(redis, "{command}\r\nPING {END}\r\n")?;
    let mut answer = Vec::new();
    let mut some = [0; 4096];
    let end = format!("${}\r\n{END}\r\n", END.len());
    while !answer.ends_with(end.as_bytes()) {
        match redis.read(&mut some)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&some[..length]),
        }
    }
    answer.truncate(answer.len() - end.len());
    String::from_utf8(answer).map_err(io::Error::other)
}

/// Asks again and again until it is true.
pub(crate) fn wait_until(what: &str, mut asks: impl FnMut() -> bool) -> io::Result<()> {
    let until = Instant::now() + READY_WITHIN;
    while !asks() {
        if Instant::now() > until {
            return Err(io::Error::other(format!("it never came true: {what}")));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Reads the server's process id, then its log until it is ready; the error is the
/// log of one that is not. The rest is read as long as it runs, so that it never
/// waits for somebody to read it.
fn wait_until_ready(output: impl Read + Send + 'static) -> Result<Pid, String> {
    let (lines, log) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            lines.send(line).ok();
        }
    });
    let mut said = Vec::new();
    let mut pid = None;
    while let Ok(line) = log.recv_timeout(READY_WITHIN) {
        pid = pid.or_else(|| line.parse().ok().and_then(Pid::from_raw));
        if let (Some(pid), true) = (pid, READY.iter().any(|ready| line.contains(ready))) {
            return Ok(pid);
        }
        said.push(line);
    }
    Err(said.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_stops_and_comes_back_empty_on_its_port() {
        let mut server = RedisServer::start().unwrap();
        assert_eq!(ask(&server, "INCR n").unwrap(), ":1\r\n");
        let (port, directory) = (server.port(), server.directory.path().to_owned());
        server.stop();
        assert!(ask(&server, "PING").is_err());
        server.restart().unwrap();
        assert_eq!(server.port(), port);
        assert_eq!(ask(&server, "INCR n").unwrap(), ":1\r\n");
        let redis = server.pid().unwrap();
        server.pause().unwrap();
        drop(server);
        assert!(rustix::process::test_kill_process(redis).is_err(), "a paused server ends, too");
        assert!(!directory.exists());
    }

    #[test]
    fn a_server_that_cannot_start_says_why() {
        let error = RedisServer::start_with(&["--maxmemory-policy", "no-such-policy"]).unwrap_err();
        assert!(error.to_string().contains("maxmemory-policy"), "{error}");
    }
}
