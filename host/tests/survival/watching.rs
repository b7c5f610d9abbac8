//! A watcher that was cut off misses nothing: it is told everything once more.

use std::collections::BTreeMap;

use futures::{StreamExt, stream::BoxStream};
use guildhall::{
    agent::{AgentEvent, AgentInfo},
    engine::{ExecutionEngine, GrpcEngine},
    ids::AgentKey,
    wire::EventReader,
};
use guildhall_proto::v1;
use guildhall_testing::{Program, Signal};
use tokio::time::timeout;

use crate::{
    proxy::Proxy,
    setup::{
        LIMIT, all_run, client, guild, key, launch, registry_at, run, until_agents, until_elsewhere, world,
    },
};

/// What a watcher knows.
struct Watcher {
    events: BoxStream<'static, AgentEvent>,
    known: BTreeMap<AgentKey, AgentInfo>,
    snapshots: usize,
}

impl Watcher {
    fn of(engine: &GrpcEngine) -> Self {
        Self { events: engine.watch(&guild()), known: BTreeMap::new(), snapshots: 0 }
    }

    /// Listens until what it knows is what there is.
    async fn until_knows(&mut self, agents: &[AgentInfo]) {
        let wanted: BTreeMap<_, _> = agents.iter().map(|agent| (agent.key.clone(), agent.clone())).collect();
        let wait = async {
            while self.known != wanted {
                match self.events.next().await.expect("the events go on") {
                    AgentEvent::Snapshot(agents) => {
                        self.snapshots += 1;
                        self.known = agents.into_iter().map(|agent| (agent.key.clone(), agent)).collect();
                    }
                    AgentEvent::Changed(agent) => drop(self.known.insert(agent.key.clone(), agent)),
                    AgentEvent::Removed { key, .. } => drop(self.known.remove(&key)),
                    other => panic!("unexpected: {other:?}"),
                }
            }
        };
        if timeout(LIMIT, wait).await.is_err() {
            panic!("the watcher knows {:#?}, and there is {wanted:#?}", self.known);
        }
    }
}

#[tokio::test]
async fn a_watcher_that_was_cut_off_is_told_everything_again() {
    let world = world();
    let _hosts: [Program; 2] = world.hosts();
    let engine = world.engine(2).await;
    let wire = Proxy::to(world.redis.port()).await;
    let distant = GrpcEngine::builder().registry(registry_at(&wire.url()).await).build().await.unwrap();
    let agents = run(&engine, 4).await;
    let mut watcher = Watcher::of(&distant);
    watcher.until_knows(&agents).await;
    assert_eq!(watcher.snapshots, 1);

    wire.cut();
    engine.stop_agent(&key("a0")).await.unwrap();
    engine.run_agent(launch("b")).await.unwrap();
    let now = engine.get_agents_in_guild(&guild()).await.unwrap();
    wire.mend();
    watcher.until_knows(&now).await;
    distant.shutdown().await;
}

#[tokio::test]
async fn a_watcher_misses_nothing_when_redis_or_a_host_starts_again() {
    let mut world = world();
    let [mut first, _second, _third] = world.hosts();
    let engine = world.engine(3).await;
    let agents = run(&engine, 6).await;
    let mut watcher = Watcher::of(&engine);
    watcher.until_knows(&agents).await;

    // With Redis goes what it would have told.
    let before = watcher.snapshots;
    world.redis.kill();
    world.redis.restart().unwrap();
    let mut agents = until_agents(&engine, |agents| agents.len() == 6 && all_run(agents)).await;
    while engine.stop_agent(&agents[0].key).await.is_err() {}
    agents.remove(0);
    watcher.until_knows(&agents).await;
    assert!(watcher.snapshots > before, "it was told everything once more");

    first.signal(Signal::KILL);
    first.wait();
    let again = world.host("h1");
    let agents = until_agents(&engine, |now| {
        let grew = |agent: &AgentInfo| {
            let now = now.iter().find(|now| now.key == agent.key);
            agent.host.as_str() != "h1" || now.is_some_and(|now| now.epoch > agent.epoch)
        };
        now.len() == 5 && all_run(now) && agents.iter().all(grew)
    });
    let agents = agents.await;
    watcher.until_knows(&agents).await;
    world.assert_each_runs_once(&agents).await;
    drop(again);
}

#[tokio::test]
async fn who_watches_a_host_is_told_everything_when_it_is_asked_again() {
    let world = world();
    let [_first, mut last] = world.hosts();
    let engine = world.engine(2).await;
    run(&engine, 4).await;
    let request = || v1::WatchAgentsRequest { guild_id: "g".to_owned() };
    let mut events = client(&last).await.watch_agents(request()).await.unwrap().into_inner();
    assert_eq!(snapshot(&mut events).await.len(), 2);

    last.signal(Signal::KILL);
    last.wait();
    let ended = async { while let Some(Ok(_)) = events.next().await {} };
    timeout(LIMIT, ended).await.expect("the stream ends with the host");
    let agents = until_elsewhere(&engine, 4, "h2").await;

    let again = world.host("h2");
    let mut events = client(&again).await.watch_agents(request()).await.unwrap().into_inner();
    assert_eq!(snapshot(&mut events).await, [], "its agents are another's");
    world.assert_each_runs_once(&agents).await;
}

/// The first event.
async fn snapshot(events: &mut tonic::Streaming<v1::WatchAgentsResponse>) -> Vec<AgentInfo> {
    let mut reader = EventReader::default();
    loop {
        let message = timeout(LIMIT, events.next()).await.expect("it comes at once").unwrap().unwrap();
        match reader.read(message).unwrap() {
            Some(AgentEvent::Snapshot(agents)) => return agents,
            Some(other) => panic!("a snapshot comes first, not {other:?}"),
            None => {}
        }
    }
}
