//! Whose turn it is.

use guildhall_policy::{Candidate, Change, Live, Request};
use guildhall_policy_round_robin::RoundRobin;
use proptest::prelude::*;

fn fleet(hosts: &[(&str, u32, u32)]) -> Live<RoundRobin> {
    let mut live = Live::configure("{}").unwrap();
    live.observe(hosts.iter().map(|&(id, running, capacity)| {
        let mut host = Candidate::new(id, capacity);
        host.running = running;
        Change::Upsert(host)
    }));
    live
}

fn request(ticket: u64, excluded: &[&str]) -> Request {
    let mut request = Request::new("guild", "agent");
    request.ticket = Some(ticket);
    request.excluded = excluded.iter().map(|&id| id.to_owned()).collect();
    request
}

#[test]
fn tickets_go_round_in_the_order_of_ids_past_full_and_excluded_hosts() {
    let mut live = fleet(&[("c", 0, 9), ("a", 0, 9), ("d", 9, 9), ("b", 0, 9)]);
    for (ticket, excluded, host) in [
        (0, &[][..], "a"),
        (1, &[], "b"),
        (2, &[], "c"),
        (3, &[], "a"),
        (4, &[], "a"),
        (0, &["a"], "b"),
        (2, &["c"], "a"),
        (2, &["c", "a"], "b"),
        (1, &["nobody"], "b"),
        (u64::MAX, &[], "a"),
    ] {
        let decision = live.place(&request(ticket, excluded)).unwrap();
        assert_eq!(decision.host, host, "ticket {ticket}, excluded {excluded:?}");
        assert_eq!(decision.reason, format!("ticket {ticket} over 4 hosts"));
    }
}

#[test]
fn refusals_say_why() {
    for (hosts, excluded, reason) in [
        (&[][..], &[][..], "there are no hosts"),
        (&[("a", 1, 1), ("b", 5, 3)], &[], "none of 2 hosts will do: 2 full"),
        (&[("a", 1, 1), ("b", 0, 3)], &["b"], "none of 2 hosts will do: 1 full, 1 excluded"),
    ] {
        assert_eq!(fleet(hosts).place(&request(7, excluded)).unwrap_err().reason, reason);
    }
    let refusal = fleet(&[("a", 0, 1)]).place(&Request::new("guild", "agent")).unwrap_err();
    assert_eq!(refusal.reason, "the request carries no ticket");
}

#[test]
fn there_is_nothing_to_set() {
    let error = Live::<RoundRobin>::configure(r#"{"weight": 1}"#).unwrap_err().to_string();
    assert_eq!(error, "weight: is not a setting of this policy");
}

proptest! {
    #[test]
    fn a_chosen_host_is_known_free_and_not_excluded_and_one_is_found_if_there_is_one(
        hosts in prop::collection::vec((0..4u32, 0..4u32, any::<bool>()), 0..12),
        ticket: u64,
    ) {
        let ids: Vec<String> = (0..hosts.len()).map(|at| format!("h{at}")).collect();
        let table: Vec<_> = ids.iter().zip(&hosts).map(|(id, &(running, capacity, _))| (id.as_str(), running, capacity)).collect();
        let excluded: Vec<_> = ids.iter().zip(&hosts).filter(|(_, host)| host.2).map(|(id, _)| id.as_str()).collect();
        let usable = |id: &str| {
            ids.iter().position(|known| known == id).is_some_and(|at| hosts[at].0 < hosts[at].1 && !hosts[at].2)
        };
        match fleet(&table).place(&request(ticket, &excluded)) {
            Ok(decision) => prop_assert!(usable(&decision.host), "{}", decision.host),
            Err(refusal) => prop_assert!(!ids.iter().any(|id| usable(id)), "{}", refusal),
        }
    }
}
