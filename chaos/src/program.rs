//! A program of a run: in its namespace, with a log of its own, started again and again.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::network::Place;

/// A program that is started, ended and started again.
#[derive(Debug)]
pub(crate) struct Program {
    place: Place,
    command: PathBuf,
    arguments: Vec<String>,
    /// All variables that it has.
    environment: Vec<(String, String)>,
    log: PathBuf,
    process: Option<Child>,
}

impl Program {
    /// A program that does not run yet.
    pub(crate) fn new(
        place: &Place,
        command: impl Into<PathBuf>,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        log: PathBuf,
    ) -> Self {
        Self { place: place.clone(), command: command.into(), arguments, environment, log, process: None }
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&mut self) -> Result<()> {
        if self.runs() {
            return Ok(());
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        // Each of them makes way for the next, so that the child is the program itself.
        let mut command = self.place.command("env");
        command.arg("-i").args(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(&self.command).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = command.spawn().with_context(|| format!("{} does not start", self.command.display()));
        self.process = Some(started?);
        Ok(())
    }

    /// Whether it runs, be it stopped by a signal.
    pub(crate) fn runs(&mut self) -> bool {
        match self.process.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => true,
            Some(_) => {
                self.process = None;
                false
            }
            None => false,
        }
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&mut self) -> Option<u32> {
        if self.runs() { self.process.as_ref().map(Child::id) } else { None }
    }

    /// Sends it a signal, if it runs.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if let Some(pid) = self.pid() {
            send(pid, signal);
        }
    }

    /// Kills it, and waits until it has ended.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to a process that may have ended.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// All processes with this variable of this value.
pub(crate) fn processes_with(name: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{name}={value}");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    })
    .collect()
}

/// The children of a process with this word among their arguments.
pub(crate) fn children_with(parent: u32, word: &str) -> Vec<u32> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    children.retain(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    });
    children
}

/// A file that fills what is left of a small disk.
pub(crate) fn ballast(dir: &Path) -> PathBuf {
    dir.join("ballast")
}

/// Fills the disk that a folder is on. Answers with the file to remove.
pub(crate) fn fill(dir: &Path) -> Result<PathBuf> {
    let mut file = fs::File::create(ballast(dir))?;
    let block = [0_u8; 4096];
    // It ends when there is no more room, which is what is wanted.
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    Ok(ballast(dir))
}
