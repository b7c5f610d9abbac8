//! The same search without blocks and without remembering: a walk over all hosts. The
//! search must answer the same.

use std::collections::BTreeMap;

use guildhall_policy::{Candidate, Quantity, Resources, Standing};
use proptest::{prelude::*, sample::Index, strategy::Strategy};

use crate::{ask::Ask, blocks::Blocks, room::Room, search::Search, strategy::NO_FIT};

#[derive(Clone, Debug)]
enum Step {
    Come(Index, Candidate),
    Report(Index, Candidate),
    Go(Index),
    Place { shape: Index, start: u64, excluded: Vec<Index> },
}

fn resources(most: u64) -> impl Strategy<Value = Resources> {
    let amount = prop_oneof![4 => 0..most, 1 => Just(0), 1 => Just(u64::MAX)];
    let custom = prop_oneof![4 => (0..most).prop_map(|amount| amount as f64), 1 => any::<f64>()];
    (amount.clone(), amount.clone(), amount, prop::collection::vec(custom, 0..2)).prop_map(
        |(cpu_millis, memory, accelerator_millis, custom)| Resources {
            cpu_millis,
            memory,
            accelerator_millis,
            custom: custom
                .into_iter()
                .map(|amount| Quantity { name: "licence".to_owned(), amount })
                .collect(),
        },
    )
}

fn host() -> impl Strategy<Value = Candidate> {
    let standing = prop_oneof![6 => Just(Standing::Open), 1 => Just(Standing::Cordoned)];
    (0..4u32, 0..8u32, prop::option::weighted(0.8, resources(12)), resources(6), standing).prop_map(
        |(running, capacity, allocatable, requested, standing)| {
            let mut host = Candidate::new("host", capacity);
            (host.running, host.allocatable) = (running, allocatable);
            (host.requested, host.standing) = (requested, standing);
            host
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = (any::<Index>(), any::<u64>(), prop::collection::vec(any::<Index>(), 0..3))
        .prop_map(|(shape, start, excluded)| Step::Place { shape, start, excluded });
    let step = prop_oneof![
        6 => (any::<Index>(), host()).prop_map(|(at, host)| Step::Come(at, host)),
        3 => (any::<Index>(), host()).prop_map(|(at, host)| Step::Report(at, host)),
        2 => any::<Index>().prop_map(Step::Go),
        8 => place,
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Blocks and what is remembered of them answer what a walk over all hosts answers,
    /// whatever comes, goes, reports and is placed.
    #[test]
    fn is_a_walk_over_all_hosts(
        pack: bool,
        refuse_unknown: bool,
        shapes in prop::collection::vec(resources(4), 1..20),
        steps in steps(),
    ) {
        let strategy = crate::strategy::Strategy { pack, refuse_unknown };
        let (mut blocks, mut search) = (Blocks::new(strategy), Search::default());
        let mut model: Vec<Room> = Vec::new();
        for step in steps {
            match step {
                Step::Come(at, host) => {
                    let at = at.index(model.len() + 1);
                    model.insert(at, Room::of(&host));
                    blocks.insert(at, Room::of(&host));
                }
                _ if model.is_empty() => prop_assert_eq!(search.cheapest(&blocks, &Resources::default(), 7, &[]), None),
                Step::Report(at, host) => {
                    let at = at.index(model.len());
                    model[at] = Room::of(&host);
                    blocks.update(at, |room| *room = Room::of(&host));
                }
                Step::Go(at) => {
                    let at = at.index(model.len());
                    model.remove(at);
                    blocks.remove(at);
                }
                Step::Place { shape, start, excluded } => {
                    let asked = shape.get(&shapes);
                    let excluded: Vec<usize> = excluded.iter().map(|at| at.index(model.len())).collect();
                    let ask = Ask::new(asked);
                    let from = (start % model.len() as u64) as usize;
                    let wanted = (from..model.len())
                        .chain(0..from)
                        .filter(|at| !excluded.contains(at))
                        .map(|at| (at, strategy.cost(&model[at], &ask)))
                        .filter(|(_, cost)| *cost < NO_FIT)
                        .reduce(|best, next| if next.1 < best.1 { next } else { best });
                    let found = search.cheapest(&blocks, asked, start, &excluded);
                    prop_assert_eq!(found, wanted, "{:?}", model);
                    if let Some((at, cost)) = found {
                        let score = crate::strategy::Strategy::score(cost);
                        prop_assert!((0.0..=1.0).contains(&score), "{}", score);
                        model[at].take(asked);
                        blocks.update(at, |room| room.take(asked));
                    }
                }
            }
            prop_assert_eq!(blocks.hosts(), model.len());
            for (at, room) in model.iter().enumerate() {
                prop_assert_eq!(blocks.get(at), room);
            }
        }
    }
}

#[test]
fn equal_hosts_get_agents_in_equal_shares() {
    let mut blocks = Blocks::new(crate::strategy::Strategy { pack: false, refuse_unknown: false });
    (0..10).for_each(|at| blocks.insert(at, Room::of(&Candidate::new("host", 5))));
    let mut search = Search::default();
    let mut agents: BTreeMap<usize, u32> = BTreeMap::new();
    for start in 0..1000 {
        let found = search.cheapest(&blocks, &Resources::default(), start, &[]);
        *agents.entry(found.unwrap().0).or_default() += 1;
    }
    assert!(agents.len() == 10 && agents.values().all(|&agents| agents == 100), "{agents:?}");
}
