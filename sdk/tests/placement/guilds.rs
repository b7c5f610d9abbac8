//! All agents of a guild placed at once.

use guildhall::{
    ids::{AgentId, GuildId},
    placement::{
        BuiltIn, Candidate, FleetChange, GuildMode, GuildRequest, Kind, PlaceError, PlacementService,
    },
};
use serde_json::{Value, json};

use crate::{built_in, host, join, made, service};

/// A guild of so many agents of one kind.
pub(crate) fn guild(agents: usize) -> GuildRequest {
    let mut request = GuildRequest::new(GuildId::new("guild").unwrap(), GuildMode::BestEffort);
    for at in 0..agents {
        request.add(AgentId::new(format!("agent-{at}")).unwrap(), "", Kind::default());
    }
    request.first_ticket = Some(0);
    request
}

fn fleet(policy: BuiltIn, settings: &Value, capacities: &[u32]) -> PlacementService {
    let service = built_in(policy, settings);
    service.observe(
        capacities
            .iter()
            .zip(0..)
            .map(|(&capacity, at)| FleetChange::Upsert(Candidate::new(host(&format!("h{at}")), capacity))),
    );
    service
}

#[test]
fn agents_that_are_alike_are_one_kind() {
    let mut request = guild(3);
    let large = Kind { class_name: "Large".to_owned(), ..Kind::default() };
    request.add(AgentId::new("large").unwrap(), "L", large.clone());
    request.add(AgentId::new("small").unwrap(), "S", Kind::default());
    assert_eq!(request.kinds, [Kind::default(), large]);
    let kinds: Vec<u32> = request.members.iter().map(|member| member.kind).collect();
    assert_eq!(kinds, [0, 0, 0, 1, 0]);
}

#[test]
fn a_guild_is_spread_as_its_agents_one_by_one_would_be() {
    for policy in BuiltIn::ALL {
        let service = fleet(policy, &json!({}), &[50; 4]);
        let decision = service.place_guild(&guild(40)).unwrap();
        for at in 0..4 {
            let here = host(&format!("h{at}"));
            let count = decision.hosts.iter().flatten().filter(|found| **found == here).count();
            assert!((5..=15).contains(&count), "{}: {count}", policy.name());
        }
        assert_eq!((decision.policy.name.as_str(), decision.refusal), (policy.name(), None));
    }
}

#[test]
fn where_hosts_are_short_some_are_left_out_or_all() {
    for policy in [BuiltIn::RoundRobin, BuiltIn::LeastLoaded] {
        let service = fleet(policy, &json!({}), &[2, 1]);
        if policy == BuiltIn::LeastLoaded {
            let decision = service.place_guild(&guild(5)).unwrap();
            assert_eq!(decision.hosts.iter().flatten().count(), 3);
            let refusal = decision.refusal.unwrap();
            assert_eq!(refusal.reason, "no host is free for 2 of 5 agents");
        }
        let service = fleet(policy, &json!({}), &[0, 0]);
        for mode in [GuildMode::BestEffort, GuildMode::AllOrNothing] {
            match service.place_guild(&GuildRequest { mode, ..guild(5) }) {
                Err(PlaceError::Refused { policy: named, .. }) => assert_eq!(named, policy.name()),
                other => panic!("{other:?}"),
            }
        }
    }
    let service = fleet(BuiltIn::LeastLoaded, &json!({}), &[2, 1]);
    let all = GuildRequest { mode: GuildMode::AllOrNothing, ..guild(4) };
    assert!(matches!(service.place_guild(&all), Err(PlaceError::Refused { .. })));
    // Those that were placed on the way are not counted.
    let all = GuildRequest { mode: GuildMode::AllOrNothing, ..guild(3) };
    assert_eq!(service.place_guild(&all).unwrap().hosts.iter().flatten().count(), 3);
}

#[test]
fn a_guild_needs_its_tickets_and_excluded_hosts_stay_excluded() {
    let service = fleet(BuiltIn::RoundRobin, &json!({}), &[9, 9, 9]);
    let asked = GuildRequest { first_ticket: None, ..guild(2) };
    assert!(matches!(service.place_guild(&asked), Err(PlaceError::NeedsTicket { .. })));
    let asked = GuildRequest { first_ticket: Some(7), excluded: vec![host("h1")], ..guild(3) };
    let hosts: Vec<_> = service.place_guild(&asked).unwrap().hosts.into_iter().flatten().collect();
    assert_eq!(hosts, [host("h2"), host("h2"), host("h0")]);
}

#[test]
fn a_policy_that_fails_costs_the_guild_and_not_the_next() {
    let service = service(&made::Policy::bad_place("(unreachable)"));
    let mut bad = guild(1);
    bad.add(AgentId::new("bad").unwrap(), "", Kind::default());
    assert!(matches!(service.place_guild(&bad), Err(PlaceError::Policy(_))));
    let good = service.place_guild(&guild(2)).unwrap();
    assert_eq!(good.hosts, [Some(host("a")), Some(host("a"))]);
    service.observe([join("d")]);
    assert_eq!(service.place_guild(&GuildRequest { members: vec![], ..guild(0) }).unwrap().hosts, []);
}
