//! `guildhall`: the command for those who write placement policies and those who run a
//! fleet by them.

mod policy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Placement policies: which host gets this agent?
#[derive(Parser)]
#[command(name = "guildhall", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write, build, check, try and publish placement policies.
    #[command(subcommand)]
    Policy(policy::Command),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let Command::Policy(command) = Arguments::parse().command;
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guildhall: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and what caused it, each once: many say their cause themselves.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        said if said.contains(&cause) => told,
        _ => format!("{told}: {cause}"),
    })
}
