//! An agent that writes more than anybody wants to read.

use guildhall::engine::ExecutionEngine;
use guildhall_testing::RedisServer;

use crate::setup::{engine, launch, launch_that, ready, registry, world};

/// A figure of the process's memory, bytes: `VmRSS`, or `VmHWM` for the most it was.
fn memory(pid: u32, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_gigabyte_on_standard_error_is_not_kept() {
    let redis = RedisServer::start().unwrap();
    let world = world();
    let mut command = world.command();
    command.env("HOSTNAME", "h1").env("REDIS_URL", redis.url()).env("READY_TIMEOUT", "300s");
    let host = ready(&mut command);
    let registry = registry(&redis).await;
    let engine = engine(&registry, 1).await;
    engine.run_agent(launch("quiet")).await.unwrap();
    let before = memory(host.pid(), "VmRSS");
    let loud = engine.run_agent(launch_that("loud", r#"{"stderr_bytes":1000000000}"#)).await.unwrap();
    let grown = memory(host.pid(), "VmHWM").saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes");
    let stopped = engine.stop_agent(&loud.key).await.unwrap();
    assert_eq!(stopped.last_exit.unwrap().stderr.lines().last(), Some("flooded 15625000 lines"));
}
