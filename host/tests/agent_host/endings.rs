//! How a host ends, and what is left then: no process, and word of its agents.

use guildhall::{agent::AgentState, engine::ExecutionEngine};
use guildhall_testing::{RedisServer, Signal, wait_until_none_marked};

use crate::setup::{all_in, engine, guild, launch_that, pids, registry, run, until_agents, world};

#[tokio::test]
async fn sigterm_moves_the_agents_of_a_host_to_others() {
    let redis = RedisServer::start().unwrap();
    let world = world();
    let (mut first, mut second) = (world.host("h1", &redis), world.host("h2", &redis));
    let registry = registry(&redis).await;
    let engine = engine(&registry, 2).await;
    let agents = run(&engine, 4).await;
    let on =
        |host: &str| agents.iter().filter(|agent| agent.host.as_str() == host).cloned().collect::<Vec<_>>();
    assert_eq!((on("h1").len(), on("h2").len()), (2, 2), "the two take turns");

    first.signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(0), "{}", first.log());
    let hosts: Vec<_> = registry.hosts().await.unwrap().into_iter().map(|host| host.info.id).collect();
    assert_eq!(hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>(), ["h2"]);
    let after = engine.get_agents_in_guild(&guild()).await.unwrap();
    assert_eq!(after.len(), 4, "nothing is silently lost");
    assert!(after.iter().all(|agent| agent.host.as_str() == "h2"), "{after:?}");
    let after = until_agents(&engine, all_in(AgentState::Running)).await;
    assert_eq!(world.processes(), pids(&after));
    for (moved, before) in after.iter().zip(&agents).filter(|(_, before)| before.host.as_str() == "h1") {
        assert!(moved.epoch > before.epoch, "{moved:?}");
    }

    second.signal(Signal::TERM);
    assert_eq!(second.wait().code(), Some(0), "{}", second.log());
    let after = engine.get_agents_in_guild(&guild()).await.unwrap();
    assert!(after.len() == 4 && all_in(AgentState::Waiting)(&after), "{after:?}");
    assert_eq!(world.processes(), Vec::<u32>::new());

    // A new fleet on the same registry brings every agent back.
    let mut third = world.host("h3", &redis);
    let after = until_agents(&engine, all_in(AgentState::Running)).await;
    assert_eq!(after.len(), 4);
    third.signal(Signal::TERM);
    assert_eq!(third.wait().code(), Some(0), "{}", third.log());
}

#[tokio::test]
async fn sigkill_leaves_no_agent_and_its_agents_run_elsewhere() {
    let redis = RedisServer::start().unwrap();
    let world = world();
    let (mut first, _second) = (world.host("h1", &redis), world.host("h2", &redis));
    let registry = registry(&redis).await;
    let engine = engine(&registry, 2).await;
    let agents = run(&engine, 4).await;

    first.signal(Signal::KILL);
    first.wait();
    let on_h2 = |agents: &[guildhall::agent::AgentInfo]| {
        agents.iter().all(|agent| agent.host.as_str() == "h2" && agent.state == AgentState::Running)
    };
    let now = until_agents(&engine, on_h2).await;
    assert_eq!(now.len(), 4, "nothing is lost");
    for (now, before) in now.iter().zip(&agents) {
        let moved = before.host.as_str() == "h1";
        assert!(if moved { now.epoch > before.epoch } else { now == before }, "{now:?}");
    }
    let mut processes = world.processes();
    processes.sort_unstable();
    assert_eq!(processes, pids(&now), "the dead host's agents are dead");
}

#[tokio::test]
async fn sigkill_also_ends_agents_that_do_not_listen() {
    let redis = RedisServer::start().unwrap();
    let world = world();
    let mut host = world.host("h1", &redis);
    let registry = registry(&redis).await;
    let engine = engine(&registry, 1).await;
    for (agent, echo) in [
        ("stubborn", r#"{"ignore_sigterm":true}"#),
        ("hung", r#"{"on_start":"hang_after_ready"}"#),
        // Its children ignore SIGTERM, and live on when it is killed.
        ("parent", r#"{"fork_children":3}"#),
    ] {
        engine.run_agent(launch_that(agent, echo)).await.unwrap();
    }
    assert_eq!(world.processes().len(), 6);
    host.signal(Signal::KILL);
    host.wait();
    wait_until_none_marked(&world.path("agents"));
}

#[tokio::test]
async fn a_host_in_memory_is_a_fleet_of_its_own() {
    let world = world();
    let mut host = crate::setup::ready(&mut world.command());
    host.signal(Signal::INT);
    assert_eq!(host.wait().code(), Some(0));
    assert_eq!(host.output(), "", "the log is standard error");
}

#[tokio::test]
async fn what_leaves_its_agents_group_becomes_no_zombie() {
    let redis = RedisServer::start().unwrap();
    let world = world();
    let pid_file = world.path("daemon");
    // A daemon: its parent is gone, its session its own. It ends when it is told.
    let daemon = format!("echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 600");
    let script = format!(
        "#!/bin/sh\n(setsid sh -c '{daemon}' &)\nexec {} \"$@\"\n",
        echo_runner::binary().unwrap().display()
    );
    std::fs::write(world.path("run.sh"), script).unwrap();
    std::fs::write(
        world.path("runners.toml"),
        format!(
            "[runner.echo]\ncommand = \"/bin/sh\"\nargs = [{:?}]\nclass_name = \"test.*\"\nenv = {{ ECHO_DIR = {:?} }}\n",
            world.path("run.sh"),
            world.path("agents"),
        ),
    )
    .unwrap();
    let _host = world.host("h1", &redis);
    let registry = registry(&redis).await;
    let engine = engine(&registry, 1).await;
    run(&engine, 1).await;
    // The kernel tells only parents, so there is nothing to wait on but time.
    let until = async |done: &dyn Fn() -> bool| {
        let wait = async {
            while !done() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::setup::LIMIT, wait).await.expect("it did not come to this");
    };
    until(&|| std::fs::exists(&pid_file).unwrap()).await;
    let pid = std::fs::read_to_string(&pid_file).unwrap().trim().to_owned();
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status().unwrap();
    assert!(killed.success());
    until(&|| !std::fs::exists(format!("/proc/{pid}")).unwrap()).await;
    assert_eq!(engine.get_agents_in_guild(&guild()).await.unwrap()[0].state, AgentState::Running);
}
