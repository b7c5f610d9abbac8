//! What each part of a score is worth, and which host has the highest.

use std::collections::BTreeMap;

use guildhall_policy::{
    Candidate, Change, Live, Load, Peer, Quantity, Request, Resources, Standing, Verdict, Warm,
};
use guildhall_policy_weighted::Weighted;

fn live(settings: &str, hosts: impl IntoIterator<Item = Candidate>) -> Live<Weighted> {
    let mut live = Live::configure(settings).unwrap();
    live.observe(hosts.into_iter().map(Change::Upsert));
    live
}

fn request(agent: &str, peers: &[&str], excluded: &[&str]) -> Request {
    let mut request = Request::new("guild", agent);
    request.class_name = "Web".to_owned();
    request.excluded = excluded.iter().map(|&id| id.to_owned()).collect();
    request.peers = peers.iter().map(|&host| peer(host)).collect();
    request
}

fn peer(host: &str) -> Peer {
    Peer { host: host.to_owned(), ..Peer::default() }
}

fn warm(class: &str, ready: u32) -> Warm {
    Warm { class_name: class.to_owned(), ready }
}

fn only(part: &str, weight: i32) -> String {
    let mut weights = BTreeMap::from(
        ["slots", "cpu", "memory", "allocatable", "starts", "warm", "guild", "failed"].map(|part| (part, 0)),
    );
    weights.insert(part, weight);
    let weights: Vec<String> =
        weights.iter().map(|(part, weight)| format!(r#""{part}": {weight}"#)).collect();
    format!(r#"{{"weights": {{{}}}}}"#, weights.join(", "))
}

/// A host of which everything is known: each part is worth something else on it.
fn host() -> Candidate {
    let mut host = Candidate::new("host", 10);
    host.running = 7;
    host.load = Load {
        cpu_fraction: 0.25,
        memory_used: 40,
        memory_total: 100,
        starts_in_flight: 3,
        ..Load::default()
    };
    let resources = |cpu_millis, memory, licences| Resources {
        cpu_millis,
        memory,
        custom: vec![Quantity { name: "licence".to_owned(), amount: licences }],
        ..Resources::default()
    };
    host.allocatable = Some(resources(4000, 1000, 10.0));
    host.requested = resources(1000, 500, 2.0);
    host.warm = vec![warm("Db", 2), warm("Web", 1)];
    host
}

#[test]
fn each_part_is_worth_from_0_to_1() {
    let asks = |cpu_millis, memory, accelerator_millis, licences| Resources {
        cpu_millis,
        memory,
        accelerator_millis,
        custom: vec![Quantity { name: "licence".to_owned(), amount: licences }],
    };
    let plain = request("agent", &[], &[]);
    let mut failed = plain.clone();
    failed.failed_on = vec!["elsewhere".to_owned(), "host".to_owned()];
    let mut other_class = plain.clone();
    other_class.class_name = "Kv".to_owned();
    let asking = |resources| {
        let mut request = plain.clone();
        request.resources = resources;
        request
    };
    let mut cases = vec![
        (only("slots", 1), plain.clone(), 0.3),
        (only("cpu", 2), plain.clone(), 0.75),
        (only("memory", 1), plain.clone(), 0.6),
        (only("starts", 1), plain.clone(), 0.25),
        (only("warm", 1), plain.clone(), 1.0),
        (only("warm", 1), other_class, 0.0),
        (only("failed", 1), plain.clone(), 1.0),
        (only("failed", 1), failed, 0.0),
        (only("guild", 1), request("agent", &["host", "a", "b", "host"], &[]), 0.5),
        (only("guild", -1), request("agent", &["host", "a", "b", "c"], &[]), 0.75),
        (only("guild", 1), plain.clone(), 0.0),
        (only("guild", -3), plain.clone(), 1.0),
        ("{}".to_owned(), plain.clone(), (0.3 + 0.375 + 0.3 + 0.5 + 1.0) / 3.5),
    ];
    for (asked, wanted) in [
        (asks(0, 0, 0, 0.0), 0.5),
        (asks(2000, 0, 0, 0.0), 0.25),
        (asks(1000, 250, 0, 0.0), 0.25),
        (asks(0, 0, 0, 6.0), 0.2),
        (asks(0, 0, 0, f64::NAN), 0.5),
        // There is none of it, or not enough.
        (asks(0, 0, 1, 0.0), 0.0),
        (asks(u64::MAX, u64::MAX, u64::MAX, f64::INFINITY), 0.0),
    ] {
        cases.push((only("allocatable", 1), asking(asked), wanted));
    }
    for (settings, request, wanted) in cases {
        let Verdict::Score(score) = live(&settings, [host()]).score(&request, 0) else {
            panic!("{settings}")
        };
        assert!((score - wanted).abs() < 1e-5, "{settings} {request:?}: {score}, not {wanted}");
    }
}

#[test]
fn what_is_unknown_or_nonsense_is_worth_half() {
    for (cpu, used, total) in [(f64::NAN, 0, 0), (f64::INFINITY, 5, 0), (f64::NEG_INFINITY, 0, 0)] {
        let mut host = Candidate::new("host", 1);
        host.load = Load { cpu_fraction: cpu, memory_used: used, memory_total: total, ..Load::default() };
        for part in ["cpu", "memory", "allocatable"] {
            let score = live(&only(part, 1), [host.clone()]).score(&request("agent", &[], &[]), 0);
            assert_eq!(score, Verdict::Score(0.5), "{part}");
        }
    }
    let mut host = host();
    host.load = Load { cpu_fraction: -7.0, memory_used: u64::MAX, memory_total: 1, ..Load::default() };
    for (part, wanted) in [("cpu", 1.0), ("memory", 0.0)] {
        let score = live(&only(part, 1), [host.clone()]).score(&request("agent", &[], &[]), 0);
        assert_eq!(score, Verdict::Score(wanted), "{part}");
    }
}

#[test]
fn the_reason_says_what_each_part_added() {
    for (settings, peers, wanted) in [
        ("{}", &[][..], "score 71: slots 9, cpu 10, memory 9, warm 14, failed 29"),
        (&only("slots", 9), &[], "score 30: slots 30"),
        (&only("guild", -1), &["host"], "score 0"),
        (
            r#"{"weights": {"warm": 0, "failed": 0, "guild": 2, "allocatable": 1, "starts": 1}}"#,
            &["host", "elsewhere"],
            "score 45: slots 5, cpu 6, memory 5, allocatable 9, starts 4, guild 16",
        ),
    ] {
        let decision = live(settings, [host()]).place(&request("agent", peers, &[])).unwrap();
        assert_eq!(decision.reason, wanted, "{settings}");
    }
}

#[test]
fn the_best_hosts_come_in_order() {
    let hosts = || {
        ["a", "b", "c", "d"].map(|id| {
            let mut host = Candidate::new(id, 10);
            host.running = u32::from(id.as_bytes()[0] - b'a');
            host
        })
    };
    for (peers, excluded, wanted) in [
        (&[][..], &[][..], &["a", "b", "c"][..]),
        (&[], &["b", "unknown", "b"], &["a", "c", "d"]),
        (&["d"], &[], &["d", "a", "b"]),
        (&["d"], &["a", "b", "c"], &["d"]),
    ] {
        let settings = r#"{"weights": {"guild": 3}}"#;
        let decision = live(settings, hosts()).place(&request("agent", peers, excluded)).unwrap();
        let others = decision.others.iter().map(|other| other.host.as_str());
        let chosen: Vec<&str> = [decision.host.as_str()].into_iter().chain(others).collect();
        assert_eq!(chosen, wanted, "{peers:?} {excluded:?}");
    }
}

#[test]
fn counts_what_it_has_placed_until_the_host_reports() {
    let hosts = ["a", "b"].map(|id| {
        let mut host = Candidate::new(id, 3);
        host.warm = vec![warm("Web", 1)];
        host
    });
    for settings in ["{}", &only("starts", 1), &only("slots", 1)] {
        let mut live = live(settings, hosts.clone());
        let mut agents: BTreeMap<String, u32> = BTreeMap::new();
        for agent in 0..6 {
            let decision = live.place(&request(&agent.to_string(), &[], &[])).unwrap();
            *agents.entry(decision.host).or_default() += 1;
        }
        assert_eq!(agents, BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 3)]), "{settings}");
        let refusal = live.place(&request("one more", &[], &[])).unwrap_err();
        assert_eq!(refusal.reason, "none of 2 hosts will do: 2 full");
        assert_eq!(live.score(&request("one more", &[], &[]), 1), Verdict::rejected("full"));

        // `a` reports that all of them ended: it has room again, `b` still counts its own.
        live.observe([Change::Upsert(hosts[0].clone())]);
        assert_eq!(live.place(&request("one more", &[], &[])).unwrap().host, "a");
    }
}

/// A warm runner is gone with the agent that was placed for it, also by a chain of policies.
#[test]
fn a_warm_runner_serves_one_agent() {
    let mut roomy = host();
    roomy.running = 0;
    let mut live = live(&only("warm", 1), [roomy.clone()]);
    let class = |class: &str| {
        let mut request = request("agent", &[], &[]);
        request.class_name = class.to_owned();
        request
    };
    for (asked, wanted) in [("Web", 1.0), ("Web", 0.0), ("Db", 1.0), ("Db", 1.0), ("Db", 0.0), ("Kv", 0.0)] {
        assert_eq!(live.score(&class(asked), 0), Verdict::Score(wanted), "{asked}");
        live.chosen("host");
        live.chosen("nobody");
    }
    live.observe([Change::Upsert(roomy)]);
    assert_eq!(live.score(&class("Web"), 0), Verdict::Score(1.0));
}

#[test]
fn closed_full_and_excluded_hosts_are_not_chosen() {
    let mut hosts = ["cordoned", "draining", "excluded", "full"].map(|id| Candidate::new(id, 1));
    (hosts[0].standing, hosts[1].standing) = (Standing::Cordoned, Standing::Draining);
    (hosts[3].capacity, hosts[3].running) = (3, u32::MAX);
    let refusal = live("{}", hosts).place(&request("agent", &["full"], &["excluded"])).unwrap_err();
    assert_eq!(refusal.reason, "none of 4 hosts will do: 1 cordoned, 1 draining, 1 excluded, 1 full");
    assert_eq!(live("{}", []).place(&request("agent", &[], &[])).unwrap_err().reason, "there are no hosts");
}

#[test]
fn agents_of_equal_hosts_spread_by_their_identity_the_same_in_every_engine() {
    let hosts = || (0..10).map(|at| Candidate::new(format!("h{at}"), 100));
    let mut spread: BTreeMap<String, u32> = BTreeMap::new();
    for agent in 0..100 {
        let request = request(&agent.to_string(), &[], &[]);
        let chosen = live("{}", hosts()).place(&request).unwrap().host;
        // Learned in another order, it is the same fleet.
        assert_eq!(live("{}", hosts().rev()).place(&request).unwrap().host, chosen);
        *spread.entry(chosen).or_default() += 1;
    }
    assert_eq!(spread.len(), 10, "{spread:?}");
}

#[test]
fn wrong_settings_are_named() {
    for (settings, wanted) in [
        ("[]", "the settings must be an object"),
        (r#"{"wieghts": {"cpu": 1}}"#, "wieghts.cpu: is not a setting of this policy"),
        (r#"{"weights": 1}"#, "weights: must be an object, not a number"),
        (r#"{"weights": {"gpu": 1}}"#, "weights.gpu: is not a setting of this policy"),
        (r#"{"weights": {"cpu": "high"}}"#, "weights.cpu: must be a number, not text"),
        (r#"{"weights": {"cpu": -1}}"#, "weights.cpu: must be from 0 to 1000000"),
        (r#"{"weights": {"warm": 1e7}}"#, "weights.warm: must be from 0 to 1000000"),
        (r#"{"weights": {"guild": -1e7}}"#, "weights.guild: must be from -1000000 to 1000000"),
        (&only("cpu", 0), "weights: must not all be 0"),
    ] {
        let error = Live::<Weighted>::configure(settings).unwrap_err().to_string();
        assert_eq!(error, wanted, "{settings}");
    }
}
