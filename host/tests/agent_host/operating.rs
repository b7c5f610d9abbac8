//! What operators change and see while a host runs.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use guildhall::engine::ExecutionEngine;
use guildhall_testing::RedisServer;

use crate::setup::{engine, launch, ready, registry, run, world};

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn prometheus_is_told_how_many_agents_there_are() {
    let redis = RedisServer::start().unwrap();
    let world = world();
    let port = free_port();
    let mut command = world.command();
    command.env("HOST_ID", "h1").env("REDIS_URL", redis.url()).env("METRICS_PORT", port.to_string());
    let _host = ready(command.env("MAX_PROCESSES", "7"));
    run(&engine(&registry(&redis).await, 1).await, 2).await;
    let told = get(port, "/metrics");
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    for line in ["guildhall_agents 2", "guildhall_agents_capacity 7", "guildhall_lease_in_force 1"] {
        assert!(told.lines().any(|told| told == line), "{line} is not in {told}");
    }
    assert!(get(port, "/agents").starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_runner_table_that_changes_is_followed_and_one_that_is_wrong_is_not() {
    let redis = RedisServer::start().unwrap();
    let world = world();
    let file = world.path("runners.toml");
    let right = std::fs::read_to_string(&file).unwrap();
    let host = world.host("h1", &redis);
    let engine = engine(&registry(&redis).await, 1).await;
    // At once, so that nobody reads half of it.
    let put = |table: &str| {
        let new = format!("{file}.new");
        std::fs::write(&new, table).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    put("[runner.echo]\nclas_name = \"*\"\n");
    host.wait_for_log("the runner table has changed and cannot be used");
    engine.run_agent(launch("a")).await.unwrap();
    // Another name for the same program, which a launch can ask for.
    put(&right.replace("[runner.echo]", "[runner.other]"));
    host.wait_for_logs("the runner table has changed", 2);
    let mut other = launch("b");
    other.runner = Some("other".to_owned());
    engine.run_agent(other).await.unwrap();
}
