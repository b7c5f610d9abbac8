//! The examples do what they say, against two real `agent-host` processes.

use std::process::Command;

use guildhall_testing::{Program, RedisServer, binary, processes_marked, wait_until_none_marked};
use tempfile::TempDir;

const SPECS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/specs");

/// Two hosts; the folder's name is in the environment of their agents alone.
struct World {
    agents: TempDir,
    hosts: Vec<Program>,
    /// The runner table.
    _dir: TempDir,
}

impl World {
    /// Two hosts on one registry, or each with its own.
    fn start(redis: Option<&RedisServer>) -> Self {
        let (dir, agents) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runners = dir.path().join("runners.toml");
        let echo = echo_runner::binary().unwrap();
        let table = format!(
            "[runner.echo]\ncommand = {echo:?}\nclass_name = \"*\"\nenv = {{ ECHO_DIR = {:?} }}\n",
            agents.path()
        );
        std::fs::write(&runners, table).unwrap();
        let start = |id: &str| {
            let mut command = Command::new(binary("agent-host"));
            command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
            command
                .env("RUNNERS", &runners)
                .env("GRPC_PORT", "0")
                .env("HOSTNAME", id)
                .env("LOG_FORMAT", "json");
            command.envs(redis.map(|redis| ("REDIS_URL", redis.url())));
            // Without a registry they place by load, and that of one machine is anyone's guess.
            command.envs(redis.is_none().then_some(("MAX_PROCESSES", "1")));
            Program::start(&mut command)
        };
        Self { hosts: ["h1", "h2"].map(start).into(), agents, _dir: dir }
    }

    /// Waits until the hosts are ready, and says where they listen.
    fn endpoints(&self) -> Vec<String> {
        let endpoint = |host: &Program| {
            let line: serde_json::Value = serde_json::from_str(&host.wait_for_log("host is ready")).unwrap();
            line["fields"]["endpoint"].as_str().unwrap().to_owned()
        };
        self.hosts.iter().map(endpoint).collect()
    }

    fn agents(&self) -> usize {
        processes_marked(self.agents.path().to_str().unwrap()).len()
    }

    fn end(self) {
        drop(self.hosts);
        wait_until_none_marked(self.agents.path().to_str().unwrap());
    }
}

fn example(name: &str, args: &[&str]) -> Program {
    Program::start(Command::new(binary(name)).args(args))
}

/// Runs an example to its end; its lines, sorted.
fn lines(name: &str, args: &[&str]) -> Vec<String> {
    let mut program = example(name, args);
    let status = program.wait();
    assert!(status.success(), "{name}: {status}\n{}{}", program.output(), program.log());
    let mut lines: Vec<_> = program.output().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_guild_is_run_watched_and_stopped() {
    let redis = RedisServer::start().unwrap();
    let world = World::start(Some(&redis));
    world.endpoints();
    let spec = format!("{SPECS}/001_point_to_point.yaml");
    let watch = example("watch_events", &[&redis.url(), "p2p_guild"]);
    watch.wait_for_output("0 agents");

    let ran = lines("run_guild", &[&redis.url(), &spec]);
    let words: Vec<_> = ran.iter().map(|line| line.split(" on ").next().unwrap()).collect();
    assert_eq!(words, ["p2p_guild/agent1 runs", "p2p_guild/agent2 runs"]);
    let mut hosts: Vec<_> = ran.iter().map(|line| line.split(' ').nth(3).unwrap()).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["h1", "h2"]);
    assert_eq!(world.agents(), 2, "they go on without the program");
    watch.wait_for_output("p2p_guild/agent1 is running");
    watch.wait_for_output("p2p_guild/agent2 is running");

    let stopped = lines("run_guild", &[&redis.url(), &spec, "--stop"]);
    assert!(
        stopped[0].contains("does not run: agent p2p_guild/agent1 is already running on host"),
        "{stopped:?}"
    );
    assert_eq!(stopped[1], "p2p_guild/agent1 stopped: true");
    assert_eq!(world.agents(), 0);
    watch.wait_for_output("p2p_guild/agent1 was stopped");
    watch.wait_for_output("p2p_guild/agent2 was stopped");
    world.end();
}

#[test]
fn a_static_fleet_needs_no_registry() {
    let world = World::start(None);
    let spec = format!("{SPECS}/001_point_to_point.yaml");
    let endpoints = world.endpoints();
    let args: Vec<_> = [spec.as_str()].into_iter().chain(endpoints.iter().map(String::as_str)).collect();
    let lines = lines("static_fleet", &args);
    assert_eq!(lines[..2], ["Agent1 is running", "Agent2 is running"]);
    let mut hosts: Vec<_> = lines[2..].iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["h1", "h2"], "each takes one");
    assert_eq!(world.agents(), 0);
    world.end();
}

#[test]
fn each_example_fits_on_a_page() {
    for entry in std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines < 60, "{} has {lines} lines", path.display());
        }
    }
}
