//! A small agent that follows the runner contract: it reads its launch document,
//! says that it is ready, answers pings over a Unix socket of its own, and ends on
//! SIGTERM or when its host does. It misbehaves when told to, so that demos and
//! tests can show what a host does about it: see [`Behaviour`] and [`Order`].
//!
//! It needs no runtime, so it starts in about a millisecond; read [`agent`] for what
//! a runner has to do, in one page, and [`zygote`] for what one does that is forked. Tests and demos use [`binary`] to find it,
//! [`socket_path`] and [`ping`] to talk to it. Where it is asked to, it is a [`witness`]
//! of its own life.

pub mod agent;
mod behaviour;
mod client;
mod document;
mod locate;
mod notify;
pub mod witness;
pub mod zygote;

pub use self::{
    behaviour::{Behaviour, OnStart},
    client::{ClientError, Order, Pong, order, ping},
    document::{LaunchDocument, MalformedDocument},
    locate::{NotBuilt, binary, socket_path},
};

/// The variable that says in which directory the agent opens its socket. Without
/// it, that is the directory for temporary files.
pub const DIR_VARIABLE: &str = "ECHO_DIR";
