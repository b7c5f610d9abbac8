//! Where agents may go, and where they would rather.

use std::collections::BTreeMap;

use guildhall_policy::{Candidate, Change, Live, Peer, Request, Standing, Verdict, labels};
use guildhall_policy_affinity::Affinity;

fn host(id: &str, zone: &str, running: u32) -> Candidate {
    let mut host = Candidate::new(id, 10);
    host.running = running;
    host.labels = if zone.is_empty() { Vec::new() } else { labels([("zone", zone)]) };
    host
}

fn live(settings: &str, hosts: impl IntoIterator<Item = Candidate>) -> Live<Affinity> {
    let mut live = Live::configure(settings).unwrap();
    live.observe(hosts.into_iter().map(Change::Upsert));
    live
}

/// An agent of class `Web` called `w`; peers are `class@host`.
fn request(peers: &[&str], excluded: &[&str]) -> Request {
    let mut request = Request::new("guild", "agent");
    (request.class_name, request.name) = ("Web".to_owned(), "w".to_owned());
    request.excluded = excluded.iter().map(|&id| id.to_owned()).collect();
    request.peers = peers.iter().map(|peer| peer_of(peer)).collect();
    request
}

fn peer_of(peer: &str) -> Peer {
    let (class, host) = peer.split_once('@').unwrap();
    let name = class.to_lowercase()[..1].to_owned();
    Peer { agent: peer.to_owned(), name, class_name: class.to_owned(), host: host.to_owned() }
}

/// `c` has the fewest agents, then `a`, `d`, `b`; `e` has no zone.
fn hosts() -> [Candidate; 5] {
    [
        host("a", "north", 2),
        host("b", "north", 4),
        host("c", "south", 1),
        host("d", "west", 3),
        host("e", "", 0),
    ]
}

#[test]
fn rules_decide_where_an_agent_goes() {
    let in_zone = |operator: &str| format!(r#"{{"hosts": [{{"key": "zone", {operator}}}]}}"#);
    let agents = |rule: &str| format!(r#"{{"agents": [{{{rule}}}]}}"#);
    let spread = |rule: &str| format!(r#"{{"spread": [{{{rule}}}]}}"#);
    let apart =
        |of: &str, place: &str| agents(&format!(r#""kind": "anti-affinity", {of}, "topology": "{place}""#));
    let near = |of: &str, place: &str| agents(&format!(r#""kind": "affinity", {of}, "topology": "{place}""#));
    let maybe = |rule: &str| rule.replace("}]", r#", "required": false}]"#);
    for (settings, peers, excluded, wanted) in [
        // Without rules, the host with the fewest agents.
        ("{}".to_owned(), &[][..], &[][..], "e"),
        (in_zone(r#""operator": "in", "values": ["west", "north"]"#), &[], &[], "a"),
        (in_zone(r#""operator": "in", "values": ["west", "north"]"#), &[], &["a"], "d"),
        (in_zone(r#""operator": "not-in", "values": ["south"]"#), &[], &["e"], "a"),
        (in_zone(r#""operator": "exists""#), &[], &[], "c"),
        (in_zone(r#""operator": "not-exists""#), &[], &[], "e"),
        (maybe(&in_zone(r#""operator": "in", "values": ["west"]"#)), &[], &[], "d"),
        (maybe(&in_zone(r#""operator": "in", "values": ["west"]"#)), &[], &["d"], "e"),
        // The first of its kind goes anywhere with a zone, the next to where it is.
        (near(r#""of": "guild""#, "zone"), &[], &[], "c"),
        (near(r#""of": "guild""#, "zone"), &["Db@b"], &[], "a"),
        (near(r#""of": "guild""#, "host"), &["Db@b"], &[], "b"),
        (near(r#""of": "class""#, "zone"), &["Db@b"], &[], "c"),
        (near(r#""of": "class", "values": ["Db"]"#, "zone"), &["Db@b"], &[], "a"),
        (near(r#""of": "name", "values": ["d"]"#, "zone"), &["Db@b"], &[], "a"),
        (near(r#""of": "guild", "applies_to": ["Db"]"#, "zone"), &["Db@b"], &[], "e"),
        // Where a peer is that nobody knows of is nowhere.
        (near(r#""of": "guild""#, "zone"), &["Db@gone"], &[], "c"),
        (apart(r#""of": "guild""#, "zone"), &["Db@b", "Db@c"], &[], "d"),
        (apart(r#""of": "guild""#, "host"), &["Db@e", "Db@c"], &[], "a"),
        (apart(r#""of": "class""#, "host"), &["Db@e", "Web@c"], &[], "e"),
        (apart(r#""of": "name""#, "host"), &["Web@e", "Db@c"], &[], "c"),
        // Whom it must be apart from must not come near it either.
        (apart(r#""of": "class", "values": ["Web"], "applies_to": ["Db"]"#, "host"), &["Db@e"], &[], "c"),
        (
            maybe(&apart(r#""of": "class", "values": ["Web"], "applies_to": ["Db"]"#, "host")),
            &["Db@e"],
            &[],
            "e",
        ),
        (maybe(&apart(r#""of": "guild""#, "zone")), &["Db@c", "Db@a", "Db@d"], &["c", "a"], "d"),
        (maybe(&near(r#""of": "guild""#, "zone")), &["Db@c", "Db@a", "Db@b"], &[], "a"),
        (spread(r#""topology": "zone", "max_skew": 1, "of": "guild""#), &["Db@c"], &[], "a"),
        (spread(r#""topology": "zone", "max_skew": 2, "of": "guild""#), &["Db@c"], &[], "c"),
        (spread(r#""topology": "zone", "max_skew": 1, "of": "class""#), &["Db@c"], &[], "c"),
        (spread(r#""topology": "zone", "max_skew": 1, "of": "guild""#), &["Db@c", "Db@b"], &[], "d"),
        (spread(r#""topology": "zone", "max_skew": 1, "of": "guild""#), &["Db@c", "Db@b", "Db@d"], &[], "c"),
        (spread(r#""topology": "host", "max_skew": 1, "of": "guild""#), &["Db@e", "Db@c"], &[], "a"),
        (maybe(&spread(r#""topology": "zone", "max_skew": 1, "of": "guild""#)), &["Db@c"], &["a", "b"], "d"),
    ] {
        let decision = live(&settings, hosts()).place(&request(peers, excluded));
        assert_eq!(decision.unwrap().host, wanted, "{settings} {peers:?} {excluded:?}");
    }
}

/// A zone whose hosts are all closed, or that the rules exclude, need not be filled first.
#[test]
fn places_where_the_agent_could_not_go_are_not_counted_as_empty() {
    let spread = r#""spread": [{"topology": "zone", "max_skew": 1, "of": "guild"}]"#;
    let peers = ["Db@c", "Db@a"];
    let mut closed = hosts();
    closed[3].standing = Standing::Cordoned;
    let only = r#""hosts": [{"key": "zone", "operator": "in", "values": ["south", "north"]}]"#;
    for (settings, hosts, wanted) in [
        (format!("{{{spread}}}"), hosts(), "d"),
        (format!("{{{spread}}}"), closed, "c"),
        (format!("{{{spread}, {only}}}"), hosts(), "c"),
    ] {
        assert_eq!(live(&settings, hosts).place(&request(&peers, &[])).unwrap().host, wanted, "{settings}");
    }
}

#[test]
fn an_agent_goes_where_its_own_label_says() {
    let settings = r#"{"hosts": [{"key": "zone", "operator": "same-as-agent"}]}"#;
    for (zone, wanted) in [(None, Ok("e")), (Some("west"), Ok("d")), (Some("east"), Err(()))] {
        let mut request = request(&[], &[]);
        request.labels = labels(zone.map(|zone| ("zone", zone)));
        let placed = live(settings, hosts()).place(&request);
        assert_eq!(
            placed.as_ref().map(|decision| decision.host.as_str()).map_err(|_| ()),
            wanted,
            "{zone:?}"
        );
        if let Err(refusal) = placed {
            assert_eq!(refusal.reason, "none of 5 hosts will do: 5 label zone not as the agent's");
        }
    }
}

#[test]
fn refusals_say_which_rule_stood_in_the_way() {
    let rule = |list: &str, rule: &str| format!(r#"{{"{list}": [{{{rule}}}]}}"#);
    for (settings, peers, wanted) in [
        (
            rule("hosts", r#""key": "zone", "operator": "in", "values": ["x", "y"]"#),
            &[][..],
            "5 label zone not in x, y",
        ),
        (rule("hosts", r#""key": "gpu", "operator": "exists""#), &[], "5 without label gpu"),
        (
            rule("agents", r#""kind": "anti-affinity", "of": "guild", "topology": "zone""#),
            &["Db@a", "Db@c", "Db@d"],
            "4 agents of its guild in the same zone, 1 without label zone",
        ),
        (
            rule("agents", r#""kind": "anti-affinity", "of": "class", "topology": "host""#),
            &["Web@a", "Web@b", "Web@c", "Web@d", "Web@e"],
            "5 agents of its class on the same host",
        ),
        (
            rule(
                "agents",
                r#""kind": "affinity", "of": "class", "values": ["Db", "Kv"], "topology": "rack""#,
            ),
            &["Db@a"],
            "5 without label rack",
        ),
        (
            rule("agents", r#""kind": "affinity", "of": "name", "values": ["d"], "topology": "host""#),
            &["Db@full"],
            "5 no agents named d on the same host, 1 full",
        ),
        (
            rule(
                "agents",
                r#""kind": "affinity", "of": "class", "values": ["Db", "Kv"], "topology": "zone""#,
            ),
            &["Db@full"],
            "4 no agents of class Db, Kv in the same zone, 1 without label zone, 1 full",
        ),
        (
            rule("spread", r#""topology": "zone", "max_skew": 1, "of": "guild""#),
            &["Db@a", "Db@c", "Db@d"],
            "4 would skew zone, 1 without label zone, 1 full",
        ),
    ] {
        let mut full = host("full", "east", 10);
        full.capacity = 10;
        let hosts = hosts().into_iter().chain(wanted.ends_with("full").then_some(full));
        let refusal = live(&settings, hosts).place(&request(peers, &[])).unwrap_err();
        let hosts = if wanted.ends_with("full") { 6 } else { 5 };
        assert_eq!(refusal.reason, format!("none of {hosts} hosts will do: {wanted}"), "{settings}");
    }
    assert_eq!(live("{}", []).place(&request(&[], &[])).unwrap_err().reason, "there are no hosts");
}

#[test]
fn closed_full_and_excluded_hosts_are_not_chosen() {
    let hosts = || {
        let mut hosts = ["cordoned", "draining", "excluded", "full"].map(|id| host(id, "north", 0));
        (hosts[0].standing, hosts[1].standing) = (Standing::Cordoned, Standing::Draining);
        hosts[3].capacity = 0;
        hosts
    };
    let refusal = live("{}", hosts()).place(&request(&[], &["excluded", "excluded", "unknown"])).unwrap_err();
    assert_eq!(refusal.reason, "none of 4 hosts will do: 1 cordoned, 1 draining, 1 excluded, 1 full");
}

#[test]
fn counts_what_it_has_placed_until_the_host_reports() {
    let hosts = ["a", "b"].map(|id| {
        let mut host = host(id, "north", 0);
        host.capacity = 3;
        host
    });
    let mut live = live("{}", hosts.clone());
    let mut agents: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..6 {
        *agents.entry(live.place(&request(&[], &[])).unwrap().host).or_default() += 1;
    }
    assert_eq!(agents, BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 3)]));
    assert_eq!(live.score(&request(&[], &[]), 0), Verdict::rejected("full"));
    assert_eq!(live.place(&request(&[], &[])).unwrap_err().reason, "none of 2 hosts will do: 2 full");
    live.observe([Change::Upsert(hosts[0].clone())]);
    let decision = live.place(&request(&[], &[])).unwrap();
    assert_eq!(
        (decision.host.as_str(), decision.reason.as_str()),
        ("a", "satisfies all rules: its slot 1 of 3")
    );
}

#[test]
fn scores_say_how_much_of_what_is_preferred_a_host_has() {
    let settings = r#"{
        "hosts": [{"key": "zone", "operator": "in", "values": ["north"], "required": false, "weight": 3}],
        "agents": [{"kind": "affinity", "of": "guild", "topology": "host", "required": false}]
    }"#;
    let mut live = live(settings, hosts());
    let asked = request(&["Db@a", "Db@c"], &[]);
    let scores: Vec<Verdict> = (0..5).map(|at| live.score(&asked, at)).collect();
    assert_eq!(scores, [0.875, 0.75, 0.125, 0.0, 0.0].map(Verdict::Score));
    // Another request is another question, and so is the same one when hosts have changed.
    assert_eq!(live.score(&request(&["Db@b"], &[]), 1), Verdict::Score(1.0));
    live.observe([Change::Upsert(host("b", "south", 0))]);
    assert_eq!(live.score(&request(&["Db@b"], &[]), 1), Verdict::Score(0.25));
    live.chosen("b");
    let decision = live.place(&request(&["Db@b"], &["a"])).unwrap();
    assert_eq!(decision.reason, "25 of 100 by what is preferred: its slot 2 of 10");
}

#[test]
fn agents_of_equal_hosts_spread_by_their_identity_the_same_in_every_engine() {
    let hosts = || (0..10).map(|at| host(&format!("h{at}"), ["north", "south"][at % 2], 0));
    let mut spread: BTreeMap<String, u32> = BTreeMap::new();
    for agent in 0..100 {
        let request = Request::new("guild", agent.to_string());
        let chosen = live("{}", hosts()).place(&request).unwrap().host;
        // Learned in another order, it is the same fleet.
        assert_eq!(live("{}", hosts().rev()).place(&request).unwrap().host, chosen);
        *spread.entry(chosen).or_default() += 1;
    }
    assert_eq!(spread.len(), 10, "{spread:?}");
}

/// Thousands of values that came and went leave nothing behind that matters.
#[test]
fn hosts_with_labels_of_their_own_come_and_go() {
    let settings = r#"{"agents": [{"kind": "affinity", "of": "guild", "topology": "zone"}]}"#;
    let mut live = live(settings, []);
    for at in 0..2000_u32 {
        live.observe([Change::Upsert(host("newest", &format!("zone-{at}"), at % 7))]);
        live.observe([Change::Upsert(host(&format!("h{at:04}"), &format!("zone-{at}"), u32::MAX))]);
        live.observe([Change::Remove(format!("h{:04}", at.wrapping_sub(1)))]);
        let decision = live.place(&request(&[&format!("Db@h{at:04}")], &[])).unwrap();
        assert_eq!(decision.host, "newest");
    }
}
