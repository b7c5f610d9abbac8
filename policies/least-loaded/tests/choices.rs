//! Which host is the least loaded one.

use std::collections::BTreeMap;

use guildhall_policy::{Candidate, Change, Live, Load, Request};
use guildhall_policy_least_loaded::LeastLoaded;
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

fn host(id: &str, running: u32, capacity: u32, cpu: f64, memory_used: u64, memory_total: u64) -> Candidate {
    let mut host = Candidate::new(id, capacity);
    host.running = running;
    host.load = Load { cpu_fraction: cpu, memory_used, memory_total, ..Load::default() };
    host
}

fn live(settings: &str, hosts: impl IntoIterator<Item = Candidate>) -> Live<LeastLoaded> {
    let mut live = Live::configure(settings).unwrap();
    live.observe(hosts.into_iter().map(Change::Upsert));
    live
}

fn request(agent: &str, excluded: &[&str]) -> Request {
    let mut request = Request::new("guild", agent);
    request.excluded = excluded.iter().map(|&id| id.to_owned()).collect();
    request
}

#[test]
fn weights_decide_what_load_is() {
    let hosts = || {
        [
            host("few-agents", 1, 10, 0.9, 8 * GIB, 10 * GIB),
            host("idle-cpu", 8, 10, 0.1, 8 * GIB, 10 * GIB),
            host("free-memory", 8, 10, 0.9, GIB, 10 * GIB),
            host("even", 4, 10, 0.4, 4 * GIB, 10 * GIB),
            host("full", 10, 10, 0.0, 0, 10 * GIB),
            host("no-room-at-all", 0, 0, 0.0, 0, 10 * GIB),
        ]
    };
    for (settings, wanted) in [
        ("{}", "even"),
        (r#"{"weights": {"cpu": 0, "memory": 0}}"#, "few-agents"),
        (r#"{"weights": {"slots": 0, "memory": 0}}"#, "idle-cpu"),
        (r#"{"weights": {"slots": 0, "cpu": 0, "memory": 3}}"#, "free-memory"),
    ] {
        assert_eq!(live(settings, hosts()).place(&request("agent", &[])).unwrap().host, wanted, "{settings}");
    }
}

#[test]
fn what_is_unknown_or_nonsense_counts_as_half() {
    for (cpu, used, total) in [(f64::NAN, 0, 0), (f64::INFINITY, 5, 0), (f64::NEG_INFINITY, 0, 0)] {
        let unknown = host("unknown", 0, 10, cpu, used, total);
        for (known, wanted) in [(0.2, "known"), (0.8, "unknown")] {
            let known = host("known", 0, 10, known, (known * 100.0) as u64, 100);
            let mut live = live("{}", [unknown.clone(), known]);
            assert_eq!(live.place(&request("agent", &[])).unwrap().host, wanted, "{cpu} {used} {total}");
        }
    }
}

#[test]
fn counts_what_it_has_placed_until_the_host_reports() {
    let hosts = [host("a", 0, 4, 0.5, 0, 0), host("b", 0, 4, 0.5, 0, 0)];
    let mut live = live("{}", hosts.clone());
    let mut agents: BTreeMap<String, u32> = BTreeMap::new();
    for agent in 0..8 {
        let decision = live.place(&request(&agent.to_string(), &[])).unwrap();
        *agents.entry(decision.host).or_default() += 1;
    }
    assert_eq!(agents, BTreeMap::from([("a".to_owned(), 4), ("b".to_owned(), 4)]));
    let refusal = live.place(&request("one more", &[])).unwrap_err();
    assert_eq!(refusal.reason, "none of 2 hosts will do: 2 full");

    // `a` reports that all of them ended: it has room again, `b` still counts its own.
    live.observe([Change::Upsert(hosts[0].clone())]);
    let decision = live.place(&request("one more", &[])).unwrap();
    assert_eq!((decision.host.as_str(), decision.reason.as_str()), ("a", "least loaded: its slot 1 of 4"));
}

#[test]
fn agents_of_equal_hosts_spread_by_their_identity_the_same_in_every_engine() {
    let hosts = || (0..10).map(|at| host(&format!("h{at}"), 0, 100, 0.41 + f64::from(at) / 1000.0, 0, 0));
    for settings in ["{}", r#"{"choices": 0}"#] {
        let first_choices: Vec<String> = (0..100)
            .map(|agent| {
                live(settings, hosts()).place(&request(&format!("agent-{agent}"), &[])).unwrap().host
            })
            .collect();
        let mut spread: BTreeMap<&str, u32> = BTreeMap::new();
        first_choices.iter().for_each(|host| *spread.entry(host).or_default() += 1);
        assert_eq!(spread.len(), 10, "{spread:?}");
        assert!(spread.values().all(|&agents| agents < 30), "{spread:?}");

        // Learned in another order, it is the same fleet.
        let mut other = Live::<LeastLoaded>::configure(settings).unwrap();
        other.observe(hosts().rev().map(Change::Upsert));
        assert_eq!(other.place(&request("agent-7", &[])).unwrap().host, first_choices[7]);
    }
}

/// An idle host among busy ones is preferred by those that draw it, and not by all.
#[test]
fn of_many_hosts_the_idle_one_gets_more_than_its_share_but_not_everything() {
    let hosts = || {
        let idle = [host("idle", 0, 100, 0.0, 0, 100)];
        idle.into_iter().chain((0..49).map(|at| host(&format!("busy-{at:02}"), 50, 100, 0.5, 50, 100)))
    };
    let idle = |settings: &str| {
        let chosen = |agent| live(settings, hosts()).place(&request(&format!("agent-{agent}"), &[])).unwrap();
        (0..500).filter(|agent| chosen(*agent).host == "idle").count()
    };
    assert_eq!(idle(r#"{"choices": 0}"#), 500);
    // Two of fifty draw it with a chance of 4 %, four with one of 8 %.
    assert!((8..40).contains(&idle("{}")), "{}", idle("{}"));
    assert!((20..70).contains(&idle(r#"{"choices": 4}"#)), "{}", idle(r#"{"choices": 4}"#));
}

#[test]
fn of_many_hosts_the_last_free_one_is_found() {
    for settings in ["{}", r#"{"choices": 0}"#] {
        let free = [host("free", 1, 3, 0.5, 0, 0), host("excluded", 0, 9, 0.0, 0, 0)];
        let full = (0..200).map(|at| host(&format!("full-{at:03}"), 5, 5, 0.0, 0, 0));
        let mut live = live(settings, free.into_iter().chain(full));
        for agent in ["a", "b"] {
            assert_eq!(live.place(&request(agent, &["excluded"])).unwrap().host, "free");
        }
        let refusal = live.place(&request("c", &["excluded"])).unwrap_err();
        assert_eq!(refusal.reason, "none of 202 hosts will do: 1 excluded, 201 full");
    }
}

#[test]
fn wrong_settings_are_named() {
    for (settings, wanted) in [
        ("[]", "the settings must be an object"),
        (r#"{"wieghts": 1}"#, "wieghts: is not a setting of this policy"),
        (r#"{"weights": 1}"#, "weights: must be an object, not a number"),
        (r#"{"choices": "two"}"#, "choices: must be a number, not text"),
        (r#"{"choices": 1.5}"#, "choices: must be a whole number from 0 to 1000"),
        (r#"{"choices": -1}"#, "choices: must be a whole number from 0 to 1000"),
        (r#"{"weights": {"gpu": 1}}"#, "weights.gpu: is not a setting of this policy"),
        (r#"{"weights": {"cpu": "high"}}"#, "weights.cpu: must be a number, not text"),
        (r#"{"weights": {"cpu": -1}}"#, "weights.cpu: must be from 0 to 1000000"),
        (r#"{"weights": {"memory": 1e7}}"#, "weights.memory: must be from 0 to 1000000"),
        (
            r#"{"weights": {"slots": 0, "cpu": 0, "memory": 0}}"#,
            "weights.slots: must be above 0 when cpu and memory are 0",
        ),
    ] {
        let error = Live::<LeastLoaded>::configure(settings).unwrap_err().to_string();
        assert_eq!(error, wanted, "{settings}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Report { host: u8, running: u32, capacity: u32, cpu: f64, memory: (u64, u64) },
    Gone { host: u8 },
    Place { agent: u16, excluded: Vec<u8> },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let report = (0..8u8, 0..4u32, 0..6u32, any::<f64>(), any::<(u64, u64)>()).prop_map(
        |(host, running, capacity, cpu, memory)| Step::Report { host, running, capacity, cpu, memory },
    );
    let gone = (0..8u8).prop_map(|host| Step::Gone { host });
    let place = (any::<u16>(), prop::collection::vec(0..10u8, 0..4))
        .prop_map(|(agent, excluded)| Step::Place { agent, excluded });
    prop::collection::vec(prop_oneof![3 => report, 1 => gone, 6 => place], 0..120)
}

proptest! {
    /// Whatever happens, a chosen host is known, not excluded, and has room for all
    /// that was placed on it since it reported; and if there is such a host, one is chosen.
    #[test]
    fn a_chosen_host_is_never_full_excluded_or_unknown(steps in steps()) {
        let mut live = Live::<LeastLoaded>::configure("{}").unwrap();
        let mut room: BTreeMap<String, u32> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Report { host: id, running, capacity, cpu, memory } => {
                    let id = format!("h{id}");
                    live.observe([Change::Upsert(host(&id, running, capacity, cpu, memory.0, memory.1))]);
                    room.insert(id, capacity.saturating_sub(running));
                }
                Step::Gone { host } => {
                    let id = format!("h{host}");
                    live.observe([Change::Remove(id.clone())]);
                    room.remove(&id);
                }
                Step::Place { agent, excluded } => {
                    let excluded: Vec<String> = excluded.iter().map(|host| format!("h{host}")).collect();
                    let mut request = Request::new("guild", agent.to_string());
                    request.excluded = excluded.clone();
                    match live.place(&request) {
                        Ok(decision) => {
                            prop_assert!(!excluded.contains(&decision.host));
                            let room = room.get_mut(&decision.host);
                            prop_assert!(room.as_ref().is_some_and(|room| **room > 0), "{:?}", decision);
                            room.into_iter().for_each(|room| *room -= 1);
                        }
                        Err(refusal) => {
                            let usable = room.iter().any(|(id, &room)| room > 0 && !excluded.contains(id));
                            prop_assert!(!usable, "{}", refusal);
                        }
                    }
                }
            }
        }
    }
}
