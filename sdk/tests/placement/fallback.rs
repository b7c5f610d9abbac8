//! A policy that fails again and again, and the one that decides in its stead.

use std::num::NonZeroU32;

use guildhall::placement::{BuiltIn, CompiledCache, Fallback, PlaceError, PlacementService, Policy};

use crate::{
    host, join, load,
    made::{self, result},
    request, service,
};

fn round_robin() -> Policy {
    Policy::load(&BuiltIn::RoundRobin.into(), &CompiledCache::off()).unwrap()
}

/// A service whose policy fails for the agent `bad`, with round-robin to fall back to.
fn falling_back(body: &str) -> PlacementService {
    service(&made::Policy::bad_place(body)).with_fallback(Fallback::to(round_robin())).unwrap()
}

/// The name of the policy that placed the agent.
fn place(service: &PlacementService, agent: &str) -> Result<String, PlaceError> {
    let mut request = request(agent);
    request.ticket = service.needs().ticket.then_some(0);
    service.place(&request).map(|decision| decision.policy.name.clone())
}

#[test]
fn after_three_failures_in_a_row_the_fallback_decides() {
    for body in ["(unreachable)", "(loop $l (br $l))", &format!("(return {})", result::UNKNOWN)] {
        let service = falling_back(body);
        // A success in between begins the count anew.
        for agent in ["bad", "bad", "good", "bad", "bad", "bad"] {
            match (place(&service, agent), agent) {
                (Ok(by), "good") => assert_eq!(by, "made"),
                (Err(PlaceError::Policy(_)), "bad") => {}
                (other, _) => panic!("{agent}: {other:?}"),
            }
        }
        let status = service.status();
        assert_eq!((status.in_charge.name.as_str(), status.deciding.name.as_str()), ("made", "round-robin"));
        assert_eq!(status.failures, 3);
        assert!(status.last_failure.unwrap().starts_with("policy made "));
        assert!(service.needs().ticket);
        for agent in ["bad", "good"] {
            assert_eq!(place(&service, agent).unwrap(), "round-robin", "{body}");
        }
        // The fallback learns what changes, too.
        service.observe(["b", "c"].map(|gone| guildhall::placement::FleetChange::Remove(host(gone))));
        let mut last = request("agent");
        (last.ticket, last.excluded) = (Some(0), vec![host("a")]);
        assert!(matches!(service.place(&last), Err(PlaceError::Refused { .. })));
        service.observe([join("d")]);
        assert_eq!(service.place(&last).unwrap().host, host("d"));
    }
}

#[test]
fn a_policy_that_works_again_decides_again() {
    let service = falling_back("(unreachable)");
    for _ in 0..3 {
        assert!(place(&service, "bad").is_err());
    }
    let by: Vec<_> = (0..65).map(|_| place(&service, "good").unwrap()).collect();
    assert!(by[..64].iter().all(|by| by == "round-robin"), "{by:?}");
    assert_eq!(by[64], "made");
    assert_eq!((service.status().failures, service.status().last_failure), (0, None));
    assert!(!service.needs().ticket);

    // One that does not work is only tried, at no one's cost.
    for _ in 0..3 {
        assert!(place(&service, "bad").is_err());
    }
    for _ in 0..200 {
        assert_eq!(place(&service, "bad").unwrap(), "round-robin");
    }
    assert!(service.status().failures > 3);
}

#[test]
fn without_a_fallback_each_failure_is_told() {
    let service = service(&made::Policy::bad_place("(unreachable)"));
    for _ in 0..10 {
        assert!(matches!(place(&service, "bad"), Err(PlaceError::Policy(_))));
    }
    assert_eq!(service.status().deciding.name, "made");
    assert_eq!(place(&service, "good").unwrap(), "made");
}

#[test]
fn a_request_without_the_ticket_it_needs_is_told_so_and_fails_nobody() {
    let fallback = Fallback { policy: round_robin(), after: NonZeroU32::MIN };
    let service = service(&made::Policy::bad_place("(unreachable)")).with_fallback(fallback).unwrap();
    assert!(place(&service, "bad").is_err());
    let error = service.place(&request("good")).unwrap_err();
    assert!(matches!(error, PlaceError::NeedsTicket { .. }));
    assert_eq!(error.to_string(), "policy round-robin needs a ticket to decide by");
    assert_eq!(service.status().failures, 1);
    assert_eq!(place(&service, "good").unwrap(), "round-robin");
}

#[test]
fn a_fallback_that_cannot_start_is_told_at_once() {
    let refuses = made::Policy { configure: result::REFUSE_SETTINGS, ..Default::default() };
    let fallback = Fallback::to(load("strict", &refuses));
    let error = service(&made::Policy::default()).with_fallback(fallback).unwrap_err();
    assert_eq!(error.to_string(), "policy strict refuses its settings: nope");
}
