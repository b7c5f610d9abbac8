//! The choice is that of a walk over all hosts.

use guildhall_policy::{
    Candidate, Change, Live, Peer, Quantity, Request, Resources, Standing, Verdict, Warm, identity,
};
use guildhall_policy_weighted::Weighted;
use proptest::{collection::vec as list, prelude::*, sample::select};

/// Every part counts.
const ALL: &str = r#"{"weights": {"allocatable": 1, "starts": 0.3, "warm": 2, "guild": -0.7}}"#;

#[derive(Clone, Debug)]
enum Step {
    Change(Change),
    Place(Request),
}

fn id() -> impl Strategy<Value = String> {
    (0..10u8).prop_map(|host| format!("h{host}"))
}

/// Of more classes than have bits of their own.
fn class() -> impl Strategy<Value = String> {
    prop_oneof![(0..3u8), (0..90u8)].prop_map(|class| format!("class {class}"))
}

fn resources() -> impl Strategy<Value = Resources> {
    (0..9u64, any::<u64>(), any::<f64>()).prop_map(|(cpu_millis, memory, amount)| Resources {
        cpu_millis,
        memory,
        custom: vec![Quantity { name: "licence".to_owned(), amount }],
        ..Resources::default()
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let warm = list((class(), 0..3u32).prop_map(|(class_name, ready)| Warm { class_name, ready }), 0..4);
    let what = (prop::option::of(resources()), resources(), warm, any::<f64>());
    let standing = prop_oneof![6 => Just(Standing::Open), 1 => Just(Standing::Draining)];
    let report =
        (id(), 0..4u32, 0..6u32, standing, what).prop_map(|(id, running, capacity, standing, what)| {
            let mut host = Candidate::new(id, capacity);
            (host.running, host.standing) = (running, standing);
            (host.allocatable, host.requested, host.warm, host.load.cpu_fraction) = what;
            Step::Change(Change::Upsert(host))
        });
    let gone = id().prop_map(|id| Step::Change(Change::Remove(id)));
    let hosts = || list((0..12u8).prop_map(|host| format!("h{host}")), 0..4);
    let place = (any::<u16>(), class(), resources(), hosts(), hosts(), hosts()).prop_map(
        |(agent, class_name, resources, peers, failed_on, excluded)| {
            let mut request = Request::new("guild", agent.to_string());
            (request.class_name, request.resources) = (class_name, resources);
            request.peers = peers.into_iter().map(|host| Peer { host, ..Peer::default() }).collect();
            (request.failed_on, request.excluded) = (failed_on, excluded);
            Step::Place(request)
        },
    );
    list(prop_oneof![6 => report, 1 => gone, 6 => place], 0..120)
}

proptest! {
    /// Whatever happens, the choice is that of a walk over all hosts that scores one after
    /// another.
    #[test]
    fn the_highest_score_wins(settings in select(&["{}", ALL][..]), steps in steps()) {
        let mut live = Live::<Weighted>::configure(settings).unwrap();
        for step in steps {
            let request = match step {
                Step::Place(request) => request,
                Step::Change(change) => {
                    live.observe([change]);
                    continue;
                }
            };
            let hosts = live.fleet().len();
            let start = (identity(&request) % hosts.max(1) as u64) as usize;
            let mut best: Option<(f32, String)> = None;
            for at in (start..hosts).chain(0..start) {
                let Verdict::Score(score) = live.score(&request, at) else { continue };
                prop_assert!((0.0..=1.0).contains(&score));
                let host = &live.fleet()[at];
                prop_assert!(host.standing == Standing::Open && host.running < host.capacity);
                if !request.excludes(host) && best.as_ref().is_none_or(|(most, _)| score > *most) {
                    best = Some((score, host.id.clone()));
                }
            }
            let found = live.place(&request).ok().map(|decision| (decision.score as f32, decision.host));
            prop_assert_eq!(found, best, "{:?}", request);
        }
    }
}
