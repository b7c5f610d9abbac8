//! The short form of the suite: about ten faults against a real fleet.
//!
//! It needs what `make setup` installs, and a machine that lets it make namespaces. Where
//! it may not, it fails and says so: a promise that nobody checked is not kept.

use std::process::Command;

#[test]
fn ten_faults_neither_run_an_agent_twice_nor_lose_one() {
    let output = tempfile::tempdir().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["--seed", "52", "--faults", "10", "--registry", "single", "--planted", "none"])
        .arg("--output")
        .arg(output.path())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{}: {said}", run.status);
    let report = std::fs::read_to_string(output.path().join("chaos.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    for count in ["overlaps", "lost", "stale_writes_accepted", "epoch_regressions", "revived"] {
        assert_eq!(report[count], 0, "{count}: {said}");
    }
    let faults = report["faults"].as_object().unwrap();
    let done: u64 = faults.values().filter_map(serde_json::Value::as_u64).sum();
    assert!(done >= 8, "a fault that has nothing to be done to is left out, but not all: {said}");
}
