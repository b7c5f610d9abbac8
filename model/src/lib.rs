//! The protocol of `docs/consistency.md` as a model that is checked exhaustively.
mod action;
mod check;
mod configuration;
mod flaws;
mod host;
mod message;
mod protocol;
mod registry;
mod time;
mod world;
pub use check::*;
pub use configuration::*;
pub use flaws::*;
