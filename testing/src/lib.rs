//! What the tests of several crates need: real servers and programs that never
//! outlive the test, and a look at the processes there are.

mod binary;
mod processes;
mod program;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod redis_tls;

pub use self::{
    binary::binary,
    processes::{environment, exists, processes_marked, signal, wait_until_none_marked},
    program::Program,
    redis::{RedisServer, StartError},
    redis_cluster::RedisCluster,
    redis_sentinel::RedisSentinel,
    redis_tls::{Certificate, Certificates, RedisTlsServer},
};
pub use rustix::process::Signal;
