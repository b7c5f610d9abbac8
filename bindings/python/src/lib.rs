//! The native half of the Python package `guildhall`: the SDK, and a fleet to embed.
//!
//! Python calls it through `python/guildhall/`, which is what users see; this crate only
//! carries calls over. Every call into the SDK becomes a [`Call`](call::Call), which a
//! synchronous caller waits for and an asynchronous one is woken by, so each is written
//! once.
//!
//! | file | what it does |
//! | --- | --- |
//! | `connection.rs` | the SDK's engine, method by method |
//! | `call.rs` | one call under way: waited for, awaited, given up |
//! | `process.rs` | what this process has one of: the runtime, and who still needs it |
//! | `session.rs` | an engine and, when embedded, its fleet, shared by equal settings |
//! | `settings.rs` | where agents run, and how they are placed |
//! | `launch.rs` | launches as Python tells them |
//! | `records.rs` | agents, events and hosts as Python sees them |
//! | `errors.rs` | which exception an error becomes |
//! | `log.rs` | where the host's log and the agents' output go |

mod call;
mod connection;
mod errors;
mod launch;
mod log;
mod process;
mod records;
mod session;
mod settings;

/// The native half of `guildhall`. Use that, not this.
#[pyo3::pymodule]
mod _guildhall {
    #[pymodule_export]
    use super::{
        call::Call,
        connection::{Connection, Events},
        process::{after_fork, end_all, open_connections},
        records::{AgentEvent, AgentInfo, HostInfo, LastExit},
    };
}
