//! The stock policies, as the components that the SDK brings along.

use std::{collections::BTreeMap, sync::LazyLock};

use guildhall::{
    ids::AgentId,
    placement::{
        BuiltIn, Candidate, CompiledCache, FleetChange, Load, Peer, PlaceError, PlacementService, Policy,
        PolicyArtifact,
    },
    resources::Amounts,
};
use guildhall_policy::{self as kit, Live};
use guildhall_policy_affinity::Affinity;
use guildhall_policy_least_loaded::LeastLoaded;
use guildhall_policy_resource_fit::ResourceFit;
use guildhall_policy_round_robin::RoundRobin;
use guildhall_policy_weighted::Weighted;
use proptest::prelude::*;

use crate::{host, join, request};

fn service(policy: BuiltIn) -> PlacementService {
    service_with(policy, &serde_json::json!({}))
}

fn service_with(policy: BuiltIn, settings: &serde_json::Value) -> PlacementService {
    static LOADED: LazyLock<[Policy; 5]> = LazyLock::new(|| {
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
        let needs = service.needs();
        assert_eq!(needs.ticket, policy == BuiltIn::RoundRobin);
        assert_eq!(needs.peers, [BuiltIn::Affinity, BuiltIn::Weighted].contains(&policy));
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

/// Two zones, and what hosts have.
fn zone(id: u8) -> &'static str {
    ["north", "south"][usize::from(id % 2)]
}

/// Runs the same history through a component and through the same code natively.
fn same_answers<P: kit::Policy>(
    service: &PlacementService,
    settings: &serde_json::Value,
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let mut native = Live::<P>::configure(&settings.to_string()).unwrap();
    for step in steps {
        match step {
            Step::Report { host: nth, running, cpu, memory } => {
                let id = format!("h{nth}");
                let requested = u64::from(running) * 400;
                let mut candidate = Candidate::new(host(&id), 5);
                candidate.running = running;
                candidate.labels = [("zone".to_owned(), zone(nth).to_owned())].into();
                candidate.allocatable =
                    (nth > 0).then(|| Amounts { cpu_millis: 2000, memory: 1 << 30, ..Amounts::default() });
                candidate.requested = Amounts { cpu_millis: requested, ..Amounts::default() };
                candidate.load = Load {
                    cpu_fraction: cpu,
                    memory_used: memory.0,
                    memory_total: memory.1,
                    ..Load::default()
                };
                service.observe([FleetChange::Upsert(candidate)]);
                let mut candidate = kit::Candidate::new(&id, 5);
                candidate.running = running;
                candidate.labels = kit::labels([("zone", zone(nth))]);
                candidate.allocatable = (nth > 0).then(|| kit::Resources {
                    cpu_millis: 2000,
                    memory: 1 << 30,
                    ..kit::Resources::default()
                });
                candidate.requested = kit::Resources { cpu_millis: requested, ..kit::Resources::default() };
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
                let (peer, cpu_millis) = (format!("h{}", agent % 8), u64::from(agent % 4) * 300);
                let agent = agent.to_string();
                let excluded: Vec<String> = excluded.iter().map(|id| format!("h{id}")).collect();
                let mut asked = request(&agent);
                asked.excluded = excluded.iter().map(|id| host(id)).collect();
                asked.ticket = Some(ticket);
                asked.resources.cpu_millis = cpu_millis;
                asked.labels = [("zone".to_owned(), "north".to_owned())].into();
                asked.peers = vec![Peer {
                    agent: AgentId::new("peer").unwrap(),
                    name: "Peer".to_owned(),
                    class_name: String::new(),
                    host: host(&peer),
                }];
                let mut native_request = kit::Request::new("guild", &agent);
                native_request.excluded = excluded;
                native_request.ticket = Some(ticket);
                native_request.resources.cpu_millis = cpu_millis;
                native_request.labels = kit::labels([("zone", "north")]);
                native_request.peers = vec![kit::Peer {
                    agent: "peer".to_owned(),
                    name: "Peer".to_owned(),
                    class_name: String::new(),
                    host: peer,
                }];
                let wasm = match service.place(&asked) {
                    Ok(decision) => Ok((decision.host.to_string(), decision.score, decision.reason)),
                    Err(PlaceError::Refused { refusal, .. }) => Err(refusal.reason),
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                };
                let native = native.place(&native_request);
                let native = native.map(|decision| (decision.host, decision.score, decision.reason));
                prop_assert_eq!(wasm, native.map_err(|refusal| refusal.reason));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_component_answers_what_the_same_code_answers_natively(steps in steps()) {
        let none = serde_json::json!({});
        same_answers::<LeastLoaded>(&service(BuiltIn::LeastLoaded), &none, steps.clone())?;
        same_answers::<RoundRobin>(&service(BuiltIn::RoundRobin), &none, steps.clone())?;
        same_answers::<Weighted>(&service(BuiltIn::Weighted), &none, steps.clone())?;
        for strategy in ["pack", "spread"] {
            let settings = serde_json::json!({"strategy": strategy});
            let service = service_with(BuiltIn::ResourceFit, &settings);
            same_answers::<ResourceFit>(&service, &settings, steps.clone())?;
        }
        let settings = serde_json::json!({
            "hosts": [{"key": "zone", "operator": "same-as-agent", "required": false}],
            "agents": [{"kind": "anti-affinity", "of": "guild", "topology": "host"}],
        });
        same_answers::<Affinity>(&service_with(BuiltIn::Affinity, &settings), &settings, steps)?;
    }

    /// The same tests for the same policy in another language.
    #[test]
    fn a_policy_in_c_answers_what_the_same_policy_in_rust_does(steps in steps()) {
        static IN_C: LazyLock<Policy> = LazyLock::new(|| {
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/round-robin-c");
            let component = guildhall_policy_build::build_c(source.as_ref()).unwrap();
            Policy::load(&PolicyArtifact::new("round-robin-c", component), &CompiledCache::off()).unwrap()
        });
        let none = serde_json::json!({});
        let service = PlacementService::new(IN_C.clone(), &none, Default::default()).unwrap();
        same_answers::<RoundRobin>(&service, &none, steps)?;
    }
}

#[test]
fn a_chain_of_stock_policies_decides_together() {
    let chain = PolicyArtifact::chain(&["resource-fit", "affinity", "least-loaded"]).unwrap();
    let policy = Policy::load(&chain, &CompiledCache::off()).unwrap();
    assert_eq!(policy.identity().name, "resource-fit+affinity+least-loaded");
    let service = PlacementService::new(policy, &serde_json::Value::Null, Default::default()).unwrap();
    let host_of = |id: &str, cpu_millis, running| {
        let allocatable = Some(Amounts { cpu_millis, ..Amounts::default() });
        FleetChange::Upsert(Candidate { allocatable, running, ..Candidate::new(host(id), 10) })
    };
    service.observe([host_of("large", 8000, 5), host_of("small", 500, 0), host_of("full", 8000, 10)]);
    let mut asked = request("agent");
    asked.resources.cpu_millis = 1000;
    let decision = service.place(&asked).unwrap();
    assert_eq!(decision.host, host("large"));
    assert!(decision.reason.contains("resource-fit 0.") && decision.reason.contains(" + least-loaded 0."));
    asked.resources.cpu_millis = 9000;
    match service.place(&asked) {
        Err(PlaceError::Refused { refusal, .. }) => {
            assert_eq!(refusal.reason, "none of 3 hosts will do: 1 full, 2 resource-fit: short of cpu")
        }
        other => panic!("{other:?}"),
    }
}
