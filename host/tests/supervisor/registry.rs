//! The registry: away, slow, forgetful, and held by another host.

use std::{
    slice,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use echo_runner::Order;
use futures::StreamExt;
use guildhall::{
    agent::{AgentEvent, AgentInfo, AgentState},
    ids::{AgentKey, HostId},
    registry::{ClaimOutcome, MemoryRegistry, Registry},
};
use guildhall_host::{
    runner::{RestartPolicy, Runner},
    supervisor::{CreateError, StopError, SupervisorConfig},
};

use crate::{
    failing::{Failing, failing, failing_with},
    setup::{Setup, exists, key, launch, register, setup, setup_on},
};

/// Waits until the registry's record is as wanted.
async fn recorded(setup: &Setup, key: &AgentKey, wanted: impl Fn(Option<&AgentInfo>) -> bool) {
    let wait = async {
        while !wanted(setup.record(key).await.as_ref()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let result = tokio::time::timeout(crate::setup::LIMIT, wait).await;
    assert!(result.is_ok(), "{:?}", setup.record(key).await);
}

/// Waits until the supervisor has no such agent.
async fn until_forgotten(setup: &Setup, key: &AgentKey) {
    let mut changes = setup.supervisor.watch();
    let gone = async {
        while setup.supervisor.get(key).is_some() {
            changes.next().await;
        }
    };
    tokio::time::timeout(crate::setup::LIMIT, gone).await.unwrap();
}

#[tokio::test]
async fn agents_live_on_while_it_is_away_and_restarts_wait_for_it() {
    let (setup, registry) = failing().await;
    let (steady, crashing) =
        (setup.create("steady", "{}").await.unwrap(), setup.create("crashing", "{}").await.unwrap());
    registry.away.store(true, Ordering::Relaxed);
    setup.order(&crashing, Order::Crash).await;
    let waiting = setup.until(&crashing.key, |agent| agent.restarts == 1).await;
    assert_eq!((waiting.state, waiting.epoch), (AgentState::Restarting, crashing.epoch));
    assert!(matches!(setup.create("new", "{}").await, Err(CreateError::Registry(_))));
    assert_eq!(setup.ping(&steady).await.epoch, steady.epoch.0);
    // The registry still has what it had.
    assert_eq!(setup.record(&crashing.key).await.unwrap(), crashing);

    registry.away.store(false, Ordering::Relaxed);
    let again =
        setup.until(&crashing.key, |agent| agent.state == AgentState::Running && agent.restarts == 1).await;
    assert!(again.epoch > crashing.epoch);
    recorded(&setup, &crashing.key, |record| record == Some(&again)).await;
    setup.stop_all().await;
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_stop_while_it_is_away_ends_the_process_and_is_told_later() {
    let (setup, registry) = failing().await;
    let agent = setup.create("a", "{}").await.unwrap();
    registry.away.store(true, Ordering::Relaxed);
    let error = setup.supervisor.stop(&agent.key, None).await.unwrap_err();
    assert!(matches!(error, StopError::Registry { .. }), "{error:?}");
    assert!(!exists(agent.pid.unwrap()));
    assert_eq!(setup.supervisor.counts().running, 0);
    registry.away.store(false, Ordering::Relaxed);
    recorded(&setup, &agent.key, |record| record.is_none()).await;
    match setup.supervisor.stop(&agent.key, None).await {
        Ok(_) | Err(StopError::NotFound { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn an_end_during_a_slow_write_is_recorded_too() {
    let (setup, registry) = failing_with(|_, runner| runner.restart = RestartPolicy::Never).await;
    let slow = registry.writes.lock().await;
    let create = setup.create("a", r#"{"on_start":"exit_after_ready:0"}"#);
    let finish = async {
        // The record that it runs is on its way when it ends.
        let finished = setup.until_state(&key("g", "a"), AgentState::Finished).await;
        drop(slow);
        finished
    };
    let (created, finished) = tokio::join!(create, finish);
    created.unwrap();
    recorded(&setup, &finished.key, |record| record == Some(&finished)).await;
    setup.supervisor.stop(&finished.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_given_back() {
    let (setup, registry) = failing().await;
    registry.answers_lost.store(true, Ordering::Relaxed);
    let error = setup.create("a", "{}").await.unwrap_err();
    assert!(matches!(error, CreateError::Registry(_)), "{error:?}");
    let key = key("g", "a");
    assert!(setup.record(&key).await.is_some(), "the claim was made all the same");
    registry.answers_lost.store(false, Ordering::Relaxed);
    recorded(&setup, &key, |record| record.is_none()).await;
    let again = setup.supervisor.create(launch("a", "{}"), "again".to_owned());
    again.await.unwrap();
    setup.stop_all().await;
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn another_create_need_not_wait_until_a_failed_one_is_undone() {
    // By itself it would not be undone before the test is over.
    let never = |config: &mut SupervisorConfig, _: &mut Runner| {
        config.registry_retry = Duration::from_secs(600);
    };
    let (setup, registry) = failing_with(never).await;
    registry.answers_lost.store(true, Ordering::Relaxed);
    let error = setup.create("a", "{}").await.unwrap_err();
    assert!(matches!(error, CreateError::Registry(_)), "{error:?}");
    let error = setup.create("a", "{}").await.unwrap_err();
    assert!(matches!(error, CreateError::Registry(_)), "{error:?}");
    registry.answers_lost.store(false, Ordering::Relaxed);
    let agent = setup.create("a", "{}").await.unwrap();
    assert_eq!(setup.record(&agent.key).await.unwrap(), agent);
    setup.supervisor.stop(&agent.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn an_ended_agent_is_kept_until_it_is_recorded_and_watchers_hear_of_its_end() {
    let (setup, registry) = failing_with(|config, runner| {
        config.ended_kept = 0;
        runner.restart = RestartPolicy::Never;
    })
    .await;
    let agent = setup.create("a", "{}").await.unwrap();
    let mut events = setup.supervisor.watch();
    let slow = registry.writes.lock().await;
    setup.order(&agent, Order::Exit(0)).await;
    let finished = setup.until_state(&agent.key, AgentState::Finished).await;
    assert_eq!(setup.supervisor.get(&agent.key).as_ref(), Some(&finished));
    drop(slow);
    let removed = async {
        loop {
            if let AgentEvent::Removed { key, .. } = events.next().await.unwrap() {
                return key;
            }
        }
    };
    assert_eq!(tokio::time::timeout(crate::setup::LIMIT, removed).await.unwrap(), agent.key);
    assert_eq!(setup.record(&agent.key).await.unwrap(), finished);
    setup.supervisor.shutdown().await;
}

#[tokio::test]
async fn an_ended_agent_whose_record_was_lost_is_recorded_anew_and_left_alone() {
    let (mut setup, registry) = failing_with(|config, runner| {
        config.ended_kept = 0;
        runner.restart = RestartPolicy::Never;
    })
    .await;
    let agent = setup.create("a", "{}").await.unwrap();
    let slow = registry.writes.lock().await;
    setup.order(&agent, Order::Exit(0)).await;
    setup.until_state(&agent.key, AgentState::Finished).await;
    setup.registry = registry.lose_data();
    setup.lease.send_replace(register(&setup.registry, "h1").await);
    drop(slow);
    recorded(&setup, &agent.key, |record| record.is_some_and(|found| found.epoch > agent.epoch)).await;
    // With none kept it is forgotten here as soon as its task has nothing left to do.
    let forgotten = async {
        while setup.supervisor.get(&agent.key).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::setup::LIMIT, forgotten).await.unwrap();
    setup.supervisor.shutdown().await;
}

/// An agent whose process has crashed, and whose new claim was made without an answer.
async fn restarts_without_an_answer(setup: &Setup, registry: &Failing) -> AgentInfo {
    let agent = setup.create("a", "{}").await.unwrap();
    registry.answers_lost.store(true, Ordering::Relaxed);
    setup.order(&agent, Order::Crash).await;
    recorded(setup, &agent.key, |record| record.is_some_and(|record| record.epoch > agent.epoch)).await;
    agent
}

/// Once answers arrive again, the agent runs under the claim that was made.
async fn assert_takes_over_its_own_claim(setup: Setup, registry: &Failing, agent: &AgentInfo) {
    registry.answers_lost.store(false, Ordering::Relaxed);
    let again =
        setup.until(&agent.key, |agent| agent.state == AgentState::Running && agent.restarts == 1).await;
    assert_eq!(setup.ping(&again).await.epoch, again.epoch.0);
    setup.stop_all().await;
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_restart_whose_answer_was_lost_takes_over_its_own_claim() {
    let (setup, registry) = failing().await;
    let agent = restarts_without_an_answer(&setup, &registry).await;
    assert_takes_over_its_own_claim(setup, &registry, &agent).await;
}

#[tokio::test]
async fn a_restart_whose_answer_was_lost_is_found_also_under_the_lease_before() {
    let (setup, registry) = failing().await;
    let agent = restarts_without_an_answer(&setup, &registry).await;
    // The host registers anew, and tries again under its new lease, more than once.
    let old = setup.lease.borrow().clone();
    setup.registry.leave(&HostId::new("h1").unwrap(), &old).await.unwrap();
    setup.lease.send_replace(register(&setup.registry, "h1").await);
    let claims = registry.claims.load(Ordering::Relaxed);
    while registry.claims.load(Ordering::Relaxed) < claims + 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_takes_over_its_own_claim(setup, &registry, &agent).await;
}

#[tokio::test]
async fn an_agent_that_another_host_has_is_refused_and_named() {
    let memory = MemoryRegistry::new();
    let one = setup_on(memory.clone(), Arc::new(memory.clone()), "h1", |_, _| {}).await;
    let two = setup_on(memory.clone(), Arc::new(memory.clone()), "h2", |_, _| {}).await;
    let agent = one.create("a", "{}").await.unwrap();
    match two.create("a", "{}").await.unwrap_err() {
        CreateError::AlreadyRunning { holder } => assert_eq!(*holder, agent),
        other => panic!("{other:?}"),
    }
    assert_eq!(two.supervisor.counts().running, 0);
    one.stop_all().await;
    two.assert_nothing_left().await;
    one.assert_nothing_left().await;
}

#[tokio::test]
async fn after_a_lost_lease_agents_that_were_taken_over_are_killed_and_the_rest_go_on() {
    let setup = setup().await;
    let (kept, taken) =
        (setup.create("kept", "{}").await.unwrap(), setup.create("taken", "{}").await.unwrap());

    // The lease ends, and another host is faster with one of the two.
    let old = setup.lease.borrow().clone();
    setup.registry.leave(&kept.host, &old).await.unwrap();
    let other = register(&setup.registry, "h2").await;
    let theirs = AgentInfo { host: HostId::new("h2").unwrap(), ..taken.clone() };
    let outcome = setup.registry.claim(&theirs, &other, None).await.unwrap();
    let ClaimOutcome::Claimed(their_epoch) = outcome else { panic!("{outcome:?}") };

    let lease = register(&setup.registry, "h1").await;
    setup.lease.send_replace(lease.clone());
    let reasserted = setup.supervisor.reassert(&lease).await.unwrap();
    assert_eq!((reasserted.kept, reasserted.fenced), (1, vec![taken.key.clone()]));
    assert!(!exists(taken.pid.unwrap()));
    assert_eq!(setup.supervisor.list(None), slice::from_ref(&kept));
    let claimed = setup.registry.agent(&kept.key).await.unwrap().unwrap();
    assert_eq!((claimed.agent, claimed.lease), (kept.clone(), lease));
    // What the other host has is as it was.
    let record = setup.record(&taken.key).await.unwrap();
    assert_eq!((record.epoch, record.host.as_str()), (their_epoch, "h2"));

    setup.registry.release(&taken.key, their_epoch).await.unwrap();
    setup.stop_all().await;
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_registry_that_lost_its_data_kills_nothing() {
    let (mut setup, registry) = failing().await;
    let agent = setup.create("a", "{}").await.unwrap();
    setup.registry = registry.lose_data();
    let lease = register(&setup.registry, "h1").await;
    setup.lease.send_replace(lease.clone());
    let reasserted = setup.supervisor.reassert(&lease).await.unwrap();
    assert_eq!((reasserted.kept, reasserted.fenced.len()), (1, 0));
    recorded(&setup, &agent.key, |record| record.is_some_and(|record| record.pid == agent.pid)).await;
    assert!(setup.record(&agent.key).await.unwrap().epoch > agent.epoch);
    assert_eq!(setup.ping(&agent).await.pid, agent.pid.unwrap());
    setup.stop_all().await;
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn an_agent_that_was_released_by_somebody_else_is_killed() {
    let setup = setup().await;
    let agent = setup.create("a", "{}").await.unwrap();
    setup.registry.release(&agent.key, agent.epoch).await.unwrap();
    let lease = setup.lease.borrow().clone();
    let reasserted = setup.supervisor.reassert(&lease).await.unwrap();
    assert_eq!((reasserted.kept, reasserted.fenced), (0, vec![agent.key.clone()]));
    assert!(!exists(agent.pid.unwrap()));
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn an_agent_that_was_released_while_it_was_down_does_not_come_back() {
    let setup = setup().await;
    let agent = setup.create("a", "{}").await.unwrap();
    setup.registry.release(&agent.key, agent.epoch).await.unwrap();
    setup.order(&agent, Order::Crash).await;
    until_forgotten(&setup, &agent.key).await;
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn an_agent_that_was_taken_over_while_it_was_down_does_not_come_back() {
    let setup = setup().await;
    let agent = setup.create("a", "{}").await.unwrap();
    let other = register(&setup.registry, "h2").await;
    let theirs = AgentInfo { host: HostId::new("h2").unwrap(), ..agent.clone() };
    setup.registry.claim(&theirs, &other, Some(agent.epoch)).await.unwrap();
    setup.order(&agent, Order::Crash).await;
    until_forgotten(&setup, &agent.key).await;
    assert_eq!(setup.record(&agent.key).await.unwrap().host.as_str(), "h2");
    assert_eq!(setup.processes(), Vec::<u32>::new());
    setup.supervisor.shutdown().await;
}
