//! Launches that come to nothing: a clear error, and nothing left of them.

use guildhall::{
    engine::{EngineError, ExecutionEngine, Retries},
    fault::FaultReason,
    launch::{Json, Launch},
};

use crate::{
    backends::Pair,
    setup::{World, guild_id, key, launch, launch_that, world, world_with},
};

both!(
    an_agent_that_does_not_start_is_said_to_and_why,
    a_full_host_is_passed_over,
    when_all_hosts_are_full_each_says_so,
    a_draining_host_is_passed_over,
    only_so_many_hosts_are_asked,
    a_fleet_without_hosts_says_so,
);

async fn an_agent_that_does_not_start_is_said_to_and_why(pair: Pair) {
    let world = world(pair, 1).await;
    let engine = world.engine().await;
    let that = |class: &str, echo: &str| launch_that("g", "a", class, echo);
    let cases = [
        ("an unknown runner", Launch { runner: Some("spaceship".to_owned()), ..launch("a") }),
        ("no runner for the class", that("other.Class", "{}")),
        ("a runner that is not there", that("missing.Class", "{}")),
        ("exits at once", that("test.Echo", r#"{"on_start": "exit:3"}"#)),
        ("crashes at once", that("test.Echo", r#"{"on_start": "crash"}"#)),
        ("is never ready", that("hasty.Echo", r#"{"on_start": "never_ready"}"#)),
        ("misunderstands its spec", that("test.Echo", r#"{"no_such_fault": 1}"#)),
        (
            "is too large",
            Launch { guild_spec: Json::from_value(&"x".repeat(5_000_000).into()), ..launch("a") },
        ),
    ];
    let mut told = String::new();
    for (case, launch) in cases {
        let error = engine.run_agent(launch).await.unwrap_err();
        told += &format!("{case}\n    {error}\n");
        if let EngineError::NotStarted { fault, .. } = &error {
            told += &format!("    {} {:?}\n", fault.reason, fault.details);
        }
        assert_eq!(engine.get_agent(&key("g", "a")).await.unwrap(), None, "{case}: it leaves no record");
        assert_eq!(world.processes(), Vec::<u32>::new(), "{case}: it leaves no process");
    }
    // Where in its launch document the runner stumbled depends on the length of the epoch.
    let (before, after) = told.split_once(" column ").unwrap();
    let told = format!("{before} column …{}", after.trim_start_matches(|c: char| c.is_ascii_digit()));
    // The same on both registries.
    insta::assert_snapshot!("why_agents_did_not_start", told);
    world.end().await;
}

async fn a_full_host_is_passed_over(pair: Pair) {
    let world = world_with(pair, |fleet| fleet.hosts(3).capacity(1)).await;
    // It has heard of three empty hosts, and hears nothing more.
    let engine = world.engine().await;
    let mut started = Vec::new();
    for n in 0..3 {
        started.push(engine.run_agent(launch(&format!("a{n}"))).await.unwrap());
    }
    let mut free = started.pop().unwrap();
    // Three turns: whoever's it is, the one with a free place gets the agent.
    for n in 0..3 {
        engine.stop_agent(&free.key).await.unwrap();
        let next = engine.run_agent(launch(&format!("again-{n}"))).await.unwrap();
        assert_eq!(next.host, free.host);
        free = next;
    }
    world.end().await;
}

async fn when_all_hosts_are_full_each_says_so(pair: Pair) {
    let world = world_with(pair, |fleet| fleet.hosts(2).capacity(1)).await;
    let engine = world.engine().await;
    for n in 0..2 {
        engine.run_agent(launch(&format!("a{n}"))).await.unwrap();
    }
    let (reason, mut tried) = no_host(&engine.run_agent(launch("one-too-many")).await.unwrap_err());
    tried.sort();
    assert_eq!(reason, "none of 2 hosts will do: 2 excluded");
    let full = |host: &str| (host.to_owned(), FaultReason::CapacityExhausted.as_str());
    assert_eq!(tried, [full("host-1"), full("host-2")]);
    world.end().await;
}

async fn a_draining_host_is_passed_over(pair: Pair) {
    let world = world(pair, 2).await;
    let engine = world.engine().await;
    // The engine does not know; the host says so when it is asked.
    world.host("host-1").supervisor().cordon();
    for n in 0..2 {
        let agent = engine.run_agent(launch(&format!("a{n}"))).await.unwrap();
        assert_eq!(agent.host.as_str(), "host-2");
    }
    world.host("host-2").supervisor().cordon();
    let (_, tried) = no_host(&engine.run_agent(launch("b")).await.unwrap_err());
    assert!(tried.iter().all(|(_, reason)| *reason == "DRAINING"), "{tried:?}");
    world.end().await;
}

async fn only_so_many_hosts_are_asked(pair: Pair) {
    let world = world(pair, 3).await;
    let engine = world.engine_with(|engine| engine.retries(Retries { hosts: 2, ..Retries::default() })).await;
    world.fleet.hosts().iter().for_each(|host| host.supervisor().cordon());
    let (reason, tried) = no_host(&engine.run_agent(launch("a")).await.unwrap_err());
    assert_eq!((reason.as_str(), tried.len()), ("2 hosts were asked, and that is the limit", 2));
    world.end().await;
}

async fn a_fleet_without_hosts_says_so(pair: Pair) {
    let world: World = world(pair, 0).await;
    let engine = world.engine().await;
    let error = engine.run_agent(launch("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "no host takes agent g/a: there are no hosts");
    assert_eq!(engine.get_agents_in_guild(&guild_id("g")).await.unwrap(), []);
    world.end().await;
}

/// Why there was no further host, and what those that were asked said.
fn no_host(error: &EngineError) -> (String, Vec<(String, &'static str)>) {
    let EngineError::NoHost { reason, tried, .. } = error else { panic!("{error}") };
    let tried = tried.iter().map(|tried| (tried.host.to_string(), tried.fault.reason.as_str()));
    (reason.clone(), tried.collect())
}
