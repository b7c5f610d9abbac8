//! Chores of this workspace that are programs: `cargo run --release -p xtask -- --help`.

mod certificates;
mod policies;
mod record;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of the Guildhall workspace")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build the stock policies and write their components into the SDK.
    Policies {
        /// Write nothing: fail when the components are not what their sources make.
        #[arg(long)]
        check: bool,
        /// Use this compiler, and no other.
        #[arg(long, value_name = "PATH")]
        rustc: Option<PathBuf>,
    },
    /// Make an authority and a certificate for each role, to try TLS on a laptop.
    Certificates {
        /// A folder that is new or empty.
        folder: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Policies { check: true, rustc } => policies::check(rustc),
        Chore::Policies { check: false, rustc } => policies::refresh(rustc),
        Chore::Certificates { folder } => certificates::write(&folder),
    }
}
