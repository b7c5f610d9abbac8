//! A real Redis of a test's own.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read},
    net::TcpListener,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a server may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A free port may be taken by somebody else before Redis listens on it.
const PORTS_TO_TRY: usize = 5;

/// Runs Redis, and ends it when its own standard input ends: that happens when the
/// test lets go of it, and also when the test is killed, whichever thread started it.
/// A Ctrl-C is ignored here, since the test's own end says enough.
const KEEPER: &str = r#"
trap '' INT
redis-server "$@" 2>&1 &
echo $!
exec >/dev/null 2>&1
cat
kill -CONT $!
kill $!
wait $!
rmdir "$GUILDHALL_TEST_DIR"
"#;

/// A Redis server on a free port of the loopback interface, which keeps nothing on
/// disk and ends with this value, or with the test process if that is killed.
///
/// Several tests can share one under key prefixes of their own.
pub struct RedisServer {
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
    process: Option<Process>,
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

    /// Like [`start`](Self::start), with further arguments of `redis-server`, such as
    /// `--requirepass`.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn start_with<A: AsRef<str>>(arguments: &[A]) -> Result<Self, StartError> {
        let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_owned()).collect();
        let directory = tempfile::Builder::new().prefix("guildhall-redis-").tempdir()?;
        let mut server = Self { port: 0, arguments, directory, process: None };
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

    /// The process of the server, while it runs.
    pub fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|process| process.redis)
    }

    /// Ends the server and waits until it is gone, with all its data.
    pub fn stop(&mut self) {
        if let Some(Process { mut keeper, lifeline, .. }) = self.process.take() {
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
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "redis-keeper", "--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(self.directory.path())
            .args(&self.arguments)
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

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
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
        if let (Some(pid), true) = (pid, line.contains("Ready to accept connections")) {
            return Ok(pid);
        }
        said.push(line);
    }
    Err(said.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{SocketAddr, TcpStream},
    };

    use super::*;

    fn ask(server: &RedisServer, command: &str) -> io::Result<String> {
        let mut redis = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server.port())))?;
        writeln!(redis, "{command}\r")?;
        let mut answer = String::new();
        BufReader::new(redis).read_line(&mut answer)?;
        Ok(answer)
    }

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
