//! A program of this workspace, run as a process of a test's own.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::Signal;

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(60);

/// A running program, whose output is kept. It is killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    process: Child,
    stdout: Output,
    stderr: Output,
}

impl Program {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut process = started.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stdout = Output::read(process.stdout.take().expect("it is piped"));
        let stderr = Output::read(process.stderr.take().expect("it is piped"));
        Self { name, process, stdout, stderr }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        crate::signal(self.pid(), signal);
    }

    /// Waits for a line of its standard output that contains `wanted`.
    ///
    /// # Panics
    /// When the output ends without it, or after a minute.
    pub fn wait_for_output(&self, wanted: &str) -> String {
        self.stdout
            .wait_for(wanted, 1)
            .unwrap_or_else(|| panic!("{} never said {wanted:?}:\n{}", self.name, self.said()))
    }

    /// Waits for a line of its log, which is standard error, that contains `wanted`.
    ///
    /// # Panics
    /// When the log ends without it, or after a minute.
    pub fn wait_for_log(&self, wanted: &str) -> String {
        self.wait_for_logs(wanted, 1)
    }

    /// Waits for so many lines of its log that contain `wanted`; answers the last.
    ///
    /// # Panics
    /// When the log ends without them, or after a minute.
    pub fn wait_for_logs(&self, wanted: &str, lines: usize) -> String {
        self.stderr
            .wait_for(wanted, lines)
            .unwrap_or_else(|| panic!("{} did not log {wanted:?} {lines} times:\n{}", self.name, self.said()))
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.stderr.text()
    }

    /// What it has written to standard output so far.
    pub fn output(&self) -> String {
        self.stdout.text()
    }

    /// Waits for its end, and for the end of its output.
    ///
    /// # Panics
    /// When it has not ended after a minute.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.process.try_wait().expect("it is a child of this process") {
                self.stdout.join();
                self.stderr.join();
                return status;
            }
            assert!(Instant::now() < until, "{} does not end:\n{}", self.name, self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn said(&self) -> String {
        format!("{}{}", self.output(), self.log())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One stream, read to its end by a thread so that the program never waits for it.
#[derive(Debug)]
struct Output {
    shared: Arc<(Mutex<Lines>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Output {
    fn read(stream: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Lines::default()), Condvar::new()));
        let writer = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let (lines, news) = &*writer;
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
                news.notify_all();
            }
            lines.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            news.notify_all();
        });
        Self { shared, reader: Some(reader) }
    }

    /// The nth line that contains `wanted`.
    fn wait_for(&self, wanted: &str, nth: usize) -> Option<String> {
        let (lines, news) = &*self.shared;
        let found =
            |lines: &Lines| lines.lines.iter().filter(|line| line.contains(wanted)).nth(nth - 1).cloned();
        let guard = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = news
            .wait_timeout_while(guard, LIMIT, |lines| !lines.ended && found(lines).is_none())
            .unwrap_or_else(PoisonError::into_inner);
        found(&guard)
    }

    fn text(&self) -> String {
        let lines = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
