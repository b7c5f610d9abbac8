//! Several policies that decide together.

use guildhall::placement::{
    BuiltIn, Candidate, CompiledCache, ConfigureError, FleetChange, LoadError, PlaceError, PlacementService,
    Policy, PolicyArtifact,
};
use serde_json::json;

use crate::{host, join, made, request};

fn chain(document: &serde_json::Value) -> Result<Policy, LoadError> {
    Policy::load(&PolicyArtifact::new("mine", document.to_string().into_bytes()), &CompiledCache::off())
}

fn service(document: &serde_json::Value) -> PlacementService {
    PlacementService::new(chain(document).unwrap(), &json!(null), Default::default()).unwrap()
}

#[test]
fn the_weighted_sum_decides_and_the_reason_shows_each_part() {
    let slots = json!({"policy": "least-loaded", "weight": 2,
        "settings": {"weights": {"slots": 1, "cpu": 0, "memory": 0}}});
    let service = service(&json!({"policies": [slots, "least-loaded"]}));
    let reported =
        |id: &str, running| FleetChange::Upsert(Candidate { running, ..Candidate::new(host(id), 4) });
    service.observe([reported("a", 3), reported("b", 0), reported("c", 4)]);
    let decision = service.place(&request("agent")).unwrap();
    assert_eq!(decision.host, host("b"));
    assert_eq!(decision.reason, "2.75: least-loaded 1.00 x 2 + least-loaded 0.75 x 1");
    assert_eq!(decision.others.len(), 1, "the full one is not named");
    assert_eq!(decision.others[0].host, host("a"));
    assert_eq!(decision.policy.name, "mine");
}

#[test]
fn each_policy_counts_what_they_chose_together() {
    let service = service(&json!({"policies": ["least-loaded"]}));
    service.observe(["a", "b", "c"].map(join));
    let mut hosts: Vec<String> =
        (0..6).map(|at| service.place(&request(&format!("agent-{at}"))).unwrap().host.to_string()).collect();
    hosts.sort();
    assert_eq!(hosts, ["a", "a", "b", "b", "c", "c"]);
}

#[test]
fn a_refusal_counts_what_each_policy_rejects() {
    let service = service(&json!({"policies": ["least-loaded"]}));
    match service.place(&request("agent")) {
        Err(PlaceError::Refused { refusal, .. }) => assert_eq!(refusal.reason, "there are no hosts"),
        other => panic!("{other:?}"),
    }
    service.observe([FleetChange::Upsert(Candidate::new(host("full"), 0)), join("out")]);
    let asked = guildhall::placement::PlacementRequest { excluded: vec![host("out")], ..request("agent") };
    match service.place(&asked) {
        Err(PlaceError::Refused { refusal, .. }) => {
            assert_eq!(refusal.reason, "none of 2 hosts will do: 1 excluded, 1 full");
            assert_eq!(refusal.rejections[0].hosts, ["out"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn hosts_come_and_go_in_any_order_and_the_chain_keeps_step() {
    let service = service(&json!({"policies": ["least-loaded", "least-loaded"]}));
    service.observe((0..300).rev().map(|at| join(&format!("h{at:03}"))));
    service.observe((0..299).map(|at| FleetChange::Remove(host(&format!("h{at:03}")))));
    assert_eq!(service.place(&request("agent")).unwrap().host, host("h299"));
    service.observe([join("h000"), FleetChange::Remove(host("h299"))]);
    assert_eq!(service.place(&request("agent")).unwrap().host, host("h000"));
}

#[test]
fn a_large_fleet_is_not_looked_at_host_by_host_and_agents_spread() {
    let service = service(&json!({"policies": ["least-loaded"]}));
    service.observe((0..1000).map(|at| join(&format!("h{at:04}"))));
    let hosts: std::collections::BTreeSet<_> =
        (0..50).map(|at| service.place(&request(&format!("agent-{at}"))).unwrap().host).collect();
    assert!(hosts.len() > 45, "{}", hosts.len());
}

#[test]
fn what_cannot_be_a_chain_says_why() {
    for (document, wanted) in [
        (json!({"policies": []}), "the chain of policies mine cannot be used: it has 0 policies, of 1 to 8"),
        (
            json!({"policies": vec!["least-loaded"; 9]}),
            "the chain of policies mine cannot be used: it has 9 policies, of 1 to 8",
        ),
        (
            json!({"policies": ["nobody"]}),
            "the chain of policies mine cannot be used: nobody is no built-in policy, and its component is not there",
        ),
        (
            json!({"policies": [{"policy": "least-loaded", "weight": 0}]}),
            "the chain of policies mine cannot be used: least-loaded has a weight of 0, of above 0 to 1000000",
        ),
        (
            json!({"policies": [{"policy": "x", "component": "!"}]}),
            "the chain of policies mine cannot be used: x: Invalid symbol 33, offset 0.",
        ),
        (
            json!({"policies": [{"policy": "x", "component": "e30="}]}),
            "the chain of policies mine cannot be used: x is a chain itself",
        ),
        (
            json!({"policies": [{"policy": "x", "component": "AAAA"}]}),
            "policy x is not a WebAssembly component: it does not begin as WebAssembly does",
        ),
    ] {
        assert_eq!(chain(&document).unwrap_err().to_string(), wanted);
    }
    assert!(chain(&json!({"policys": []})).unwrap_err().to_string().contains("unknown field `policys`"));
    assert!(
        PolicyArtifact::chain(&["least-loaded", "x"]).unwrap_err().to_string().contains("x is no built-in")
    );
}

#[test]
fn a_policy_that_judges_no_hosts_is_told_before_it_decides() {
    let start = |document| PlacementService::new(chain(&document).unwrap(), &json!(null), Default::default());
    let error = start(json!({"policies": ["least-loaded", "round-robin"]})).unwrap_err();
    assert!(matches!(&error, ConfigureError::NotForChains { policy } if policy == "round-robin"), "{error}");
    let error = start(json!({"policies": [{"policy": "least-loaded", "settings": {"x": 1}}]})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy least-loaded refuses its settings: x: is not a setting of this policy"
    );
}

#[test]
fn files_beside_a_chains_own_become_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("best.wasm"), BuiltIn::LeastLoaded.bytes()).unwrap();
    let document = json!({"policies": ["least-loaded", {"policy": "best.wasm", "weight": 0.5}]});
    let file = folder.path().join("both.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let artifact = PolicyArtifact::read(&file).unwrap();
    std::fs::remove_file(folder.path().join("best.wasm")).unwrap();
    let policy = Policy::load(&artifact, &CompiledCache::off()).unwrap();
    let names: Vec<String> = policy.parts().iter().map(|part| part.name.clone()).collect();
    assert_eq!(
        (policy.identity().name.as_str(), names),
        ("both", vec!["least-loaded".to_owned(), "best".to_owned()])
    );

    // Written down with its parts, it is the same.
    std::fs::write(&file, &artifact.component).unwrap();
    assert_eq!(PolicyArtifact::read(&file).unwrap().component, artifact.component);

    std::fs::write(&file, json!({"policies": ["gone.wasm"]}).to_string()).unwrap();
    let error = PolicyArtifact::read(&file).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the policy file ") && error.contains("gone.wasm"), "{error}");
}

#[test]
fn a_part_that_fails_costs_that_decision() {
    let policy = made::Policy::default().component();
    let error =
        chain(&json!({"policies": [{"policy": "made", "component": base64(&policy)}]})).map(|policy| {
            PlacementService::new(policy, &json!(null), Default::default()).unwrap_err().to_string()
        });
    assert_eq!(
        error.unwrap(),
        "policy made judges no single hosts, and cannot be one of several: it does not export `scoring`"
    );
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
