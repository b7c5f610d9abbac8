//! The stock policies, as the components that the SDK brings along.

use std::{collections::BTreeMap, sync::LazyLock};

use guildhall::placement::{
    BuiltIn, Candidate, CompiledCache, FleetChange, Load, PlaceError, PlacementService, Policy,
};
use guildhall_policy::{self as kit, Live};
use guildhall_policy_least_loaded::LeastLoaded;
use guildhall_policy_round_robin::RoundRobin;
use proptest::prelude::*;

use crate::{host, join, request};

fn service(policy: BuiltIn) -> PlacementService {
    service_with(policy, &serde_json::json!({}))
}

fn service_with(policy: BuiltIn, settings: &serde_json::Value) -> PlacementService {
    static LOADED: LazyLock<[Policy; 2]> = LazyLock::new(|| {
        BuiltIn::ALL.map(|policy| Policy::load(&policy.into(), &CompiledCache::off()).unwrap())
    });
    let policy = LOADED.iter().find(|loaded| loaded.identity().name == policy.name()).unwrap();
    PlacementService::new(policy.clone(), settings, Default::default()).unwrap()
}

#[test]
fn they_are_small_and_know_their_names() {
    for policy in BuiltIn::ALL {
        assert!(policy.bytes().len() < 64 << 10, "{}: {} bytes", policy.name(), policy.bytes().len());
        let service = service(policy);
        assert_eq!(service.identity().name, policy.name());
        assert_eq!(service.needs().ticket, policy == BuiltIn::RoundRobin);
    }
}

#[test]
fn threads_share_a_service_and_no_agent_is_placed_twice_over() {
    let service = service(BuiltIn::LeastLoaded);
    service.observe((0..8).map(|at| join(&format!("host-{at}"))));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let service = &service;
            scope.spawn(move || {
                for agent in 0..20 {
                    service.place(&request(&format!("agent-{thread}-{agent}"))).unwrap();
                }
            });
        }
    });
    // 8 hosts of 10 took exactly 80 agents.
    assert!(matches!(service.place(&request("one more")), Err(PlaceError::Refused { .. })));
}

#[test]
fn round_robin_takes_the_host_whose_turn_the_ticket_says_it_is() {
    let service = service(BuiltIn::RoundRobin);
    service.observe(["b", "a", "c"].map(join));
    for (ticket, excluded, wanted) in
        [(0, &[][..], "a"), (4, &[], "b"), (4, &["b"], "c"), (5, &["c", "a"], "b")]
    {
        let mut request = request("agent");
        request.ticket = Some(ticket);
        request.excluded = excluded.iter().map(|id| host(id)).collect();
        assert_eq!(service.place(&request).unwrap().host, host(wanted), "{ticket} {excluded:?}");
    }
    let error = service.place(&request("agent")).unwrap_err();
    assert_eq!(error.to_string(), "policy round-robin needs a ticket to decide by");
}

#[test]
fn least_loaded_fills_the_fleet_evenly_and_says_when_it_is_full() {
    let service = service(BuiltIn::LeastLoaded);
    service.observe(["a", "b", "c"].map(join));
    let mut agents: BTreeMap<String, u32> = BTreeMap::new();
    for agent in 0..30 {
        let decision = service.place(&request(&format!("agent-{agent}"))).unwrap();
        *agents.entry(decision.host.to_string()).or_default() += 1;
    }
    assert!(agents.values().all(|&agents| agents == 10), "{agents:?}");
    match service.place(&request("one more")) {
        Err(PlaceError::Refused { refusal, .. }) => {
            assert_eq!(refusal.reason, "none of 3 hosts will do: 3 full")
        }
        other => panic!("{other:?}"),
    }
    service.observe([join("a")]);
    assert_eq!(service.place(&request("one more")).unwrap().host, host("a"));
    service.observe(["a", "b", "c"].map(|id| FleetChange::Remove(host(id))));
    match service.place(&request("one more")) {
        Err(PlaceError::Refused { refusal, .. }) => assert_eq!(refusal.reason, "there are no hosts"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ten_thousand_hosts_fit_into_the_default_memory() {
    let service = service_with(BuiltIn::LeastLoaded, &serde_json::json!({"choices": 0}));
    let labels: BTreeMap<String, String> =
        (0..5).map(|at| (format!("topology.example/label-{at}"), format!("some-value-{at}"))).collect();
    let report = |at: u32, running| {
        let mut candidate = Candidate::new(host(&format!("agent-host-pool-{at:05}")), 100);
        candidate.labels = labels.clone();
        candidate.running = running;
        FleetChange::Upsert(candidate)
    };
    // In no order, and each host reports more than once.
    for round in 0..3 {
        service.observe((0..10_000).map(|at| report(at * 7919 % 10_000, 50 + round)));
    }
    service.observe([report(4321, 10)]);
    assert_eq!(service.hosts(), 10_000);
    assert_eq!(service.place(&request("agent")).unwrap().host, host("agent-host-pool-04321"));
}

#[derive(Clone, Debug)]
enum Step {
    Report { host: u8, running: u32, cpu: f64, memory: (u64, u64) },
    Gone { host: u8 },
    Place { agent: u16, excluded: Vec<u8>, ticket: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let report = (0..8u8, 0..6u32, any::<f64>(), any::<(u64, u64)>())
        .prop_map(|(host, running, cpu, memory)| Step::Report { host, running, cpu, memory });
    let gone = (0..8u8).prop_map(|host| Step::Gone { host });
    let place = (any::<u16>(), prop::collection::vec(0..10u8, 0..4), any::<u64>())
        .prop_map(|(agent, excluded, ticket)| Step::Place { agent, excluded, ticket });
    prop::collection::vec(prop_oneof![3 => report, 1 => gone, 6 => place], 0..100)
}

/// Runs the same history through the component and through the same code natively.
fn same_answers<P: kit::Policy>(service: &PlacementService, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut native = Live::<P>::configure("{}").unwrap();
    for step in steps {
        match step {
            Step::Report { host: id, running, cpu, memory } => {
                let id = format!("h{id}");
                let mut candidate = Candidate::new(host(&id), 5);
                candidate.running = running;
                candidate.load = Load {
                    cpu_fraction: cpu,
                    memory_used: memory.0,
                    memory_total: memory.1,
                    ..Load::default()
                };
                service.observe([FleetChange::Upsert(candidate)]);
                let mut candidate = kit::Candidate::new(&id, 5);
                candidate.running = running;
                candidate.load = kit::Load {
                    cpu_fraction: cpu,
                    memory_used: memory.0,
                    memory_total: memory.1,
                    ..kit::Load::default()
                };
                native.observe([kit::Change::Upsert(candidate)]);
            }
            Step::Gone { host: id } => {
                let id = format!("h{id}");
                service.observe([FleetChange::Remove(host(&id))]);
                native.observe([kit::Change::Remove(id)]);
            }
            Step::Place { agent, excluded, ticket } => {
                let agent = agent.to_string();
                let excluded: Vec<String> = excluded.iter().map(|id| format!("h{id}")).collect();
                let mut asked = request(&agent);
                asked.excluded = excluded.iter().map(|id| host(id)).collect();
                asked.ticket = Some(ticket);
                let mut native_request = kit::Request::new("guild", &agent);
                native_request.excluded = excluded;
                native_request.ticket = Some(ticket);
                let wasm = match service.place(&asked) {
                    Ok(decision) => Ok((decision.host.to_string(), decision.reason)),
                    Err(PlaceError::Refused { refusal, .. }) => Err(refusal.reason),
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                };
                let native = native.place(&native_request);
                prop_assert_eq!(
                    wasm,
                    native.map(|decision| (decision.host, decision.reason)).map_err(|refusal| refusal.reason)
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_component_answers_what_the_same_code_answers_natively(steps in steps()) {
        same_answers::<LeastLoaded>(&service(BuiltIn::LeastLoaded), steps.clone())?;
        same_answers::<RoundRobin>(&service(BuiltIn::RoundRobin), steps)?;
    }
}
