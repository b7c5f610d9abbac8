//! The password of the registry stays with the host.

use guildhall::engine::{ExecutionEngine, GrpcEngine};
use guildhall_testing::{RedisServer, Signal, environment};

use crate::setup::{LIMIT, World, launch_that, ready, world};

const PASSWORD: &str = "hunter2-and-then-some";

#[tokio::test]
async fn the_password_is_neither_in_the_log_nor_in_an_agents_environment() {
    let mut redis = RedisServer::start_with(&["--requirepass", PASSWORD]).unwrap();
    let world = world();
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port());
    add_to_runner(&world, "TOKEN = \"the-runners-secret\"");
    let mut host = ready(world.command().env("REDIS_URL", &url).env("LOG", "trace").env("HOSTNAME", "h1"));
    let registry = guildhall::registry::RedisRegistry::connect(&url, Default::default()).await.unwrap();
    let engine = GrpcEngine::builder().registry(std::sync::Arc::new(registry)).build().await.unwrap();
    engine.wait_for_hosts(1, LIMIT).await.unwrap();
    let agent = engine.run_agent(launch_that("a", r#"{"fork_children": 1}"#)).await.unwrap();

    let processes = world.processes();
    assert_eq!(processes.len(), 2, "the agent and its child");
    assert!(processes.contains(&agent.pid.unwrap()));
    for pid in processes {
        let environment = environment(pid);
        assert!(environment.contains("TOKEN=the-runners-secret"), "{environment}");
        for word in [PASSWORD, "REDIS_URL", "RUNNERS", "LOG_FORMAT"] {
            assert!(!environment.contains(word), "{word} in {environment}");
        }
    }
    // Nor when the registry fails.
    redis.stop();
    host.wait_for_log("the lease was not renewed");
    let error = engine.get_agent(&agent.key).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(PASSWORD));
    host.signal(Signal::TERM);
    host.wait();
    let log = host.log();
    for secret in [PASSWORD, "the-runners-secret"] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// Adds a variable to the environment that the runner table gives to agents.
fn add_to_runner(world: &World, variable: &str) {
    let file = world.path("runners.toml");
    let table = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, table.replace("env = {", &format!("env = {{ {variable},"))).unwrap();
}

/// The user that agents of a pod run as, and the host too.
const SOMEBODY: u32 = 65532;

#[tokio::test]
async fn who_runs_as_the_hosts_user_cannot_read_its_environment() {
    let redis = RedisServer::start().unwrap();
    let world = world();
    for folder in ["", "agents"] {
        let path = std::path::PathBuf::from(world.path(folder));
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    let mut command = world.command();
    command.env("REDIS_URL", redis.url()).env("HOST_ID", "h1");
    // Root may read everything, so nobody in particular is needed for this.
    if rustix::process::geteuid().is_root() {
        std::os::unix::process::CommandExt::uid(&mut command, SOMEBODY);
    }
    let mut host = ready(&mut command);
    let file = format!("/proc/{}/environ", host.pid());
    let mut read = std::process::Command::new("cat");
    read.arg(&file);
    if rustix::process::geteuid().is_root() {
        std::os::unix::process::CommandExt::uid(&mut read, SOMEBODY);
    }
    let read = read.output().unwrap();
    assert!(!read.status.success(), "{file} is readable: {}", String::from_utf8_lossy(&read.stdout));
    host.signal(Signal::TERM);
    assert_eq!(host.wait().code(), Some(0));
}
