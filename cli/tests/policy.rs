//! The commands as a new user types them.

mod simulate;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use guildhall::{
    ids::{AgentId, AgentKey, GuildId, HostId},
    placement::{BuiltIn, Candidate, CompiledCache, FleetChange, PlacementRequest, PlacementService, Policy},
};
use guildhall_testing::RedisServer;

const KIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/kit");
const LEAST_LOADED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/src/placement/components/least-loaded.wasm");

fn guildhall(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall"));
    command.current_dir(folder).args(["policy"]).args(arguments).env_remove("REDIS_URL");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it printed; it must succeed.
fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {}", text(&stderr));
    text(&stdout)
}

/// What it said on standard error; it must fail.
fn refused(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(status.code(), Some(1), "{command:?}: {}", text(&stdout));
    text(&stderr)
}

/// A folder with a fleet of three hosts, two of them in the north.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fleet = "hosts:
  - {id: host-a, labels: {zone: north}, running: 7}
  - {id: host-b, labels: {zone: north}, running: 3}
  - {id: host-c, labels: {zone: south}}
";
    fs::write(folder.path().join("fleet.yaml"), fleet).unwrap();
    fs::write(folder.path().join("north.yaml"), "agent: writer\nlabels: {zone: north}\n").unwrap();
    folder
}

/// From nothing to a decision by a policy of one's own, in the four steps that `new` tells.
#[test]
fn a_new_policy_is_tested_built_checked_and_asked() {
    let folder = folder();
    let said = done(&mut guildhall(folder.path(), &["new", "keep-in-zone", "--kit", KIT]));
    assert!(said.contains("guildhall policy build"), "{said}");
    let crate_folder = folder.path().join("keep-in-zone");

    // One folder for what is compiled, so that it is compiled once for all runs.
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("policies");
    let mut test = Command::new(env!("CARGO"));
    test.current_dir(&crate_folder).args(["test", "--lib"]).env("CARGO_TARGET_DIR", &target);
    let said = done(&mut test);
    assert!(said.contains("tests::agents_stay_in_their_zone ... ok"), "{said}");

    let said = done(guildhall(&crate_folder, &["build"]).env("CARGO_TARGET_DIR", &target));
    assert!(said.contains("keep-in-zone.wasm: "), "{said}");
    let component = crate_folder.join("keep-in-zone.wasm");
    let component = component.to_str().unwrap();
    let bytes = fs::metadata(component).unwrap().len();
    assert!(bytes < 64 << 10, "{bytes} bytes");

    let said =
        done(&mut guildhall(folder.path(), &["check", component, "--settings", r#"{"label": "zone"}"#]));
    for line in ["policy     keep-in-zone", "imports    nothing", "settings   accepted", " 10000 hosts: "] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let ask = ["run", component, "--fleet", "fleet.yaml", "--request", "north.yaml", "--json"];
    let said = done(&mut guildhall(folder.path(), &ask));
    let wanted = r#"{"agent":"writer","host":"host-b","reason":"score 97 of 100"}"#;
    assert_eq!(said.trim(), wanted);

    let again = refused(&mut guildhall(folder.path(), &["new", "keep-in-zone"]));
    assert_eq!(again, "guildhall: keep-in-zone is there already\n");
}

#[test]
fn a_burst_is_shown_as_a_table() {
    let folder = folder();
    let ask = ["run", "least-loaded", "--fleet", "fleet.yaml", "--agents", "5"];
    let said = done(&mut guildhall(folder.path(), &ask));
    // Behind the name is the digest of what was compiled.
    let (policy, table) = said.split_once('\n').unwrap();
    assert!(policy.starts_with("policy least-loaded@"), "{policy}");
    insta::assert_snapshot!(table);
}

#[test]
fn what_is_wrong_is_told_where_it_is() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("text.wasm"), "no policy").unwrap();
    fs::write(path.join("typo.yaml"), "hosts:\n  - {id: host-a, capcity: 7}\n").unwrap();
    fs::write(path.join("glob.yaml"), "hosts:\n  - {id: host-*}\n").unwrap();
    let mut said = String::new();
    for arguments in [
        &["new", "Keep In Zone"][..],
        &["new", "zone", "--kit", "no-such-folder"],
        &["build", "no-such-folder"],
        &["build"],
        &["check", "no-such-file.wasm"],
        &["check", "text.wasm"],
        &["check", "least-loaded", "--settings", "{"],
        &["check", "least-loaded", "--settings", "[]"],
        &["check", "least-loaded", "--settings", r#"{"weights": {"cpu": "high"}}"#],
        &["run", "round-robin", "--fleet", "no-such-fleet.yaml"],
        &["run", "round-robin", "--fleet", "typo.yaml"],
        &["run", "round-robin", "--fleet", "glob.yaml"],
        &["publish", "text.wasm", "--redis-url", "redis://localhost"],
        &["publish", "least-loaded", "--redis-url", "http://:hunter2@localhost"],
    ] {
        let told = refused(&mut guildhall(path, arguments)).replace(path.to_str().unwrap(), "FOLDER");
        said += &format!("{}\n  {told}", arguments.join(" "));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_check_for_programs_is_one_json_object() {
    let said = done(&mut guildhall(Path::new("."), &["check", LEAST_LOADED, "--json"]));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["name"], &said["needs_ticket"]), (&"least-loaded".into(), &false.into()));
    assert_eq!(said["contract"], "guildhall:placement@0.2.0");
    let memory = said["costs"][2]["memory_bytes"].as_u64().unwrap();
    assert!((1 << 20..16 << 20).contains(&memory), "{memory}");
    assert!(said["costs"][0]["decision_us"].as_f64().unwrap() > 0.0);
}

/// Decisions of a policy about ten agents, written down in this folder.
fn recorded(folder: &Path) {
    let policy = Policy::load(&BuiltIn::LeastLoaded.into(), &CompiledCache::off()).unwrap();
    let service = PlacementService::new(policy, &serde_json::json!({}), Default::default()).unwrap();
    let _log = service.record(folder).unwrap();
    let host = |id: &str| FleetChange::Upsert(Candidate::new(HostId::new(id).unwrap(), 10));
    service.observe(["a", "b", "c"].map(host));
    for at in 0..10 {
        let agent = AgentId::new(format!("agent-{at}")).unwrap();
        let key = AgentKey::new(GuildId::new("guild").unwrap(), agent);
        service.place(&PlacementRequest::new(key)).unwrap();
    }
}

#[test]
fn recorded_decisions_are_replayed_or_put_to_another_policy() {
    let folder = tempfile::tempdir().unwrap();
    recorded(&folder.path().join("log"));
    let same = done(&mut guildhall(folder.path(), &["replay", "log"]));
    assert_eq!(same, "decisions   10\nother host  0\nother words 0\nfailed      0\n");
    let other = done(&mut guildhall(folder.path(), &["replay", "log", "--policy", "round-robin", "--json"]));
    let other: serde_json::Value = serde_json::from_str(&other).unwrap();
    assert_eq!((&other["decisions"], &other["failed"]), (&10.into(), &0.into()));
    assert!(other["different"].as_u64().unwrap() > 0, "{other}");

    // A decision that is no longer what it was is an error.
    let file = folder.path().join("log/decisions.jsonl");
    let lines = fs::read_to_string(&file).unwrap();
    fs::write(&file, lines.replacen("its slot 1 of 10", "its slot 2 of 10", 1)).unwrap();
    let told = refused(&mut guildhall(folder.path(), &["replay", "log"]));
    assert_eq!(told, "guildhall: 1 decisions are no longer what they were\n");
    let nothing = refused(&mut guildhall(folder.path(), &["replay", "nowhere"]));
    assert!(nothing.starts_with("guildhall: nowhere:0: decisions.jsonl: "), "{nothing}");
}

#[test]
fn a_published_policy_is_shown_until_it_is_withdrawn() {
    let redis = RedisServer::start().unwrap();
    let url = redis.url();
    let fleet = ["--redis-url", url.as_str()];
    let show = || done(&mut guildhall(Path::new("."), &[&["show"][..], &fleet].concat()));
    assert!(show().starts_with("published  nothing"), "{}", show());
    let said = done(&mut guildhall(Path::new("."), &[&["publish", "least-loaded"][..], &fleet].concat()));
    assert!(said.starts_with("published least-loaded@"), "{said}");
    assert!(show().starts_with("published  least-loaded@"), "{}", show());
    done(&mut guildhall(Path::new("."), &[&["withdraw"][..], &fleet].concat()));
    assert!(show().starts_with("published  nothing"), "{}", show());
}
