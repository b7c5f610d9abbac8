//! The demo as a program: what it says, and what it leaves when it is killed: nothing.

use std::process::Command;

use guildhall_testing::{Program, Signal, processes_marked, wait_until_none_marked};
use tempfile::TempDir;

const SPECS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs");

/// The demo, with a folder for temporary files whose name marks its processes.
fn demo(args: &[&str]) -> (Program, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.current_dir(SPECS).env("TMPDIR", dir.path()).args(args);
    (Program::start(&mut command), dir)
}

#[test]
fn the_whole_tour_ends_in_one_json_object() {
    let (mut demo, dir) = demo(&["--json", "--spec", "001_point_to_point.yaml"]);
    let status = demo.wait();
    assert!(status.success(), "{status}\n{}", demo.log());
    let report: serde_json::Value = serde_json::from_str(&demo.output()).unwrap();
    insta::assert_json_snapshot!(report, {
        ".policy.sha256" => insta::dynamic_redaction(|hash, _| {
            assert_eq!(hash.as_str().map(str::len), Some(64));
            "[hash]"
        }),
        // Whose turn it was first is anybody's guess.
        ".hosts" => insta::dynamic_redaction(|hosts, _| {
            assert_eq!(hosts.as_slice().map(<[_]>::len), Some(3));
            "[three hosts]"
        }),
        ".agents[].host" => "[host]",
        ".agents[].pid" => "[pid]",
        ".agents[].start_ms" => "[ms]",
        // They start at once, so either may be the first that is claimed.
        ".agents[].epoch" => "[epoch]",
        ".restarted.from_epoch" => "[1 or 2]",
        ".restarted.ms" => "[ms]",
    });
    let epoch = |when: &str| report["restarted"][when].as_u64().unwrap();
    assert!(epoch("from_epoch") < epoch("to_epoch"));
    let agents: u64 =
        report["hosts"].as_array().unwrap().iter().map(|host| host["agents"].as_u64().unwrap()).sum();
    assert_eq!(agents, 2);
    wait_until_none_marked(dir.path().to_str().unwrap());
}

#[test]
fn killed_half_way_it_leaves_no_process() {
    let (mut demo, dir) = demo(&["--json", "--spec", "todo_guild.json"]);
    let mark = dir.path().to_str().unwrap();
    demo.wait_for_log("ping ");
    assert!(processes_marked(mark).len() > 1, "its agents run");
    demo.signal(Signal::KILL);
    demo.wait();
    assert_eq!(demo.output(), "");
    wait_until_none_marked(mark);
}

#[test]
fn told_to_end_half_way_it_leaves_no_process() {
    let (mut demo, dir) = demo(&["--spec", "todo_guild.json"]);
    demo.wait_for_output("ping ");
    demo.signal(Signal::TERM);
    assert!(!demo.wait().success());
    wait_until_none_marked(dir.path().to_str().unwrap());
}

#[test]
fn what_it_cannot_do_it_says_in_one_line() {
    let cases: [&[&str]; 4] = [
        &["--spec", "code_review_guild.yaml"],
        &["--spec", "no_such_guild.yaml"],
        &["--spec", "README.md"],
        &["--spec", "001_point_to_point.yaml", "--policy", "no_such_policy.wasm"],
    ];
    let mut told = String::new();
    for case in cases {
        let args: Vec<_> = ["--json"].into_iter().chain(case.iter().copied()).collect();
        let (mut demo, dir) = demo(&args);
        assert_eq!(demo.wait().code(), Some(1), "{case:?}");
        assert_eq!(demo.output(), "", "{case:?}: no report");
        let log = demo.log();
        let error = log.lines().last().unwrap();
        told += &format!("{}\n  {error}\n", case.join(" "));
        wait_until_none_marked(dir.path().to_str().unwrap());
    }
    insta::assert_snapshot!(told);
}
