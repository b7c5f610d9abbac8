//! Decisions written down and gone through again; policies in the shadow of another.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use guildhall::placement::{
    BuiltIn, Candidate, CompiledCache, FleetChange, PlacementRequest, PlacementService, Policy, PolicyLimits,
    RecordedDecisions, Replay,
};
use serde_json::json;

use crate::{built_in, guilds::guild, host, join, load, made, request};

fn policy(policy: BuiltIn) -> Policy {
    Policy::load(&policy.into(), &CompiledCache::off()).unwrap()
}

/// Hosts that report and go, agents, a guild, a refusal, and another policy half way.
fn history(service: &PlacementService) {
    service.observe((0..20).map(|at| join(&format!("h{at:02}"))));
    let place = |agent: &str| {
        let ticket = service.needs().ticket.then_some(7);
        let _ = service.place(&PlacementRequest { ticket, ..request(agent) });
    };
    (0..50).for_each(|at| place(&format!("a{at}")));
    let busy = Candidate { running: 9, ..Candidate::new(host("h03"), 10) };
    service.observe([FleetChange::Upsert(busy), FleetChange::Remove(host("h04"))]);
    service.place_guild(&guild(30)).unwrap();
    service.replace(policy(BuiltIn::RoundRobin), &json!({})).unwrap();
    (50..100).for_each(|at| place(&format!("a{at}")));
    service.observe((0..20).map(|at| FleetChange::Remove(host(&format!("h{at:02}")))));
    place("nowhere");
}

fn replayed(folder: &Path, replay: Replay) -> Replay {
    let mut log = RecordedDecisions::open(folder).unwrap();
    let mut replay = replay;
    while let Some(entry) = log.next_entry().unwrap() {
        replay.take(entry).unwrap();
    }
    replay
}

fn replay() -> Replay {
    Replay::new(CompiledCache::off(), PolicyLimits::default())
}

#[test]
fn a_history_replays_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let service = built_in(BuiltIn::LeastLoaded, &json!({"choices": 2, "weights": {"cpu": 0.25}}));
    let log = service.record(folder.path()).unwrap();
    history(&service);
    drop(log);
    let again = replayed(folder.path(), replay());
    let found = again.comparison();
    assert_eq!((found.decisions, found.different, found.differently_said), (102, 0, 0), "{found:#?}");

    // A line that was written half is where the log ends.
    let file = folder.path().join("decisions.jsonl");
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() - 5);
    fs::write(&file, &bytes).unwrap();
    assert_eq!(replayed(folder.path(), replay()).comparison().decisions, 101);
}

#[test]
fn another_policy_tells_where_it_would_have_decided_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let service = built_in(BuiltIn::LeastLoaded, &json!({}));
    let log = service.record(folder.path()).unwrap();
    history(&service);
    drop(log);
    let other = replayed(folder.path(), replay().by(policy(BuiltIn::RoundRobin), json!(null)));
    let found = other.comparison();
    assert_eq!((found.decisions, found.failed), (102, 0));
    assert!(found.different > 30, "{}", found.different);
    assert_eq!(found.differences.len(), 16);
}

#[test]
fn a_log_that_makes_no_sense_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let error = RecordedDecisions::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("decisions.jsonl: No such file"), "{error}");
    let service = built_in(BuiltIn::LeastLoaded, &json!({}));
    drop(service.record(folder.path()).unwrap());
    assert!(service.record(folder.path()).is_err(), "a log is never written over");
    let kept = fs::read_dir(folder.path().join("policies")).unwrap().next().unwrap().unwrap().path();
    fs::write(&kept, b"another").unwrap();
    let error = RecordedDecisions::open(folder.path()).unwrap().next_entry().unwrap_err().to_string();
    assert!(error.contains(":1: policies/") && error.ends_with("is not what its name says"), "{error}");
    fs::write(folder.path().join("decisions.jsonl"), "{}\n").unwrap();
    let error = RecordedDecisions::open(folder.path()).unwrap().next_entry().unwrap_err().to_string();
    assert!(error.contains(":1: "), "{error}");
}

#[test]
fn a_shadow_decides_too_and_changes_nothing() {
    let plain = built_in(BuiltIn::LeastLoaded, &json!({}));
    let service = built_in(BuiltIn::LeastLoaded, &json!({}));
    service.observe([join("h98"), join("h99")]);
    plain.observe([join("h98"), join("h99")]);
    let shadow = service.shadow(policy(BuiltIn::RoundRobin), json!({})).unwrap();
    assert!(service.needs().ticket, "for the shadow");
    for at in 0..15 {
        let asked = PlacementRequest { ticket: Some(at), ..request(&format!("a{at}")) };
        assert_eq!(service.place(&asked).unwrap(), plain.place(&asked).unwrap());
    }
    eventually(|| shadow.comparison().decisions == 15);
    let found = shadow.comparison();
    assert!(found.different > 2 && found.failed == 0, "{found:?}");
    assert_eq!((shadow.policy().name.as_str(), shadow.ended()), ("round-robin", None));
}

#[test]
fn a_shadow_that_fails_fails_alone() {
    let service = built_in(BuiltIn::LeastLoaded, &json!({}));
    service.observe([join("a")]);
    let bad = load("made", &made::Policy::bad_place("(unreachable)"));
    let shadow = service.shadow(bad, json!({})).unwrap();
    for agent in ["bad", "good"] {
        assert_eq!(service.place(&request(agent)).unwrap().host, host("a"));
    }
    eventually(|| shadow.comparison().decisions == 2);
    assert_eq!((shadow.comparison().failed, shadow.comparison().different), (1, 1));
    let refuses = made::Policy { configure: made::result::REFUSE_SETTINGS, ..Default::default() };
    assert!(service.shadow(load("made", &refuses), json!({})).is_err());
    assert_eq!(service.status().failures, 0);
}

#[test]
fn a_reader_that_is_too_slow_is_left_behind_and_nobody_waits_for_it() {
    let service = built_in(BuiltIn::LeastLoaded, &json!({}));
    service.observe((0..100).map(|at| join(&format!("h{at}"))));
    let slow = load("made", &made::Policy { place: "(loop $l (br $l)) (unreachable)", ..Default::default() });
    let shadow = service.shadow(slow, json!({})).unwrap();
    (0..10_000).for_each(|at| drop(service.place(&request(&format!("a{at}")))));
    eventually(|| shadow.ended().is_some());
    assert_eq!(shadow.ended().unwrap(), "it could not keep up with the decisions");
}

fn eventually(is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}
