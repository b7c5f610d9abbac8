//! Files that are no policies, and settings that are no settings.

use std::fs;

use guildhall::placement::{
    BuiltIn, CompiledCache, ConfigureError, LoadError, MAX_POLICY_BYTES, PlacementService, Policy,
    PolicyArtifact, PolicyLimits, Sha256Digest,
};

use crate::{
    artifact, load,
    made::{self, result},
};

fn refused(artifact: &PolicyArtifact) -> LoadError {
    Policy::load(artifact, &CompiledCache::off()).unwrap_err()
}

#[test]
fn what_is_not_a_policy_is_told_apart_from_what_is() {
    let good = made::Policy::default().component();
    let truncated = &good[..good.len() / 2];
    let importing = wat::parse_str(
        r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance)) (import "tick" (func)))"#,
    )
    .unwrap();
    for (name, bytes, wanted) in [
        ("empty", &b""[..], "policy empty is not a WebAssembly component: it is empty"),
        (
            "words",
            b"once upon a time",
            "policy words is not a WebAssembly component: it does not begin as WebAssembly does",
        ),
        (
            "text",
            b"\n(component)",
            "policy text is not a WebAssembly component: it is WebAssembly text; `wasm-tools parse` makes a binary of it",
        ),
        (
            "module",
            &made::Policy::default().module(),
            "policy module is not a WebAssembly component: it is a core module; `wasm-tools component new` makes a component of it",
        ),
        (
            "future",
            b"\0asm\x0e\0\x01\0",
            "policy future is not a WebAssembly component: it is WebAssembly of another version",
        ),
        ("half", truncated, "policy half does not compile: "),
        (
            "greedy",
            &importing,
            "policy greedy imports wasi:clocks/wall-clock@0.2.0, tick; a policy may import nothing",
        ),
        (
            "other",
            &wat::parse_str("(component)").unwrap(),
            "policy other is not of the world guildhall:placement/placement: ",
        ),
    ] {
        let error = refused(&artifact(name, bytes)).to_string();
        match wanted.ends_with(": ") {
            true => assert!(error.starts_with(wanted) && error.len() > wanted.len(), "{error}"),
            false => assert_eq!(error, wanted),
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_policy_does_no_harm() {
    let good = made::Policy::default().component();
    for at in (8..good.len()).step_by(good.len() / 97) {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        // Most do not compile; those that do are another policy, with bounds.
        if let Ok(policy) = Policy::load(&artifact("flipped", flipped), &CompiledCache::off()) {
            let _ = PlacementService::new(policy, &serde_json::json!({}), PolicyLimits::default());
        }
    }
}

#[test]
fn files_are_named_when_they_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.wasm");
    let error = PolicyArtifact::read(&missing).unwrap_err();
    assert!(matches!(&error, LoadError::Unreadable { path, .. } if *path == missing), "{error}");
    assert!(error.to_string().contains("missing.wasm: No such file"), "{error}");
    let named = "(the built-in policies are round-robin, least-loaded, resource-fit, affinity, weighted)";
    assert!(error.to_string().contains(named), "{error}");
    assert!(matches!(PolicyArtifact::read(dir.path()), Err(LoadError::Unreadable { .. })));
    // A directory without a policy.
    let error = PolicyArtifact::read_directory(dir.path()).unwrap_err();
    assert!(error.to_string().contains("policy.wasm: No such file"), "{error}");

    let huge = dir.path().join("huge.wasm");
    fs::File::create(&huge).unwrap().set_len(MAX_POLICY_BYTES + 1).unwrap();
    assert!(matches!(PolicyArtifact::read(huge), Err(LoadError::TooLarge { name }) if name == "huge"));
    let huge = vec![0; usize::try_from(MAX_POLICY_BYTES).unwrap() + 1];
    assert!(matches!(refused(&artifact("huge", huge)), LoadError::TooLarge { name } if name == "huge"));
}

#[test]
fn a_file_is_the_same_policy_as_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.wasm");
    fs::write(&file, BuiltIn::LeastLoaded.bytes()).unwrap();
    let policy = Policy::load(&PolicyArtifact::read(file).unwrap(), &CompiledCache::off()).unwrap();
    assert_eq!(policy.identity().name, "mine");
    assert_eq!(policy.identity().sha256, Sha256Digest::of(BuiltIn::LeastLoaded.bytes()));
}

#[test]
fn a_directory_has_a_policy_with_its_settings_and_its_signature() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("mine");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("policy.wasm"), BuiltIn::LeastLoaded.bytes()).unwrap();
    let bare = PolicyArtifact::read_directory(&dir).unwrap();
    assert_eq!((bare.name.as_str(), &bare.settings, &bare.signature), ("mine", &None, &None));

    fs::write(dir.join("settings.json"), r#"{"weights": {"cpu": 2.0}}"#).unwrap();
    fs::write(dir.join("policy.wasm.sig"), [7; 64]).unwrap();
    let whole = PolicyArtifact::read_directory(&dir).unwrap();
    assert_eq!(whole.settings, Some(serde_json::json!({"weights": {"cpu": 2.0}})));
    assert_eq!(whole.signature, Some(vec![7; 64]));
    assert_ne!(whole.digest(), bare.digest());

    fs::write(dir.join("settings.json"), "{weights}").unwrap();
    let error = PolicyArtifact::read_directory(&dir).unwrap_err().to_string();
    assert!(
        error.contains("settings.json cannot be used: key must be a string at line 1 column 2"),
        "{error}"
    );
}

fn start(policy: &made::Policy, limits: PolicyLimits) -> Result<PlacementService, ConfigureError> {
    PlacementService::new(load("made", policy), &serde_json::json!({}), limits)
}

#[test]
fn a_policy_that_cannot_start_says_why() {
    let limits = PolicyLimits::default();
    let small = PolicyLimits { memory_bytes: 1 << 20, ..limits.clone() };
    for (policy, limits, wanted) in [
        (
            made::Policy { configure: result::REFUSE_SETTINGS, ..Default::default() },
            &limits,
            "policy made refuses its settings: nope",
        ),
        (
            made::Policy { configure: "(unreachable)", ..Default::default() },
            &limits,
            "policy made trapped in configure: wasm trap: wasm `unreachable` instruction executed",
        ),
        (
            made::Policy { configure: "(loop $l (br $l)) (unreachable)", ..Default::default() },
            &limits,
            "policy made took more than 50 ms of CPU time in configure",
        ),
        (
            made::Policy { module: "(func $f (loop $l (br $l))) (start $f)", ..Default::default() },
            &limits,
            "policy made took more than 50 ms of CPU time in start",
        ),
        (
            made::Policy { module: "(table 20000 funcref)", ..Default::default() },
            &limits,
            "policy made ran out of table space in start: it may have 10000 elements",
        ),
        (
            made::Policy::default(),
            &small,
            "policy made ran out of memory in start: it may have 1048576 bytes",
        ),
    ] {
        assert_eq!(start(&policy, limits.clone()).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn stock_policies_name_the_wrong_setting() {
    for (policy, settings, wanted) in [
        (
            BuiltIn::LeastLoaded,
            serde_json::json!({"weights": {"cpu": "high"}}),
            "policy least-loaded refuses its settings: weights.cpu: must be a number, not text",
        ),
        (
            BuiltIn::RoundRobin,
            serde_json::json!({"weights": {}}),
            "policy round-robin refuses its settings: weights: is not a setting of this policy",
        ),
        (
            BuiltIn::RoundRobin,
            serde_json::json!([]),
            "policy round-robin refuses its settings: the settings must be an object",
        ),
    ] {
        let policy = Policy::load(&policy.into(), &CompiledCache::off()).unwrap();
        let error = PlacementService::new(policy, &settings, PolicyLimits::default()).unwrap_err();
        assert!(matches!(error, ConfigureError::Settings { .. }));
        assert_eq!(error.to_string(), wanted);
    }
}
