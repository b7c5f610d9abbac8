//! One policy takes the place of another while decisions go on.

use std::sync::atomic::{AtomicBool, Ordering};

use guildhall::placement::{
    BuiltIn, Candidate, CompiledCache, Fallback, FleetChange, PlacementService, Policy, ReplaceError,
};

use crate::{
    host, load,
    made::{self, result},
    request, service,
};

fn built_in(policy: BuiltIn) -> Policy {
    Policy::load(&policy.into(), &CompiledCache::off()).unwrap()
}

#[test]
fn the_new_policy_knows_the_fleet_and_decides_from_the_next_request_on() {
    let service = service(&made::Policy::default());
    assert_eq!(service.place(&request("agent")).unwrap().policy.name, "made");
    assert!(!service.needs().ticket);

    service.replace(built_in(BuiltIn::RoundRobin), &serde_json::json!({})).unwrap();
    assert_eq!(service.identity().name, "round-robin");
    assert!(service.needs().ticket);
    service.observe([FleetChange::Remove(host("b"))]);
    let mut chosen = Vec::new();
    for ticket in 0..2 {
        let mut request = request("agent");
        request.ticket = Some(ticket);
        chosen.push(service.place(&request).unwrap().host);
    }
    assert_eq!(chosen, ["a", "c"].map(host));
}

#[test]
fn a_policy_that_is_of_no_use_is_refused_and_the_old_one_stays() {
    let service = service(&made::Policy::default());
    service.place(&request("bad")).unwrap();
    let none = serde_json::Value::Null;
    let cases = [
        (
            made::Policy { configure: result::REFUSE_SETTINGS, ..Default::default() },
            "policy new refuses its settings: nope",
        ),
        (
            made::Policy { configure: "(loop $l (br $l)) (unreachable)", ..Default::default() },
            "policy new took more than 50 ms of CPU time in configure",
        ),
        (
            made::Policy { observe: "(unreachable)", ..Default::default() },
            "the new policy new trapped in observe: wasm trap: wasm `unreachable` instruction executed",
        ),
        // It fails for an agent that was placed a while ago.
        (
            made::Policy::bad_place("(unreachable)"),
            "the new policy new trapped in place: wasm trap: wasm `unreachable` instruction executed",
        ),
    ];
    for (policy, wanted) in cases {
        let error = service.replace(load("new", &policy), &none).unwrap_err();
        assert_eq!(error.to_string(), wanted);
        assert_eq!(service.place(&request("bad")).unwrap().policy.name, "made");
    }
    let error =
        service.replace(built_in(BuiltIn::LeastLoaded), &serde_json::json!({"weight": 1})).unwrap_err();
    assert!(matches!(error, ReplaceError::Configure(_)));
    assert!(error.to_string().contains("weight"), "{error}");
    // A refusal is a policy's right.
    let refuses = made::Policy { place: result::REFUSE, ..Default::default() };
    service.replace(load("new", &refuses), &none).unwrap();
}

#[test]
fn a_new_policy_begins_with_a_clean_record() {
    let fallback = Fallback::to(built_in(BuiltIn::LeastLoaded));
    let service = service(&made::Policy { place: "(unreachable)", ..Default::default() });
    let service = service.with_fallback(fallback).unwrap();
    for _ in 0..3 {
        assert!(service.place(&request("agent")).is_err());
    }
    assert_eq!(service.status().deciding.name, "least-loaded");
    service.replace(load("better", &made::Policy::default()), &serde_json::Value::Null).unwrap();
    let status = service.status();
    assert_eq!((status.deciding.name.as_str(), status.failures, status.last_failure), ("better", 0, None));
    assert_eq!(service.place(&request("agent")).unwrap().policy.name, "better");
}

/// A host that never gets full.
fn roomy(id: &str) -> FleetChange {
    FleetChange::Upsert(Candidate::new(host(id), u32::MAX))
}

/// Whatever happens meanwhile, no decision fails, and a new policy knows the fleet as it
/// is.
#[test]
fn decisions_and_changes_of_the_fleet_go_on_while_policies_are_replaced() {
    let service =
        PlacementService::new(built_in(BuiltIn::LeastLoaded), &serde_json::Value::Null, Default::default())
            .unwrap();
    let ids: Vec<_> = (0..1000).map(|at| format!("host-{at:04}")).collect();
    service.observe(ids.iter().map(|id| roomy(id)));
    let policies = [built_in(BuiltIn::RoundRobin), built_in(BuiltIn::LeastLoaded)];
    let ending = AtomicBool::new(false);
    let going_on = || !ending.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for ticket in (0..).take_while(|_| going_on()) {
                let mut request = request(&format!("agent-{ticket}"));
                request.ticket = Some(ticket);
                service.place(&request).unwrap();
            }
        });
        scope.spawn(|| {
            for id in ids.iter().cycle().take_while(|_| going_on()) {
                service.observe([FleetChange::Remove(host(id))]);
                service.observe([roomy(id)]);
            }
        });
        for round in 0..40 {
            service.replace(policies[round % 2].clone(), &serde_json::Value::Null).unwrap();
        }
        ending.store(true, Ordering::Relaxed);
    });
    service.replace(policies[0].clone(), &serde_json::Value::Null).unwrap();
    for (ticket, id) in (0..).zip(&ids) {
        let mut request = request("agent");
        request.ticket = Some(ticket);
        assert_eq!(service.place(&request).unwrap().host, host(id));
    }
}
