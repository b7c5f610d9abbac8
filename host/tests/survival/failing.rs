//! An agent that fails wherever it is.

use guildhall::{agent::AgentState, engine::ExecutionEngine};
use guildhall_testing::Program;

use crate::setup::{key, launch_that, ready, until, world};

#[tokio::test]
async fn an_agent_that_keeps_crashing_is_tried_elsewhere_and_then_recorded_as_failed() {
    let world = world();
    let hosts: [Program; 3] = ["h1", "h2", "h3"].map(|id| ready(world.command(id).env("RESTART_LIMIT", "1")));
    let engine = world.engine(3).await;
    // Whether its first end comes before or after the answer does not matter.
    let _ = engine.run_agent(launch_that("a", r#"{"on_start":"crash_after_ready"}"#)).await;
    until("it has failed", async || {
        let agent = engine.get_agent(&key("a")).await.unwrap();
        agent.is_some_and(|agent| agent.state == AgentState::Failed)
    })
    .await;
    let agent = engine.get_agent(&key("a")).await.unwrap().unwrap();
    assert_eq!(agent.pid, None);
    assert_eq!(agent.failed_on.len(), 1, "{agent:#?}");
    assert_ne!(agent.failed_on[0], agent.host, "{agent:#?}");
    let end = agent.last_exit.clone().unwrap();
    assert!(end.reason.contains("restarted 1 times without becoming healthy"), "{agent:#?}");
    assert!(end.reason.contains("signal"), "{agent:#?}");

    let lives = &world.lives()["a"];
    let hosts_in_turn: Vec<_> = lives.iter().map(|life| life.host.as_str()).collect();
    let (first, second) = (agent.failed_on[0].as_str(), agent.host.as_str());
    assert_eq!(hosts_in_turn, [first, first, second, second], "a start and a restart on each");
    crate::lives::assert_one_at_a_time(&world.lives());
    drop(hosts);
}
