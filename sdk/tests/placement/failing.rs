//! Policies that fail: one decision has an error, and the next one works.

use std::time::Duration;

use guildhall::placement::{Call, Candidate, FleetChange, PlaceError, PolicyError, Standing};

use crate::{
    host, join,
    made::{self, result},
    request, service,
};

#[test]
fn a_failure_in_place_costs_that_decision_and_no_other() {
    let grow = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    for (body, wanted) in [
        ("(loop $l (br $l))", "policy made took more than 50 ms of CPU time in place"),
        ("(unreachable)", "policy made trapped in place: wasm trap: wasm `unreachable` instruction executed"),
        ("(drop (i32.load (i32.const -8)))", "policy made trapped in place: "),
        (
            "(drop (call $deep (i32.const 0)))",
            "policy made trapped in place: wasm trap: call stack exhausted",
        ),
        (grow, "policy made ran out of memory in place: it may have 16777216 bytes"),
        (
            "(if (i32.eq (table.grow $t (ref.null func) (i32.const 1000000)) (i32.const -1)) (then unreachable))",
            "policy made ran out of table space in place: it may have 10000 elements",
        ),
        (
            &format!("(return {})", result::UNKNOWN),
            r#"policy made chose the host "zzz", which is not in the fleet"#,
        ),
        (&format!("(return {})", result::OUTSIDE), "policy made trapped in place: "),
        (&format!("(return {})", result::NOT_TEXT), "policy made trapped in place: "),
        (&format!("(return {})", result::HUGE_LIST), "policy made trapped in place: "),
        (&format!("(return {})", result::NEITHER), "policy made trapped in place: "),
        (&format!("(return {})", result::NAN), "policy made answered nonsense in place: a score of NaN"),
        (
            &format!("(return {})", result::NOTHING),
            "policy made answered nonsense in place: neither a host nor a refusal",
        ),
        (
            &format!("(return {})", result::TOO_MANY),
            "policy made answered nonsense in place: 17 hosts, of 16 at most",
        ),
        // The name of a host where the request has its guild's.
        (
            "(i32.store (i32.const 3008) (i32.load (local.get $request)))
             (i32.store offset=4 (i32.const 3008) (i32.const 5)) (return (i32.const 1024))",
            r#"policy made chose the host "guild", which is not in the fleet"#,
        ),
        ("(return (i32.const -4))", "policy made trapped in place: "),
    ] {
        let module = "(table $t 1 funcref)
            (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))";
        let service = service(&made::Policy { module, ..made::Policy::bad_place(body) });
        assert_eq!(service.place(&request("good")).unwrap().host, host("a"));
        for _ in 0..2 {
            let error = service.place(&request("bad")).unwrap_err();
            assert!(matches!(error, PlaceError::Policy(_)));
            let error = error.to_string();
            match wanted.ends_with(": ") {
                true => assert!(error.starts_with(wanted) && error.len() > wanted.len(), "{body}: {error}"),
                false => assert_eq!(error, wanted, "{body}"),
            }
            let next = service.place(&request("good")).unwrap();
            assert_eq!((next.host, next.reason.as_str()), (host("a"), "fine"), "{body}");
        }
    }
}

#[test]
fn a_refusal_is_no_failure() {
    let service = service(&made::Policy::bad_place(&format!("(return {})", result::REFUSE)));
    let error = service.place(&request("bad")).unwrap_err();
    assert!(matches!(&error, PlaceError::Refused { refusal, .. } if refusal.reason == "nope"));
    assert_eq!(error.to_string(), "policy made found no host: nope");
}

#[test]
fn a_host_that_the_request_excludes_is_an_error_that_names_it() {
    let service = service(&made::Policy::default());
    let mut request = request("agent");
    request.excluded = vec![host("b"), host("a")];
    let error = service.place(&request).unwrap_err();
    assert!(
        matches!(&error, PlaceError::Policy(PolicyError::ExcludedHost { host: id, .. }) if *id == host("a"))
    );
    assert_eq!(error.to_string(), "policy made chose the host a, which the request excludes");
    request.excluded.pop();
    assert_eq!(service.place(&request).unwrap().host, host("a"));
}

#[test]
fn long_answers_are_cut() {
    let service = service(&made::Policy::bad_place(&format!("(return {})", result::LONG_REASON)));
    assert_eq!(service.place(&request("bad")).unwrap().reason, " ".repeat(4096));

    let service = crate::service(&made::Policy::bad_place(&format!("(return {})", result::LONG_HOST)));
    match service.place(&request("bad")) {
        Err(PlaceError::Policy(PolicyError::UnknownHost { host, .. })) => assert_eq!(host.len(), 256),
        other => panic!("{other:?}"),
    }
}

/// Fails when it is told of two changes at once; chooses `a` for a reason as long as
/// the number of changes it was told of.
fn counting(failure: &str) -> made::Policy {
    let observe = format!(
        "(if (i32.eq (local.get $len) (i32.const 2)) (then {failure}))
         (global.set $seen (i32.add (global.get $seen) (local.get $len)))"
    );
    made::Policy {
        module: "(global $seen (mut i32) (i32.const 0))",
        observe: observe.leak(),
        place: "(if (i32.eq (i32.load offset=12 (local.get $request)) (i32.const 3)) (then unreachable))
            (i32.store offset=20 (i32.const 3008) (global.get $seen)) (i32.const 1024)",
        ..Default::default()
    }
}

#[test]
fn after_a_failure_a_fresh_instance_is_told_of_the_whole_fleet() {
    for failure in ["(unreachable)", "(loop $l (br $l))"] {
        let service = service(&counting(failure));
        let told = |agent: &str| service.place(&request(agent)).map(|decision| decision.reason.len());
        assert_eq!(told("good").unwrap(), 3);
        assert!(told("bad").is_err());
        assert_eq!(told("good").unwrap(), 3, "a, b and c again, after a failure in place");

        service.observe(["d", "e"].map(join));
        assert_eq!(service.hosts(), 5);
        assert_eq!(told("good").unwrap(), 5, "all of them, after a failure in observe");
        service.observe([join("f")]);
        assert_eq!(told("good").unwrap(), 6);
    }
}

#[test]
fn a_policy_that_cannot_learn_of_its_fleet_says_so_until_the_fleet_changes() {
    let service = service(&counting("(unreachable)"));
    service.observe([guildhall::placement::FleetChange::Remove(host("c"))]);
    // Told of one change at a time so far; a fresh one would be told of two at once.
    assert!(service.place(&request("bad")).is_err());
    for _ in 0..2 {
        match service.place(&request("good")) {
            Err(PlaceError::Policy(PolicyError::Trapped { call, .. })) => assert_eq!(call, Call::Observe),
            other => panic!("{other:?}"),
        }
    }
    service.observe([join("d")]);
    assert_eq!(service.place(&request("good")).unwrap().host, host("a"));
}

#[test]
fn a_decision_passes_the_request_and_nothing_of_the_fleet() {
    // A reason as long as the bytes the service asked the policy to hold.
    let service = service(&made::Policy {
        place: "(i32.store offset=20 (i32.const 3104) (global.get $asked)) (i32.const 1408)",
        ..Default::default()
    });
    let bytes = |agent: &str| service.place(&request(agent)).unwrap().reason.len();
    let among_3 = bytes("agent");
    service.observe((0..1000).map(|at| join(&format!("host-{at}"))));
    assert_eq!(bytes("agent"), among_3);
    assert_eq!(bytes("agent-1"), among_3 + 2);
}

#[test]
fn services_of_one_policy_share_nothing() {
    let policy = crate::load("made", &counting("(unreachable)"));
    let start = || {
        guildhall::placement::PlacementService::new(
            policy.clone(),
            &serde_json::Value::Null,
            Default::default(),
        )
        .unwrap()
    };
    let (one, other) = (start(), start());
    one.observe(["a", "b", "c"].map(join));
    other.observe([join("a")]);
    assert!(one.place(&request("bad")).is_err());
    assert_eq!(other.place(&request("good")).unwrap().reason.len(), 1);
    assert_eq!(one.place(&request("good")).unwrap().reason.len(), 3);
}

#[test]
fn a_host_that_takes_no_agents_is_an_error_that_names_it() {
    let service = service(&made::Policy::default());
    for standing in [Standing::Draining, Standing::Cordoned] {
        let closed = Candidate { standing, ..Candidate::new(host("a"), 10) };
        service.observe([FleetChange::Upsert(closed)]);
        let error = service.place(&request("good")).unwrap_err();
        assert_eq!(error.to_string(), "policy made chose the host a, which takes no agents");
    }
    service.observe([join("a")]);
    assert_eq!(service.place(&request("good")).unwrap().host, host("a"));
}

#[test]
fn nobody_waits_for_ever_because_a_policy_says_so() {
    let service = service(&made::Policy::bad_place(&format!("(return {})", result::WAIT_LONG)));
    match service.place(&request("bad")) {
        Err(PlaceError::Refused { refusal, .. }) => {
            assert_eq!(refusal.retry_after, Some(Duration::from_secs(3600)));
        }
        other => panic!("{other:?}"),
    }
}
