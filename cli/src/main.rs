//! `guildhall`: the command for those who write placement policies and those who run a
//! fleet.

mod connection;
mod fleet;
mod policy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Placement policies, and fleets that run by them.
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
    /// Look at the hosts of a fleet; cordon, drain and bury them.
    #[command(subcommand)]
    Host(fleet::HostCommand),
    /// Look at the agents of a fleet, and move them.
    #[command(subcommand)]
    Agent(fleet::AgentCommand),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let done = match Arguments::parse().command {
        Command::Policy(command) => command.run(),
        Command::Host(command) => command.run(),
        Command::Agent(command) => command.run(),
    };
    match done {
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
