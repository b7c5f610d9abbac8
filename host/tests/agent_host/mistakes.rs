//! Mistakes of operators: all of them told at once, with an exit code of their own.

use std::{net::TcpListener, process::Command};

use guildhall_testing::{Program, RedisServer};

use crate::setup::{World, world};

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let mut host = Program::start(command);
    let code = host.wait().code();
    (code, host.log())
}

#[test]
fn all_mistakes_are_told_at_once() {
    let world = world();
    let wrong = [
        ("HOSTNAME", "host-*"),
        ("REDIS_URL", "http://:hunter2@10.0.0.1"),
        ("GRPC_PORT", "70000"),
        ("LISTEN_ADDRESS", "0.0.0.0"),
        ("INSECURE", "perhaps"),
        ("MAX_PROCESSES", "0"),
        ("RESTART_LIMIT", "-1"),
        ("HEARTBEAT_INTERVAL", "0s"),
        ("LEASE", "10ms"),
        ("READY_TIMEOUT", "soon"),
        ("POLICY", "no-such-policy"),
        ("POLICY_SETTINGS", "[1]"),
        ("RUNTIME_DIR", "no-such-folder"),
        ("LABELS", "zone"),
        ("LOG", "guildhall=loudly"),
        ("LOG_FORMAT", "xml"),
    ];
    let mut command = world.command();
    command.env_remove("RUNNERS").envs(wrong);
    let (code, log) = ended(&mut command);
    assert_eq!(code, Some(2));
    assert!(!log.contains("hunter2"));
    insta::assert_snapshot!(log);
}

#[test]
fn a_runner_table_that_is_wrong_is_told_with_its_place() {
    let world = world();
    let cases: [(&str, &[u8]); 4] = [
        ("not TOML", b"[runner.echo\n"),
        ("no runners", b""),
        ("no command", b"[runner.echo]\nclass_name = \"*\"\n"),
        ("a key that is not one", b"[runner.echo]\ncommand = \"x\"\nclas_name = \"*\"\n"),
    ];
    let mut told = String::new();
    for (case, table) in cases {
        let file = world.path("wrong.toml");
        std::fs::write(&file, table).unwrap();
        let (code, log) = ended(world.command().env("RUNNERS", &file));
        assert_eq!(code, Some(2), "{case}");
        told += &format!("{case}\n{}\n", log.replace(&file, "wrong.toml"));
    }
    let (code, log) = ended(world.command().env("RUNNERS", "no-such-file.toml"));
    assert_eq!(code, Some(2));
    insta::assert_snapshot!(told + &log);
}

#[test]
fn a_policy_that_cannot_be_used_is_told() {
    let world = world();
    let file = |name: &str, bytes: &[u8]| {
        let path = world.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let cases = [
        ("missing.wasm".to_owned(), "cannot read the policy file missing.wasm: No such file"),
        (file("text.wasm", b"this is no component"), "text"),
        (file("module.wasm", b"\0asm\x01\0\0\0"), "core module"),
        (file("empty.wasm", b""), "it is empty"),
        // These are found out when the policy is compiled.
        (file("nothing.wasm", b"\0asm\x0d\0\x01\0"), "not of the world guildhall:placement/placement"),
        (file("damaged.wasm", b"\0asm\x0d\0\x01\0damaged"), "does not compile"),
    ];
    for (policy, wanted) in cases {
        let (code, log) = ended(world.command().env("POLICY", &policy));
        assert_eq!(code, Some(2), "{policy}: {log}");
        assert!(log.lines().last().unwrap().contains(wanted), "{policy}: {log}");
    }
    let (code, log) = ended(world.command().env("POLICY_SETTINGS", r#"{"no_such_setting": 1}"#));
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("no_such_setting"), "{log}");
}

#[test]
fn a_redis_that_would_throw_records_away_is_refused() {
    let redis = RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let redis = redis.unwrap();
    let world = world();
    let (code, log) = ended(world.command().env("REDIS_URL", redis.url()));
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("maxmemory-policy is allkeys-lru; set it to noeviction"), "{log}");
}

#[test]
fn a_port_in_use_is_told() {
    let world: World = world();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, log) = ended(world.command().env("GRPC_PORT", &port));
    assert_eq!(code, Some(4), "{log}");
    assert!(log.contains(&format!("cannot listen on 127.0.0.1:{port}: Address already in use")), "{log}");
}

#[test]
fn a_flag_that_is_not_one_is_told() {
    let (code, log) = ended(world().command().arg("--max-proceses=3"));
    assert_eq!(code, Some(2));
    assert!(log.contains("--max-processes"), "{log}");
}
