//! Policies that were built against released versions of the contract go on working.
//!
//! The components in `released/` are those of the SDK when that version was today's.

use guildhall::placement::{
    Candidate, CompiledCache, FleetChange, PlaceError, PlacementService, Policy, PolicyArtifact, Standing,
};
use serde_json::json;

use crate::{host, join, request};

fn service(component: &'static [u8], settings: &serde_json::Value) -> (Policy, PlacementService) {
    let artifact = PolicyArtifact::new("old", component);
    let policy = Policy::load(&artifact, &CompiledCache::off()).unwrap();
    let service = PlacementService::new(policy.clone(), settings, Default::default()).unwrap();
    (policy, service)
}

const ROUND_ROBIN_0_1: &[u8] = include_bytes!("released/round-robin-0.1.0.wasm");
const LEAST_LOADED_0_1: &[u8] = include_bytes!("released/least-loaded-0.1.0.wasm");

#[test]
fn version_0_1_decides_as_it_did() {
    let (policy, service) = service(ROUND_ROBIN_0_1, &json!({}));
    assert_eq!((policy.contract(), policy.interfaces()), ("guildhall:placement@0.1.0", vec![]));
    assert!(service.needs().ticket && !service.needs().peers);
    service.observe(["a", "b", "c"].map(join));
    for (ticket, wanted) in [(0, "a"), (1, "b"), (5, "c"), (6, "a")] {
        let mut request = request("agent");
        request.ticket = Some(ticket);
        let decision = service.place(&request).unwrap();
        assert_eq!((decision.host, decision.others.len()), (host(wanted), 0));
        assert_eq!(decision.reason, format!("ticket {ticket} over 3 hosts"));
    }
    assert!(matches!(service.place(&request("agent")), Err(PlaceError::NeedsTicket { .. })));
}

#[test]
fn version_0_1_takes_its_settings_and_names_what_is_wrong_with_them() {
    let settings = json!({"choices": 0, "weights": {"cpu": 0}});
    let (_, service) = service(LEAST_LOADED_0_1, &settings);
    let busy = Candidate { running: 9, ..Candidate::new(host("a"), 10) };
    service.observe([FleetChange::Upsert(busy), join("b")]);
    assert_eq!(service.place(&request("agent")).unwrap().host, host("b"));

    let policy = Policy::load(&PolicyArtifact::new("old", LEAST_LOADED_0_1), &CompiledCache::off()).unwrap();
    let error = PlacementService::new(policy, &json!({"choises": 2}), Default::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy old refuses its settings: choises: is not a setting of this policy"
    );
}

#[test]
fn for_version_0_1_a_host_that_takes_no_agents_is_not_there() {
    let (_, service) = service(ROUND_ROBIN_0_1, &json!({}));
    service.observe(["a", "b"].map(join));
    let closed = Candidate { standing: Standing::Draining, ..Candidate::new(host("a"), 10) };
    service.observe([FleetChange::Upsert(closed)]);
    let place = || {
        let mut request = request("agent");
        request.ticket = Some(0);
        service.place(&request)
    };
    let decision = place().unwrap();
    assert_eq!((decision.host, decision.reason.as_str()), (host("b"), "ticket 0 over 1 hosts"));
    service.observe([FleetChange::Remove(host("b"))]);
    match place() {
        Err(PlaceError::Refused { refusal, .. }) => assert_eq!(refusal.reason, "there are no hosts"),
        other => panic!("{other:?}"),
    }
    // It opens again.
    service.observe([join("a")]);
    assert_eq!(place().unwrap().host, host("a"));
}

#[test]
fn version_0_1_places_a_guild_one_by_one_and_moves_nobody() {
    let (_, service) = service(LEAST_LOADED_0_1, &json!({}));
    service.observe(["a", "b"].map(join));
    let decision = service.place_guild(&crate::guilds::guild(6)).unwrap();
    let on = |id: &str| decision.hosts.iter().flatten().filter(|found| **found == host(id)).count();
    assert_eq!((on("a"), on("b")), (3, 3));
    assert_eq!(decision.reason, "6 of 6 agents, one by one");
    assert_eq!(service.propose_moves(&[], 5).unwrap(), []);
}
