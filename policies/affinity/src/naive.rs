//! The same policy without groups and numbers for values: every rule is asked about every
//! host, as the policy's page says it. The policy must answer the same.

use std::collections::BTreeMap;

use guildhall_policy::{
    Candidate, Change, Decision, Fleet, InvalidSettings, Label, Live, Observed, Peer, Policy, Refusal,
    Request, Settings, Standing, Verdict, identity, labels,
};
use proptest::{collection::vec as list, prelude::*, sample::Index, sample::select};

use crate::{
    Affinity,
    rules::{About, Relation, Rules, Test, Topology},
};

#[derive(Clone, Debug)]
enum Step {
    Change(Change),
    Place(Request),
}

/// The place of a host in a topology.
fn place<'a>(rules: &Rules, topology: Topology, host: &'a Candidate) -> Option<&'a str> {
    match topology {
        Topology::Host => Some(&host.id),
        Topology::Column(column) => host.label(&rules.columns[column]),
    }
}

fn label_holds(rules: &Rules, nth: usize, request: &Request, host: &Candidate) -> bool {
    match &rules.all[nth].about {
        About::Label(rule) => match (rule.test, request.label(&rule.key)) {
            (Test::SameAsAgent(_), None) => true,
            (Test::SameAsAgent(_), Some(value)) => host.label(&rule.key) == Some(value),
            _ => rule.holds(host),
        },
        About::Peers(_) => true,
    }
}

/// How much of what is preferred the host has; `None` when a required rule is broken.
fn judge(rules: &Rules, fleet: &Fleet, request: &Request, host: &Candidate) -> Option<f32> {
    let (mut preferred, mut weights) = (0.0, 0.0);
    for (nth, rule) in rules.all.iter().enumerate() {
        let required = rule.weight.is_none();
        let part = match &rule.about {
            About::Label(label) => {
                if matches!(label.test, Test::SameAsAgent(_)) && request.label(&label.key).is_none() {
                    continue;
                }
                f32::from(u8::from(label_holds(rules, nth, request, host)))
            }
            About::Peers(about) => {
                let mut agents: BTreeMap<&str, u32> = BTreeMap::new();
                for peer in request.peers.iter().filter(|peer| about.concerns(request, peer, required)) {
                    let at = fleet.get(&peer.host).and_then(|host| place(rules, about.topology, host));
                    at.into_iter().for_each(|at| *agents.entry(at).or_default() += 1);
                }
                let all: u32 = agents.values().sum();
                let even = matches!(about.relation, Relation::Even(_));
                if !even && all == 0 && !about.applies_to(&request.class_name) {
                    continue;
                }
                let may_go = |host: &&Candidate| {
                    host.standing == Standing::Open
                        && (0..rules.all.len()).all(|nth| {
                            rules.all[nth].weight.is_some() || label_holds(rules, nth, request, host)
                        })
                };
                let places =
                    fleet.iter().filter(may_go).filter_map(|host| place(rules, about.topology, host));
                let agents_at = |place: &str| agents.get(place).copied().unwrap_or(0);
                let fewest = places.map(agents_at).min().unwrap_or(0);
                let fewest = if even { fewest } else { 0 };
                match place(rules, about.topology, host) {
                    Some(place) => about.part(agents_at(place), all, fewest, required),
                    None => 0.0,
                }
            }
        };
        match rule.weight {
            Some(weight) => (preferred, weights) = (preferred + weight * part, weights + weight),
            None if part <= 0.0 => return None,
            None => {}
        }
    }
    Some(if weights > 0.0 { preferred / weights } else { 1.0 })
}

/// The policy itself: a walk over all hosts.
struct Naive {
    rules: Rules,
    /// Agents placed here on each host since it last reported.
    placed: Vec<u32>,
}

impl Policy for Naive {
    fn configure(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        Ok(Self { rules: Rules::read(settings)?, placed: Vec::new() })
    }

    fn observe(&mut self, _: &Fleet, observed: &Observed) {
        match *observed {
            Observed::Added(at) => self.placed.insert(at, 0),
            Observed::Updated(at) => self.placed[at] = 0,
            Observed::Removed(at) => drop(self.placed.remove(at)),
        }
    }

    fn place(&mut self, fleet: &Fleet, request: &Request) -> Result<Decision, Refusal> {
        let start = (identity(request) % fleet.len().max(1) as u64) as usize;
        let mut best: Option<(f32, u32, usize)> = None;
        for at in (start..fleet.len()).chain(0..start) {
            let Verdict::Score(preferred) = self.score(fleet, request, at) else { continue };
            if request.excludes(&fleet[at]) {
                continue;
            }
            let agents = fleet[at].running + self.placed[at];
            let better = |(most, fewest, _)| preferred > most || preferred == most && agents < fewest;
            if best.is_none_or(better) {
                best = Some((preferred, agents, at));
            }
        }
        let (preferred, _, at) = best.ok_or_else(Refusal::default)?;
        self.placed[at] += 1;
        Ok(Decision::new(&fleet[at], "").with_score(preferred.into()))
    }

    fn score(&mut self, fleet: &Fleet, request: &Request, at: usize) -> Verdict {
        let host = &fleet[at];
        let takes = host.standing == Standing::Open && host.running + self.placed[at] < host.capacity;
        let judged = judge(&self.rules, fleet, request, host).filter(|_| takes);
        judged.map_or(Verdict::rejected("will not do"), Verdict::Score)
    }
}

fn strength() -> impl Strategy<Value = String> {
    let preferred = (1..=100u32).prop_map(|weight| format!(r#""required": false, "weight": {weight}"#));
    prop_oneof![Just(r#""required": true"#.to_owned()), preferred]
}

fn settings() -> impl Strategy<Value = String> {
    let key = || select(&["zone", "rack"][..]);
    let place = || select(&["zone", "rack", "host"][..]);
    let value = select(
        &[
            r#""operator": "in", "values": ["a", "b"]"#,
            r#""operator": "not-in", "values": ["c"]"#,
            r#""operator": "exists""#,
            r#""operator": "not-exists""#,
            r#""operator": "same-as-agent""#,
        ][..],
    );
    let hosts = (key(), value, strength())
        .prop_map(|(key, value, strength)| format!(r#"{{"key": "{key}", {value}, {strength}}}"#));
    let of = select(
        &[
            r#""of": "guild""#,
            r#""of": "class""#,
            r#""of": "class", "values": ["X"]"#,
            r#""of": "name""#,
            r#""of": "class", "values": ["Y"], "applies_to": ["X"]"#,
        ][..],
    );
    let kind = select(&["affinity", "anti-affinity"][..]);
    let agents = (kind, of, place(), strength()).prop_map(|(kind, of, place, strength)| {
        format!(r#"{{"kind": "{kind}", {of}, "topology": "{place}", {strength}}}"#)
    });
    let spread = (place(), 1..3u32, select(&["guild", "class"][..]), strength()).prop_map(
        |(place, skew, of, strength)| {
            format!(r#"{{"topology": "{place}", "max_skew": {skew}, "of": "{of}", {strength}}}"#)
        },
    );
    (list(hosts, 0..3), list(agents, 0..3), list(spread, 0..3)).prop_map(|(hosts, agents, spread)| {
        let [hosts, agents, spread] = [hosts, agents, spread].map(|rules| rules.join(", "));
        format!(r#"{{"hosts": [{hosts}], "agents": [{agents}], "spread": [{spread}]}}"#)
    })
}

fn some_labels() -> impl Strategy<Value = Vec<Label>> {
    let value = || prop::option::weighted(0.9, select(&["a", "b", "c"][..]));
    (value(), value()).prop_map(|(zone, rack)| {
        labels([("zone", zone), ("rack", rack)].into_iter().filter_map(|(key, value)| Some((key, value?))))
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let standing = prop_oneof![8 => Just(Standing::Open), 1 => Just(Standing::Cordoned)];
    let report = (0..16u8, 0..4u32, 0..9u32, standing, some_labels()).prop_map(
        |(host, running, capacity, standing, labels)| {
            let mut candidate = Candidate::new(host_id(host), capacity);
            (candidate.running, candidate.standing, candidate.labels) = (running, standing, labels);
            Step::Change(Change::Upsert(candidate))
        },
    );
    let go = (0..16u8).prop_map(|host| Step::Change(Change::Remove(host_id(host))));
    let class = || select(&["X", "Y"][..]);
    let peer = (class(), class(), 0..18u8).prop_map(|(class, name, host)| Peer {
        agent: "other".to_owned(),
        name: name.to_owned(),
        class_name: class.to_owned(),
        host: host_id(host),
    });
    let peers = list(peer, 0..8);
    let excluded = list(0..18u8, 0..3);
    let place = (any::<Index>(), class(), class(), some_labels(), peers, excluded).prop_map(
        |(agent, class, name, labels, peers, excluded): (Index, _, _, _, _, Vec<u8>)| {
            let mut request = Request::new("guild", agent.index(1000).to_string());
            (request.class_name, request.name) = (class.to_owned(), name.to_owned());
            (request.labels, request.peers) = (labels, peers);
            request.excluded = excluded.into_iter().map(host_id).collect();
            Step::Place(request)
        },
    );
    list(prop_oneof![6 => report, 1 => go, 6 => place], 0..80)
}

fn host_id(host: u8) -> String {
    format!("h{host:02}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Groups answer what a walk over all hosts answers, whatever is reported and placed.
    #[test]
    fn is_a_walk_over_all_hosts(settings in settings(), steps in steps()) {
        let mut live = Live::<Affinity>::configure(&settings).unwrap();
        let mut naive = Live::<Naive>::configure(&settings).unwrap();
        for step in steps {
            match step {
                Step::Change(change) => {
                    live.observe([change.clone()]);
                    naive.observe([change]);
                }
                Step::Place(request) => {
                    for at in 0..live.fleet().len() {
                        let score = |verdict| match verdict {
                            Verdict::Score(score) => Some(score),
                            Verdict::Rejected(_) => None,
                        };
                        prop_assert_eq!(score(live.score(&request, at)), score(naive.score(&request, at)));
                    }
                    let placed = |decision: Decision| (decision.host, decision.score);
                    let (found, wanted) = (live.place(&request), naive.place(&request));
                    prop_assert_eq!(found.ok().map(placed), wanted.ok().map(placed), "{:?}", request);
                }
            }
        }
    }
}
