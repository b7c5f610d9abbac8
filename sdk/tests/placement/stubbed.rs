//! Policies that import WASI: refused, or given stand-ins that give nothing away.

use guildhall::placement::{
    CompiledCache, Imports, LoadError, PlacementRequest, PlacementService, Policy, PolicyArtifact,
};

use crate::{artifact, join, made, request};

/// Chooses `a` for a reason as long as a random number's last three bits; connects to
/// somewhere for the agent `bad`.
fn curious() -> made::Policy {
    made::Policy {
        imports: r#"
            (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
            (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
            (import "wasi:sockets/network@0.2.0" "connect" (func $connect (param i32)))"#,
        place: "(if (i32.eq (i32.load offset=12 (local.get $request)) (i32.const 3))
                (then (call $connect (i32.const 80))))
            (if (i64.ne (call $now) (call $now)) (then unreachable))
            (i32.store offset=20 (i32.const 3008) (i32.and (i32.wrap_i64 (call $random)) (i32.const 7)))
            (i32.const 1024)",
        ..made::Policy::default()
    }
}

fn policy() -> PolicyArtifact {
    artifact("curious", curious().component())
}

fn service() -> PlacementService {
    let policy = Policy::load_with(&policy(), &CompiledCache::off(), Imports::WasiStubs).unwrap();
    assert_eq!(policy.stubbed().len(), 3);
    let service = PlacementService::new(policy, &serde_json::json!({}), Default::default()).unwrap();
    service.observe([join("a")]);
    service
}

#[test]
fn what_imports_wasi_is_refused_unless_the_operator_allows_it() {
    let error = Policy::load(&policy(), &CompiledCache::off()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy curious imports wasi:clocks/monotonic-clock@0.2.0, wasi:random/random@0.2.0, \
         wasi:sockets/network@0.2.0; a policy may import nothing"
    );
    let other = wat::parse_str(r#"(component (import "tick" (func)))"#).unwrap();
    let error = Policy::load_with(&artifact("other", other), &CompiledCache::off(), Imports::WasiStubs);
    assert!(matches!(error, Err(LoadError::Imports { .. })));
}

#[test]
fn its_clock_stands_still_and_its_chance_is_the_same_everywhere() {
    let said = || {
        let service = service();
        let place = |at: u32| service.place(&request(&format!("agent-{at}"))).unwrap().reason.len();
        (0..20).map(place).collect::<Vec<_>>()
    };
    let once = said();
    assert_eq!(said(), once);
    assert!(once.iter().any(|len| *len != once[0]), "{once:?}");
}

#[test]
fn what_else_it_calls_traps_and_is_named() {
    let service = service();
    let error = service.place(&PlacementRequest { ..request("bad") }).unwrap_err().to_string();
    assert!(error.contains("wasi:sockets/network@0.2.0#connect"), "{error}");
    assert!(service.place(&request("good")).is_ok());
}
