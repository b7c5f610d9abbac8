//! Far more creates at once than there is room for.

use std::collections::BTreeMap;

use futures::{StreamExt, stream::FuturesUnordered};
use guildhall::{
    agent::AgentState,
    engine::{EngineError, ExecutionEngine},
    fault::FaultReason,
    wire,
};
use guildhall_host::{
    Fleet,
    runner::{Runner, RunnerTable, Template},
};
use guildhall_proto::v1::{self, agent_host_service_client::AgentHostServiceClient};
use guildhall_testing::processes_marked;

use crate::setup::{guild, launch};

const CREATES: usize = 10_000;
const HOSTS: usize = 4;
const SLOTS: usize = 100;

/// Crowds, one after the other.
const CROWDS: usize = 4;

/// By how much the process may grow from the second crowd to the last, bytes: the allocator's
/// own whims, and about a kilobyte for each create.
const GROWTH: u64 = 64 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_creates_at_once_as_many_run_as_there_is_room_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = Runner::new("echo", echo_runner::binary().unwrap());
    let mark = dir.path().to_str().unwrap();
    runner.env.insert(echo_runner::DIR_VARIABLE.to_owned(), Template::parse(mark).unwrap());
    let fleet =
        Fleet::builder(RunnerTable::from_iter([runner])).hosts(HOSTS).capacity((SLOTS / HOSTS) as u32);
    let fleet = fleet.start().await.unwrap();
    let engine = fleet.engine().build().await.unwrap();
    engine.wait_for_hosts(HOSTS, crate::setup::LIMIT).await.unwrap();

    let mut resident = Vec::new();
    for crowd in 0..CROWDS {
        let mut refusals = BTreeMap::<String, usize>::new();
        let mut running = 0;
        let mut creates: FuturesUnordered<_> =
            (0..CREATES).map(|n| engine.run_agent(launch(&format!("crowd{crowd}-{n}")))).collect();
        while let Some(created) = creates.next().await {
            match created {
                Ok(_) => running += 1,
                Err(EngineError::NoHost { tried, reason, .. }) => {
                    let clear =
                        |reason| matches!(reason, FaultReason::CapacityExhausted | FaultReason::Overloaded);
                    assert!(tried.iter().all(|tried| clear(tried.fault.reason)), "{reason}: {tried:?}");
                    *refusals.entry(reason).or_default() += 1;
                }
                Err(error) => panic!("a create failed otherwise: {error:?}"),
            }
        }
        assert_eq!(running, SLOTS, "{refusals:?}");
        assert_eq!(refusals.values().sum::<usize>(), CREATES - SLOTS, "{refusals:?}");
        let agents = engine.get_agents_in_guild(&guild()).await.unwrap();
        assert_eq!(agents.len(), SLOTS, "who was refused leaves no record");
        assert!(agents.iter().all(|agent| agent.state == AgentState::Running), "{agents:#?}");
        // One that has just been executed has no environment for a moment.
        while processes_marked(mark).len() != SLOTS {
            tokio::task::yield_now().await;
        }
        drop(creates);
        resident.push(resident_now());
        for outcome in engine.stop_guild(&guild()).await.unwrap() {
            outcome.result.unwrap();
        }
        // The policy goes by what hosts report.
        while engine.hosts().iter().any(|host| host.info.load.running > 0) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    // By then the allocator has the room that a crowd needs.
    let growth = resident[CROWDS - 1].saturating_sub(resident[1]);
    assert!(growth < GROWTH, "it takes {resident:?} bytes after each crowd");
    engine.shutdown().await;
    assert!(fleet.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_full_refuses_each_create_as_exhausted() {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = Runner::new("echo", echo_runner::binary().unwrap());
    let mark = dir.path().to_str().unwrap();
    runner.env.insert(echo_runner::DIR_VARIABLE.to_owned(), Template::parse(mark).unwrap());
    let fleet = Fleet::builder(RunnerTable::from_iter([runner])).hosts(1).capacity(SLOTS as u32);
    let fleet = fleet.start().await.unwrap();
    let client = AgentHostServiceClient::connect(fleet.hosts()[0].endpoint()).await.unwrap();

    let create = |n: usize| {
        let mut client = client.clone();
        let launch = Some(wire::launch_to_wire(&launch(&format!("a{n}"))));
        async move { client.create_agent(v1::CreateAgentRequest { launch, request_id: format!("r{n}") }).await }
    };
    let answers: Vec<_> = (0..CREATES).map(create).collect::<FuturesUnordered<_>>().collect().await;
    let (running, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(running.len(), SLOTS);
    for status in refused.into_iter().map(Result::unwrap_err) {
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
        let reason = wire::fault_from_status(&status).reason;
        assert!(matches!(reason, FaultReason::CapacityExhausted | FaultReason::Overloaded), "{status:?}");
    }
    assert_eq!(processes_marked(mark).len(), SLOTS);
    assert!(fleet.stop().await);
}

/// What of this process is in memory, bytes.
fn resident_now() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}
