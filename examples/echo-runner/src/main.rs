//! The echo runner: see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == echo_runner::agent::CHILD_ARGUMENT) {
        echo_runner::agent::be_child();
    }
    match echo_runner::agent::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("echo-runner: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
