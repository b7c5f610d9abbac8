//! Redis gone for everybody.

use guildhall::engine::{EngineError, ExecutionEngine};
use guildhall_testing::Program;
use tokio::time::sleep;

use crate::setup::{LEASE, all_run, guild, launch, pids, run, until_agents, world};

#[tokio::test]
async fn agents_go_on_while_redis_hangs_for_three_leases_and_calls_recover() {
    let mut world = world();
    let hosts: [Program; 3] = world.hosts();
    let engine = world.engine(3).await;
    let before = run(&engine, 9).await;

    for kill in [false, true] {
        match kill {
            // It accepts connections, and answers nothing.
            false => world.redis.pause().unwrap(),
            true => world.redis.kill(),
        }
        let error = engine.get_agents_in_guild(&guild()).await.unwrap_err();
        assert!(matches!(error, EngineError::Registry(_)), "{error}");
        sleep(3 * LEASE).await;
        assert_eq!(world.processes(), pids(&before), "each goes on, and none is doubled");
        match kill {
            false => world.redis.resume().unwrap(),
            true => world.redis.restart().unwrap(),
        }
        let after = until_agents(&engine, |agents| agents.len() == 9 && all_run(agents)).await;
        assert_eq!(pids(&after), pids(&before), "the same processes, under the same hosts");
        engine.wait_for_hosts(3, crate::setup::LIMIT).await.unwrap();
    }
    // The same engine and the same hosts go on, without being told.
    let new = engine.run_agent(launch("b")).await.unwrap();
    assert!(before.iter().all(|agent| agent.epoch < new.epoch));
    let stopped = engine.stop_agent(&before[0].key).await.unwrap();
    assert_eq!(stopped.key, before[0].key);
    let now = until_agents(&engine, |agents| agents.len() == 9 && all_run(agents)).await;
    world.assert_each_runs_once(&now).await;
    drop(hosts);
}
