//! Which host an agent fits on.

use std::collections::BTreeMap;

use guildhall_policy::{Candidate, Change, Live, Quantity, Request, Resources, Standing, Verdict};
use guildhall_policy_resource_fit::ResourceFit;

const GIB: u64 = 1 << 30;

fn resources(cpu_millis: u64, memory: u64, accelerator_millis: u64) -> Resources {
    Resources { cpu_millis, memory, accelerator_millis, custom: Vec::new() }
}

fn with(mut resources: Resources, name: &str, amount: f64) -> Resources {
    resources.custom.push(Quantity { name: name.to_owned(), amount });
    resources
}

fn host(id: &str, requested: Resources, allocatable: Resources) -> Candidate {
    let mut host = Candidate::new(id, 10);
    (host.requested, host.allocatable) = (requested, Some(allocatable));
    host
}

fn live(settings: &str, hosts: impl IntoIterator<Item = Candidate>) -> Live<ResourceFit> {
    let mut live = Live::configure(settings).unwrap();
    live.observe(hosts.into_iter().map(Change::Upsert));
    live
}

fn request(agent: &str, resources: Resources, excluded: &[&str]) -> Request {
    let mut request = Request::new("guild", agent);
    request.resources = resources;
    request.excluded = excluded.iter().map(|&id| id.to_owned()).collect();
    request
}

fn hosts() -> [Candidate; 5] {
    [
        host("a-empty", resources(0, 0, 0), resources(4000, 8 * GIB, 0)),
        host("b-half", resources(2000, 4 * GIB, 0), resources(4000, 8 * GIB, 0)),
        host("c-no-cpu", resources(3900, GIB, 0), resources(4000, 8 * GIB, 0)),
        host("d-gpu", resources(3000, 2 * GIB, 0), with(resources(4000, 8 * GIB, 2000), "licence", 3.0)),
        Candidate::new("e-unknown", 10),
    ]
}

#[test]
fn the_strategy_decides_among_those_that_fit() {
    let anything = resources(0, 0, 0);
    for (settings, asked, excluded, wanted, reason) in [
        ("{}", resources(1500, GIB, 0), &[][..], "a-empty", "fits: 1500 of 4000 cpu millis asked for"),
        ("{}", resources(500, 6 * GIB, 0), &[], "a-empty", "fits: 6144 of 8192 MiB of memory asked for"),
        ("{}", anything.clone(), &[], "a-empty", "fits: 1 of 10 slots"),
        ("{}", resources(1000, GIB, 0), &["a-empty"], "b-half", "fits: 3000 of 4000 cpu millis asked for"),
        ("{}", resources(0, 0, 500), &[], "d-gpu", "fits: 3000 of 4000 cpu millis asked for"),
        ("{}", resources(0, 0, 2000), &[], "d-gpu", "fits: 2000 of 2000 accelerator millis asked for"),
        ("{}", with(anything.clone(), "licence", 3.0), &[], "d-gpu", "fits: 3 of 3 licence asked for"),
        ("{}", resources(9000, 0, 0), &[], "e-unknown", "fits: 1 of 10 slots; it does not say what it has"),
        (
            r#"{"strategy": "pack"}"#,
            anything.clone(),
            &[],
            "c-no-cpu",
            "fits: 3900 of 4000 cpu millis asked for",
        ),
        (
            r#"{"strategy": "pack"}"#,
            resources(500, GIB, 0),
            &[],
            "d-gpu",
            "fits: 3500 of 4000 cpu millis asked for",
        ),
        (
            r#"{"strategy": "pack"}"#,
            resources(1500, GIB, 0),
            &["d-gpu"],
            "b-half",
            "fits: 3500 of 4000 cpu millis asked for",
        ),
    ] {
        let decision = live(settings, hosts()).place(&request("agent", asked.clone(), excluded)).unwrap();
        let found = (decision.host.as_str(), decision.reason.as_str());
        assert_eq!(found, (wanted, reason), "{settings} {asked:?} {excluded:?}");
        assert!((0.0..=1.0).contains(&decision.score));
    }
}

#[test]
fn the_score_is_what_stays_free_or_what_is_filled() {
    let one = || [host("a", resources(1000, 0, 0), resources(4000, GIB, 0))];
    for (settings, wanted) in [("{}", 0.25), (r#"{"strategy": "pack"}"#, 0.75)] {
        let mut live = live(settings, one());
        let request = request("agent", resources(2000, 0, 0), &[]);
        assert_eq!(live.score(&request, 0), Verdict::Score(wanted as f32), "{settings}");
        assert_eq!(live.place(&request).unwrap().score, wanted, "{settings}");
    }
}

#[test]
fn a_refusal_counts_hosts_by_what_they_are_short_of() {
    let refused = |settings: &str, asked: Resources, excluded: &[&str]| {
        let mut hosts = hosts().to_vec();
        for (id, standing) in [("f-cordoned", Standing::Cordoned), ("g-draining", Standing::Draining)] {
            hosts.push(host(id, resources(0, 0, 0), resources(4000, 8 * GIB, 0)));
            hosts.last_mut().unwrap().standing = standing;
        }
        hosts.push(Candidate::new("h-full", 0));
        live(settings, hosts).place(&request("agent", asked, excluded)).unwrap_err().reason
    };
    let refuse = r#"{"unknown": "refuse"}"#;
    for (settings, asked, excluded, wanted) in [
        (refuse, resources(5000, 0, 0), &[][..], "4 short of cpu, 1 of unknown resources"),
        (
            refuse,
            resources(2500, 9 * GIB, 0),
            &["b-half"],
            "1 short of memory, 1 excluded, 2 short of cpu, 1 of unknown resources",
        ),
        (
            refuse,
            resources(2500, 5 * GIB, 1),
            &[],
            "1 short of accelerators, 3 short of cpu, 1 of unknown resources",
        ),
        ("{}", with(resources(0, 0, 0), "licence", 4.0), &["e-unknown"], "4 short of licence, 1 excluded"),
        (
            "{}",
            with(resources(u64::MAX, u64::MAX, u64::MAX), "other", f64::NAN),
            &["e-unknown"],
            "4 short of cpu, 1 excluded",
        ),
        ("{}", with(resources(0, 0, 0), "other", f64::NAN), &["e-unknown"], "4 short of other, 1 excluded"),
    ] {
        let wanted = format!("none of 8 hosts will do: {wanted}, 1 cordoned, 1 draining, 1 full");
        assert_eq!(refused(settings, asked.clone(), excluded), wanted, "{settings} {asked:?}");
    }
    assert_eq!(
        live("{}", []).place(&Request::new("guild", "agent")).unwrap_err().reason,
        "there are no hosts"
    );
}

#[test]
fn counts_what_it_has_placed_until_the_host_reports() {
    let hosts = ["a", "b"]
        .map(|id| host(id, resources(1000, GIB, 0), with(resources(4000, 8 * GIB, 0), "licence", 9.0)));
    for settings in ["{}", r#"{"strategy": "pack"}"#] {
        let mut live = live(settings, hosts.clone());
        let mut agents: BTreeMap<String, u32> = BTreeMap::new();
        let one = |agent: &str| request(agent, with(resources(1000, GIB, 0), "licence", 1.0), &[]);
        for agent in 0..6 {
            *agents.entry(live.place(&one(&agent.to_string())).unwrap().host).or_default() += 1;
        }
        assert_eq!(agents, BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 3)]), "{settings}");
        let refusal = live.place(&one("one more")).unwrap_err();
        assert_eq!(refusal.reason, "none of 2 hosts will do: 2 short of cpu");

        // `a` reports that all of them ended: it has room again, `b` still counts its own.
        live.observe([Change::Upsert(hosts[0].clone())]);
        assert_eq!(live.place(&one("one more")).unwrap().host, "a");
    }
}

#[test]
fn what_a_chain_of_policies_chose_counts_too() {
    let mut live = live("{}", [host("a", resources(0, 0, 0), resources(4096, 8 * GIB, 0))]);
    let request = request("agent", resources(3072, 0, 0), &[]);
    assert_eq!(live.score(&request, 0), Verdict::Score(0.25));
    live.chosen("a");
    assert_eq!(live.score(&request, 0), Verdict::rejected("short of cpu"));
}

#[test]
fn slots_that_were_placed_on_fill_a_host() {
    let mut live = live("{}", [Candidate::new("a", 2)]);
    for agent in ["x", "y"] {
        assert_eq!(live.place(&Request::new("guild", agent)).unwrap().host, "a");
    }
    let refusal = live.place(&Request::new("guild", "z")).unwrap_err();
    assert_eq!(refusal.reason, "none of 1 hosts will do: 1 full");
}

/// More than there is was asked for of one resource: an agent that asks for another fits.
#[test]
fn an_overcommitted_resource_hinders_those_only_that_ask_for_it() {
    let over = host("a", resources(u64::MAX, GIB, 0), resources(4000, 8 * GIB, 0));
    let mut live = live("{}", [over]);
    let decision = live.place(&request("agent", resources(0, GIB, 0), &[])).unwrap();
    assert_eq!((decision.host.as_str(), decision.score), ("a", 0.0));
    let refusal = live.place(&request("agent", resources(1, 0, 0), &[])).unwrap_err();
    assert_eq!(refusal.reason, "none of 1 hosts will do: 1 short of cpu");
}

#[test]
fn nonsense_amounts_of_custom_resources_fit_nothing_and_break_nothing() {
    for (amount, fits) in [(f64::NAN, false), (f64::INFINITY, true), (-1.0, false), (0.0, false)] {
        let mut live =
            live("{}", [host("a", resources(0, 0, 0), with(resources(1, 1, 1), "licence", amount))]);
        let placed = live.place(&request("agent", with(resources(0, 0, 0), "licence", 1.0), &[]));
        assert_eq!(placed.is_ok(), fits, "{amount}");
        // Nothing of it is asked for.
        let asked = with(resources(0, 0, 0), "licence", -3.0);
        assert!(live.place(&request("agent", asked, &[])).unwrap().score.is_finite(), "{amount}");
    }
}

#[test]
fn agents_of_equal_hosts_spread_by_their_identity_the_same_in_every_engine() {
    let hosts = || (0..10).map(|at| host(&format!("h{at}"), resources(0, 0, 0), resources(4000, GIB, 0)));
    for settings in ["{}", r#"{"strategy": "pack"}"#] {
        let first = |agent: u32| {
            let request = request(&format!("agent-{agent}"), resources(100, 0, 0), &[]);
            live(settings, hosts()).place(&request).unwrap().host
        };
        let mut spread: BTreeMap<String, u32> = BTreeMap::new();
        (0..100).for_each(|agent| *spread.entry(first(agent)).or_default() += 1);
        assert_eq!(spread.len(), 10, "{spread:?}");

        // Learned in another order, it is the same fleet.
        let mut other = Live::<ResourceFit>::configure(settings).unwrap();
        other.observe(hosts().rev().map(Change::Upsert));
        let request = request("agent-7", resources(100, 0, 0), &[]);
        assert_eq!(other.place(&request).unwrap().host, first(7));
    }
}

/// Hosts of many blocks come and go in the middle; the one host with the accelerator is
/// found wherever it stands.
#[test]
fn of_many_hosts_the_one_that_fits_is_found() {
    for settings in ["{}", r#"{"strategy": "pack"}"#] {
        let plain = |at: u32| host(&format!("h{at:04}"), resources(0, 0, 0), resources(4000, GIB, 0));
        let mut live = live(settings, (0..2000).rev().step_by(2).map(plain));
        live.observe((0..2000).step_by(2).map(plain).map(Change::Upsert));
        live.observe((0..2000).step_by(3).map(|at| Change::Remove(format!("h{at:04}"))));
        let asked = resources(100, 0, 1000);
        assert!(live.place(&request("agent", asked.clone(), &[])).is_err());
        for id in ["a", "h0999-gpu", "z"] {
            live.observe([Change::Upsert(host(id, resources(0, 0, 0), resources(4000, GIB, 1000)))]);
            assert_eq!(live.place(&request("agent", asked.clone(), &[])).unwrap().host, id);
            assert!(live.place(&request("agent", asked.clone(), &[])).is_err());
            live.observe([Change::Remove(id.to_owned())]);
        }
    }
}

#[test]
fn wrong_settings_are_named() {
    for (settings, wanted) in [
        ("[]", "the settings must be an object"),
        (r#"{"stratgy": "pack"}"#, "stratgy: is not a setting of this policy"),
        (r#"{"strategy": 1}"#, "strategy: must be text, not a number"),
        (r#"{"strategy": "fill"}"#, "strategy: must be spread or pack"),
        (r#"{"unknown": true}"#, "unknown: must be text, not true or false"),
        (r#"{"unknown": "no"}"#, "unknown: must be allow or refuse"),
    ] {
        let error = Live::<ResourceFit>::configure(settings).unwrap_err().to_string();
        assert_eq!(error, wanted, "{settings}");
    }
}
