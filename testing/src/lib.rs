//! What the tests of several crates need: real servers and programs that never
//! outlive the test, and a look at the processes there are.

mod binary;
mod certificates;
mod processes;
mod program;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod redis_tls;

pub use self::{
    binary::binary,
    certificates::{Certificate, Certificates},
    processes::{environment, exists, processes_marked, signal, wait_until_none_marked},
    program::Program,
    redis::{RedisServer, StartError},
    redis_cluster::RedisCluster,
    redis_sentinel::RedisSentinel,
    redis_tls::RedisTlsServer,
};
pub use rustix::process::Signal;
