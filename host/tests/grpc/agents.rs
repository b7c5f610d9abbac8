//! Agents started, listed, watched and stopped by a plain client.

use std::collections::BTreeMap;

use guildhall_proto::v1::{
    self, AgentState,
    watch_agents_response::{Event, Removed},
};
use tokio::time::timeout;

use crate::setup::{Client, LIMIT, create, launch, launch_that, run, world};

#[tokio::test]
async fn an_agent_is_created_looked_at_and_stopped() {
    let world = world(1).await;
    let mut client = world.client().await;
    let created = create(&mut client, launch("a"), "r").await.unwrap();
    assert_eq!(created.state(), AgentState::Running);
    assert_eq!(world.processes(), [created.pid]);
    insta::assert_debug_snapshot!(v1::AgentInfo {
        pid: 0,
        created_at_ms: 0,
        start_ms: created.start_ms.map(|_| 0),
        ..created.clone()
    });

    let get = v1::GetAgentInfoRequest { guild_id: "g".to_owned(), agent_id: "a".to_owned() };
    let got = client.get_agent_info(get.clone()).await.unwrap().into_inner().agent.unwrap();
    assert_eq!(got, created);
    let health = client.health(v1::HealthRequest {}).await.unwrap().into_inner();
    assert_eq!((health.running, health.capacity, health.draining), (1, 3, false));
    assert!(health.lease_in_force);
    assert_eq!(health.policy.unwrap().name, "round-robin");

    let stop = v1::StopAgentRequest {
        guild_id: "g".to_owned(),
        agent_id: "a".to_owned(),
        grace_ms: Some(5000),
        request_id: String::new(),
    };
    let stopped = client.stop_agent(stop).await.unwrap().into_inner().agent.unwrap();
    assert_eq!((stopped.epoch, stopped.last_exit.unwrap().code), (created.epoch, Some(0)));
    assert_eq!(world.processes(), Vec::<u32>::new());
    assert_eq!(client.get_agent_info(get).await.unwrap_err().code(), tonic::Code::NotFound);
    world.end().await;
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let world = world(1).await;
    let mut client = world.client().await;
    let mut again = client.clone();
    let slow = launch_that("a", r#"{"ready_after_ms": 100}"#);
    // One while the first is under way, one after it.
    let (first, second) =
        tokio::join!(create(&mut client, slow.clone(), "same"), create(&mut again, slow.clone(), "same"));
    let first = first.unwrap();
    assert_eq!(second.unwrap(), first);
    assert_eq!(create(&mut client, slow, "same").await.unwrap(), first);
    assert_eq!(world.processes(), [first.pid]);
    world.end().await;
}

#[tokio::test]
async fn run_agent_forwards_to_the_host_that_the_policy_chooses() {
    let world = world(2).await;
    let mut client = world.client().await;
    let mut hosts = BTreeMap::new();
    for n in 0..4 {
        let agent = client.run_agent(run(Some(launch(&format!("a{n}"))))).await;
        let agent = agent.unwrap().into_inner().agent.unwrap();
        *hosts.entry(agent.host_id).or_insert(0) += 1;
    }
    assert_eq!(hosts, BTreeMap::from([("host-1".to_owned(), 2), ("host-2".to_owned(), 2)]));
    world.end().await;
}

#[tokio::test]
async fn run_agent_with_the_same_request_id_gets_the_same_agent_from_every_host() {
    let world = world(2).await;
    let mut ran = Vec::new();
    for (request_id, host) in [("same", 0), ("same", 1), ("same", 0), ("other", 1)] {
        let mut client = Client::new(world.channel_to(host).await);
        let request = v1::RunAgentRequest { request_id: request_id.to_owned(), ..run(Some(launch("a"))) };
        ran.push(client.run_agent(request).await.map(|answer| answer.into_inner().agent.unwrap()));
    }
    let other = ran.pop().unwrap().unwrap_err();
    assert_eq!(other.code(), tonic::Code::AlreadyExists);
    let pids: Vec<_> = ran.into_iter().map(|agent| agent.unwrap().pid).collect();
    assert_eq!(pids, [pids[0]; 3]);
    assert_eq!(world.processes(), pids[..1]);
    world.end().await;
}

#[tokio::test]
async fn agents_are_listed_by_the_page() {
    let world = world(1).await;
    let mut client = world.client().await;
    for (guild, agent) in [("g2", "a"), ("g1", "b"), ("g1", "a")] {
        let launch = v1::Launch { guild_id: guild.to_owned(), ..launch(agent) };
        create(&mut client, launch, &format!("{guild}{agent}")).await.unwrap();
    }
    let all = ["g1/a", "g1/b", "g2/a"];
    let cases: [(&str, u32, &[&[&str]]); 5] = [
        ("", 0, &[&all]),
        ("", 1, &[&all[..1], &all[1..2], &all[2..]]),
        ("", 2, &[&all[..2], &all[2..]]),
        ("", u32::MAX, &[&all]),
        ("g1", 1, &[&all[..1], &all[1..2]]),
    ];
    for (guild, page_size, wanted) in cases {
        assert_eq!(pages(&mut client, guild, page_size).await, wanted, "{guild:?} by {page_size}");
    }
    assert_eq!(pages(&mut client, "g3", 0).await, [Vec::<String>::new()]);
    world.end().await;
}

async fn pages(client: &mut Client, guild: &str, page_size: u32) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListAgentsRequest { guild_id: guild.to_owned(), page_size, page_token };
        let page = client.list_agents(request).await.unwrap().into_inner();
        pages
            .push(page.agents.iter().map(|agent| format!("{}/{}", agent.guild_id, agent.agent_id)).collect());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test]
async fn a_watcher_gets_a_snapshot_and_then_changes_of_its_guild() {
    let world = world(1).await;
    let mut client = world.client().await;
    create(&mut client, launch("before"), "r1").await.unwrap();
    let request = v1::WatchAgentsRequest { guild_id: "g".to_owned() };
    let mut events = client.watch_agents(request).await.unwrap().into_inner();
    let mut next = async || timeout(LIMIT, events.message()).await.unwrap().unwrap().unwrap().event.unwrap();

    let Event::Snapshot(snapshot) = next().await else { panic!("a snapshot comes first") };
    assert!(!snapshot.more);
    let before: Vec<_> =
        snapshot.agents.iter().map(|agent| (agent.agent_id.as_str(), agent.state())).collect();
    assert_eq!(before, [("before", AgentState::Running)]);

    let elsewhere = v1::Launch { guild_id: "another".to_owned(), ..launch("a") };
    create(&mut client, elsewhere, "r2").await.unwrap();
    let agent = create(&mut client, launch("after"), "r3").await.unwrap();
    let stop = v1::StopAgentRequest {
        guild_id: "g".to_owned(),
        agent_id: "after".to_owned(),
        grace_ms: None,
        request_id: String::new(),
    };
    client.stop_agent(stop).await.unwrap();
    let mut states = Vec::new();
    let removed = loop {
        match next().await {
            Event::Changed(changed) => {
                assert_eq!((changed.guild_id.as_str(), changed.agent_id.as_str()), ("g", "after"));
                states.push(changed.state());
            }
            Event::Removed(removed) => break removed,
            Event::Snapshot(_) => panic!("nothing was missed"),
        }
    };
    states.dedup();
    assert_eq!(states, [AgentState::Starting, AgentState::Running, AgentState::Stopping]);
    let wanted = Removed { guild_id: "g".to_owned(), agent_id: "after".to_owned(), epoch: agent.epoch };
    assert_eq!(removed, wanted);
    world.end().await;
}
