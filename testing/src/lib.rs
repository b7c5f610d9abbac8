//! What the tests of several crates need: real servers and programs that never
//! outlive the test, and a look at the processes there are.

mod processes;
mod program;
mod redis;

pub use self::{
    processes::{environment, exists, processes_marked, signal, wait_until_none_marked},
    program::Program,
    redis::{RedisServer, StartError},
};
pub use rustix::process::Signal;
