//! Policies that are changed while engines and hosts decide by them.

use std::{fs, sync::Arc, time::Duration};

use async_trait::async_trait;
use guildhall::{
    engine::{EngineError, ExecutionEngine, GrpcEngine},
    placement::{
        BuiltIn, CompiledCache, LoadError, PolicyArtifact, PolicyFiles, PolicyLimits, PolicySource,
        RecordedDecisions, Replay, Sha256Digest, Trust,
    },
    registry::FleetPolicy,
};
use tokio::{sync::watch, time::timeout};

use crate::{
    backends::Pair,
    setup::{LIMIT, guild, launch, world, world_with},
};

both!(
    a_new_policy_takes_over_while_agents_are_started,
    the_whole_fleet_follows_the_policy_that_the_registry_names,
    a_policy_that_is_not_trusted_decides_nothing,
    a_published_policy_that_is_no_policy_keeps_nobody_from_starting,
    what_an_engine_decides_is_recorded_and_a_shadow_decides_too,
);

const SOON: Duration = Duration::from_millis(5);

/// A source that says how often it was looked at.
#[derive(Debug)]
struct Watched<S> {
    source: S,
    looks: watch::Sender<u32>,
}

impl<S> Watched<S> {
    fn new(source: S) -> Arc<Self> {
        Arc::new(Self { source, looks: watch::Sender::new(0) })
    }

    /// Waits until what is there now was looked at, and whatever followed from that is
    /// over: the next look begins after it.
    async fn is_dealt_with(&self) {
        let mut looks = self.looks.subscribe();
        let before = *looks.borrow();
        let dealt_with = looks.wait_for(|looks| *looks >= before + 2);
        timeout(LIMIT, dealt_with).await.expect("the source is looked at").expect("it is there");
    }
}

#[async_trait]
impl<S: PolicySource> PolicySource for Watched<S> {
    async fn fetch(&self) -> Result<PolicyArtifact, LoadError> {
        self.source.fetch().await
    }

    async fn version(&self) -> Result<String, LoadError> {
        self.looks.send_modify(|looks| *looks += 1);
        self.source.version().await
    }

    fn look_every(&self) -> Option<Duration> {
        self.source.look_every()
    }
}

async fn decides(engine: &GrpcEngine, policy: BuiltIn) {
    let wanted = Sha256Digest::of(policy.bytes());
    let mut changes = engine.policy_changes();
    let changed = changes.wait_for(|identity| identity.sha256 == wanted);
    timeout(LIMIT, changed).await.expect("the new policy takes over").expect("the engine lives");
    assert_eq!(engine.policy().sha256, wanted);
}

async fn what_an_engine_decides_is_recorded_and_a_shadow_decides_too(pair: Pair) {
    let world = world(pair, 2).await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("decisions");
    let engine = world
        .engine_with(|engine| {
            let shadow = PolicyArtifact::from(BuiltIn::RoundRobin);
            engine.policy(BuiltIn::LeastLoaded).record(Some(log.clone())).shadow(Some(shadow))
        })
        .await;
    for n in 0..5 {
        engine.run_agent(launch(&format!("a{n}"))).await.unwrap();
    }
    let shadow = engine.shadow().expect("there is one");
    let compared = async {
        while shadow.comparison().decisions < 5 {
            tokio::time::sleep(SOON).await;
        }
    };
    timeout(LIMIT, compared).await.expect("the shadow decides too");
    assert_eq!((shadow.comparison().failed, shadow.ended()), (0, None));
    assert_eq!(engine.policy_status().in_charge.name, "least-loaded");
    engine.shutdown().await;
    drop(engine);

    let mut recorded = RecordedDecisions::open(&log).unwrap();
    let mut replay = Replay::new(CompiledCache::off(), PolicyLimits::default());
    while let Some(entry) = recorded.next_entry().unwrap() {
        replay.take(entry).unwrap();
    }
    let found = replay.comparison();
    assert_eq!((found.decisions, found.different, found.differently_said), (5, 0, 0), "{found:#?}");

    let refused = world.fleet.engine().record(Some(log.clone())).build().await;
    assert!(matches!(refused, Err(EngineError::NotRecorded { .. })), "a log is never written over");
    world.end().await;
}

async fn a_new_policy_takes_over_while_agents_are_started(pair: Pair) {
    let world = world(pair, 2).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ours.wasm");
    fs::write(&file, BuiltIn::RoundRobin.bytes()).unwrap();
    let source = Watched::new(PolicyFiles::new(&file).look_every(SOON));
    let engine = world.engine_with(|engine| engine.policy(source.clone() as Arc<dyn PolicySource>)).await;
    let guild = guild("g", 30);
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run_guild(&guild, &Default::default()).await }
    });
    for policy in [BuiltIn::LeastLoaded, BuiltIn::RoundRobin, BuiltIn::LeastLoaded] {
        fs::write(dir.path().join("new"), policy.bytes()).unwrap();
        fs::rename(dir.path().join("new"), &file).unwrap();
        decides(&engine, policy).await;
    }
    for outcome in running.await.unwrap() {
        outcome.result.unwrap();
    }
    // What is no policy does not take over, and what comes after it does.
    fs::write(&file, "no policy").unwrap();
    source.is_dealt_with().await;
    assert_eq!(engine.policy().sha256, Sha256Digest::of(BuiltIn::LeastLoaded.bytes()));
    engine.run_agent(launch("one-more")).await.unwrap();
    fs::write(&file, BuiltIn::RoundRobin.bytes()).unwrap();
    decides(&engine, BuiltIn::RoundRobin).await;
    engine.shutdown().await;
    world.end().await;
}

async fn the_whole_fleet_follows_the_policy_that_the_registry_names(pair: Pair) {
    let registry = pair[0].clone();
    let source: Arc<dyn PolicySource> = Arc::new(FleetPolicy::new(registry.clone()).look_every(SOON));
    let world = world_with(pair, |fleet| fleet.hosts(2).policy(source)).await;
    let engine = world.engine().await;
    assert_eq!(engine.policy().name, "round-robin");

    for (published, named) in [(Some(BuiltIn::LeastLoaded), "least-loaded"), (None, "round-robin")] {
        let published = published.map(PolicyArtifact::from);
        registry.publish_policy(published.as_ref()).await.unwrap();
        let converged = async {
            loop {
                let hosts = registry.hosts().await.unwrap();
                if hosts.iter().all(|host| host.info.policy.name == named) && engine.policy().name == named {
                    return;
                }
                tokio::time::sleep(SOON).await;
            }
        };
        timeout(LIMIT, converged).await.expect("hosts and engine decide by the fleet's policy");
    }
    engine.shutdown().await;
    world.end().await;
}

async fn a_policy_that_is_not_trusted_decides_nothing(pair: Pair) {
    let world = world(pair, 1).await;
    let policy = PolicyArtifact::new("theirs", BuiltIn::LeastLoaded.bytes());
    let trust = Trust { pinned: vec![Sha256Digest::of(b"ours")], ..Trust::default() };
    let engine = world.fleet.engine().policy(policy.clone()).trust(trust.clone()).build().await;
    assert!(matches!(engine.unwrap_err(), EngineError::LoadPolicy(LoadError::Untrusted { .. })));

    // Also when it comes later.
    let source = Watched::new(FleetPolicy::new(world.registry.clone()).look_every(SOON));
    let choice = source.clone() as Arc<dyn PolicySource>;
    let engine = world.engine_with(|engine| engine.policy(choice).trust(trust)).await;
    world.registry.publish_policy(Some(&policy)).await.unwrap();
    source.is_dealt_with().await;
    assert_eq!(engine.policy().name, "round-robin");
    engine.shutdown().await;
    world.end().await;
}

async fn a_published_policy_that_is_no_policy_keeps_nobody_from_starting(pair: Pair) {
    let broken = PolicyArtifact::new("broken", *b"no policy");
    pair[0].publish_policy(Some(&broken)).await.unwrap();
    let world = world(pair, 1).await;
    let engine = world.engine().await;
    assert_eq!(engine.policy().name, "round-robin");
    engine.run_agent(launch("a")).await.unwrap();
    // What is chosen for this engine alone is another matter.
    let engine_of_broken = world.fleet.engine().policy(broken).build().await;
    assert!(matches!(
        engine_of_broken.unwrap_err(),
        EngineError::LoadPolicy(LoadError::NotAComponent { .. })
    ));
    engine.shutdown().await;
    world.end().await;
}
