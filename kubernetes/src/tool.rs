//! Tools that are run to their end.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, ensure};

/// What a tool said that succeeded.
#[derive(Debug)]
pub struct Said {
    /// Its standard output.
    pub output: String,
    /// Its standard error, where `kubectl` writes what the API server warns of.
    pub errors: String,
}

/// Runs a command to its end, with `input` as its standard input.
///
/// # Errors
/// When it cannot be run, or fails: with all that it said.
pub fn run_with(command: &mut Command, input: &str) -> Result<Said> {
    let name = format!("{} {}", command.get_program().display(), arguments(command));
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} cannot be run"))?;
    let stdin = process.stdin.take();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        process.wait_with_output()
    })?;
    let said = Said {
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    ensure!(output.status.success(), "{name} failed, {}: {}{}", output.status, said.output, said.errors);
    Ok(said)
}

/// Runs a tool to its end.
///
/// # Errors
/// When it cannot be run, or fails.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Result<Said> {
    run_with(Command::new(tool).args(arguments), "")
}

/// A path as text.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

fn arguments(command: &Command) -> String {
    command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
