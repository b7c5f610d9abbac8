//! The echo runner: see the library for what it does.

use std::process::ExitCode;

use echo_runner::{agent, zygote};

fn main() -> ExitCode {
    let last = std::env::args().next_back();
    let ended = match last.as_deref() {
        Some(agent::CHILD_ARGUMENT) => agent::be_child(),
        Some(zygote::ARGUMENT) => zygote::run(),
        _ => agent::run(),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("echo-runner: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
