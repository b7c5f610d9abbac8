//! Where the hosts' log and the agents' output go: to standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// What is shown, in the words of `tracing`; see `guildhall.Settings`.
const VARIABLE: &str = "GUILDHALL_LOG";

/// What agents print, and what went wrong.
const DEFAULT: &str = "warn,agent=info";

/// Begins to write the log; once for a process.
pub(crate) fn begin() {
    let filter = std::env::var(VARIABLE).ok().filter(|filter| !filter.is_empty());
    let filter = EnvFilter::builder().parse_lossy(filter.as_deref().unwrap_or(DEFAULT));
    // Only the first counts.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
}
