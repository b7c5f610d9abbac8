//! Agents that would be better elsewhere.

use guildhall::placement::{BuiltIn, Candidate, FleetChange, Placed, Standing};
use serde_json::json;

use crate::{built_in, host, made, request, service};

fn reported(id: &str, running: u32) -> FleetChange {
    FleetChange::Upsert(Candidate { running, ..Candidate::new(host(id), 10) })
}

fn placed(agents: u32, on: &str) -> Vec<Placed> {
    (0..agents).map(|at| Placed { request: request(&format!("agent-{at}")), host: host(on) }).collect()
}

#[test]
fn a_new_host_takes_agents_from_the_fullest_until_it_is_no_longer_worth_it() {
    let service = built_in(BuiltIn::LeastLoaded, &json!({"weights": {"cpu": 0, "memory": 0}}));
    service.observe([reported("a", 8), reported("b", 2), reported("new", 0)]);
    let moves = service.propose_moves(&placed(8, "a"), 100).unwrap();
    let to = |id: &str| moves.iter().filter(|one| one.to == host(id)).count();
    assert_eq!((moves.len(), to("new"), to("b")), (4, 3, 1));
    assert_eq!(moves[0].reason, "from a load of 80 % to one of 0 %");
    assert_eq!(service.propose_moves(&placed(8, "a"), 2).unwrap().len(), 2, "as many as allowed");
    service.observe([reported("a", 4), reported("b", 3), reported("new", 4)]);
    assert_eq!(service.propose_moves(&placed(4, "a"), 100).unwrap(), []);
}

#[test]
fn a_drained_host_gives_all_it_has_and_gets_nothing() {
    let service = built_in(BuiltIn::LeastLoaded, &json!({"weights": {"cpu": 0, "memory": 0}}));
    let draining = Candidate { running: 9, standing: Standing::Draining, ..Candidate::new(host("a"), 10) };
    service.observe([FleetChange::Upsert(draining), reported("b", 1)]);
    let moves = service.propose_moves(&placed(3, "a"), 100).unwrap();
    assert_eq!(moves.len(), 3);
    assert!(moves.iter().all(|one| one.to == host("b")));
}

#[test]
fn a_policy_that_knows_nothing_of_moves_moves_nobody() {
    let service = service(&made::Policy::default());
    assert_eq!(service.propose_moves(&placed(3, "a"), 100).unwrap(), []);
}
