//! What happens when an agent's process ends.

use std::{slice, time::Duration};

use echo_runner::Order;
use guildhall::agent::AgentState;
use guildhall_host::{runner::RestartPolicy, supervisor::StopError};
use rustix::process::Signal;

use crate::setup::{exists, key, kill, setup, setup_with};

#[tokio::test]
async fn a_killed_agent_comes_back_with_a_higher_epoch() {
    let setup = setup().await;
    let first = setup.create("a", "{}").await.unwrap();
    kill(first.pid.unwrap(), Signal::KILL);
    let second =
        setup.until(&first.key, |agent| agent.restarts == 1 && agent.state == AgentState::Running).await;
    assert!(second.epoch > first.epoch && second.pid != first.pid && !exists(first.pid.unwrap()));
    assert_eq!((second.created_at_ms, &second.request_id), (first.created_at_ms, &first.request_id));
    let exit = second.last_exit.clone().unwrap();
    assert_eq!((exit.signal, exit.reason.as_str()), (Some(9), "killed by signal 9 (SIGKILL)"));
    let pong = setup.ping(&second).await;
    assert_eq!((pong.epoch, Some(pong.pid)), (second.epoch.0, second.pid));
    setup.supervisor.stop(&first.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn policies_decide_what_an_exit_means() {
    for (policy, code, wanted) in [
        (RestartPolicy::Always, 0, AgentState::Restarting),
        (RestartPolicy::Always, 3, AgentState::Restarting),
        (RestartPolicy::OnFailure, 0, AgentState::Finished),
        (RestartPolicy::OnFailure, 3, AgentState::Restarting),
        (RestartPolicy::Never, 0, AgentState::Finished),
        (RestartPolicy::Never, 3, AgentState::Failed),
    ] {
        let setup = setup_with(|config, runner| {
            config.restart.first_delay = Duration::from_secs(600);
            config.restart.max_delay = Duration::from_secs(600);
            runner.restart = policy;
        });
        let setup = setup.await;
        let agent = setup.create("a", "{}").await.unwrap();
        setup.order(&agent, Order::Exit(code)).await;
        let ended = setup.until(&agent.key, |agent| agent.state != AgentState::Running).await;
        assert_eq!(ended.state, wanted, "{policy:?} {code}");
        assert_eq!(ended.last_exit.as_ref().unwrap().code, Some(code.into()));
        setup.supervisor.stop(&agent.key, None).await.unwrap();
        setup.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn a_crash_loop_ends_as_failed_with_its_reason() {
    let setup = setup_with(|config, _| {
        config.restart.limit = 3;
        config.restart.first_delay = Duration::from_millis(1);
    });
    let setup = setup.await;
    let key = key("g", "a");
    setup.create("a", r#"{"on_start":"exit_after_ready:4","stderr_bytes":64}"#).await.unwrap();
    let failed = setup.until_state(&key, AgentState::Failed).await;
    assert_eq!((failed.restarts, failed.pid), (3, None));
    let exit = failed.last_exit.clone().unwrap();
    assert_eq!(exit.reason, "restarted 3 times without becoming healthy; at last it exited with code 4");
    assert!(exit.stderr.ends_with("flooded 1 lines"), "{}", exit.stderr);

    // It is recorded, takes no place, and can be launched anew or forgotten.
    let recorded = async {
        while setup.record(&key).await.as_ref() != Some(&failed) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::setup::LIMIT, recorded).await.unwrap();
    assert_eq!(setup.supervisor.counts().running, 0);
    assert_eq!(setup.supervisor.list(None), slice::from_ref(&failed));
    let again = setup.create("a", "{}").await.unwrap();
    assert!(again.epoch > failed.epoch);
    setup.supervisor.stop(&key, None).await.unwrap();
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn an_ended_agent_is_forgotten_when_stopped() {
    let setup = setup_with(|_, runner| runner.restart = RestartPolicy::Never).await;
    let agent = setup.create("a", r#"{"on_start":"exit_after_ready:0"}"#).await.unwrap();
    setup.until_state(&agent.key, AgentState::Finished).await;
    let stop = || setup.supervisor.stop(&agent.key, None);
    assert_eq!(stop().await.unwrap().state, AgentState::Finished);
    assert!(matches!(stop().await, Err(StopError::NotFound { .. })));
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn so_many_ended_agents_are_listed_and_all_recorded() {
    let setup = setup_with(|config, runner| {
        config.ended_kept = 2;
        runner.restart = RestartPolicy::Never;
    });
    let setup = setup.await;
    for agent in ["a", "b", "c"] {
        setup.create(agent, r#"{"on_start":"exit_after_ready:0"}"#).await.unwrap();
        setup.until_state(&key("g", agent), AgentState::Finished).await;
    }
    let listed = || setup.supervisor.list(None).into_iter().map(|agent| agent.key).collect::<Vec<_>>();
    while listed().len() > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(listed(), [key("g", "b"), key("g", "c")]);
    setup.supervisor.shutdown().await;
    assert_eq!(setup.record(&key("g", "a")).await.unwrap().state, AgentState::Finished);
}

#[tokio::test]
async fn an_agent_that_hangs_is_restarted_by_its_watchdog() {
    let setup = setup_with(|_, runner| runner.watchdog = Some(Duration::from_millis(300))).await;
    let agent = setup.create("a", "{}").await.unwrap();
    // It lives on as long as it says so.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(setup.supervisor.get(&agent.key).unwrap().pid, agent.pid);
    setup.order(&agent, Order::Hang).await;
    let again =
        setup.until(&agent.key, |agent| agent.restarts == 1 && agent.state == AgentState::Running).await;
    assert_eq!(
        again.last_exit.unwrap().reason,
        "watchdog: no sign of life for 300ms: killed by signal 9 (SIGKILL)"
    );
    setup.supervisor.stop(&agent.key, None).await.unwrap();
    setup.assert_nothing_left().await;
}
