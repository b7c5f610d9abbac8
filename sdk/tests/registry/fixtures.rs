//! Hosts and agents to write down, and ways to wait that say what they waited for.

use std::{future::Future, time::Duration};

use futures::{Stream, StreamExt};
use guildhall::{
    agent::{AgentInfo, AgentState},
    host::{HostInfo, HostLoad, LeaseId, LeaseTerms},
    ids::{AgentId, AgentKey, Epoch, GuildId, HostId},
    launch::{Json, Launch},
    placement::{PolicyIdentity, Sha256Digest},
    registry::{Burial, ClaimOutcome, Overdue, Registration, Registry},
};

/// Longer than any test runs.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// Ends while a test waits, and not before what it does meanwhile on a busy machine.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn guild_id(id: &str) -> GuildId {
    GuildId::new(id).unwrap()
}

pub(crate) fn host_id(id: &str) -> HostId {
    HostId::new(id).unwrap()
}

pub(crate) fn key(guild: &str, agent: &str) -> AgentKey {
    AgentKey::new(guild_id(guild), AgentId::new(agent).unwrap())
}

pub(crate) fn lease(id: &str) -> LeaseId {
    LeaseId::new(id).unwrap()
}

pub(crate) fn host(id: &str) -> HostInfo {
    HostInfo {
        id: host_id(id),
        endpoint: format!("http://{id}:50051"),
        labels: [("zone".to_owned(), "eu 1".to_owned())].into(),
        capacity: 100,
        allocatable: None,
        draining: false,
        load: HostLoad { cpu_fraction: 0.25, memory_total: 1 << 40, ..HostLoad::default() },
        policy: PolicyIdentity { name: "round-robin".to_owned(), sha256: Sha256Digest::of(b"a policy") },
        terms: LeaseTerms::default(),
    }
}

pub(crate) fn agent(key: &AgentKey, host: &str) -> AgentInfo {
    AgentInfo {
        key: key.clone(),
        name: "Ünïcode \"agent\" {1}\n".to_owned(),
        class_name: "rustic_ai.core.agents.testutils.echo_agent.EchoAgent".to_owned(),
        host: host_id(host),
        pid: None,
        state: AgentState::Starting,
        epoch: Epoch(0),
        created_at_ms: 1_763_949_600_000,
        start_ms: None,
        restarts: 0,
        last_exit: None,
        request_id: "6f9619ff8b86d011b42d00c04fc964ff".to_owned(),
        placed_by: None,
        failed_on: Vec::new(),
    }
}

pub(crate) async fn register(registry: &dyn Registry, id: &str, lease: &LeaseId) {
    let answer = registry.register(&host(id), lease, LONG).await.unwrap();
    assert_eq!(answer, Registration::Registered);
}

/// A launch whose guild's spec is as given.
pub(crate) fn launch(key: &AgentKey, guild_spec: &str) -> Launch {
    let spec = format!(
        r#"{{"id":{:?},"name":"A","description":"An agent","class_name":"test.Echo"}}"#,
        key.agent.as_str()
    );
    let launch = Launch::from_agent_spec(key.guild.clone(), spec.as_bytes()).unwrap();
    Launch { guild_spec: Json::parse("guild_spec", guild_spec.as_bytes()).unwrap(), ..launch }
}

/// Waits until a lease is overdue.
pub(crate) async fn overdue(registry: &dyn Registry, lease: &LeaseId) -> Overdue {
    let asking = async {
        loop {
            let found = registry.overdue().await.unwrap().into_iter().find(|it| it.lease == *lease);
            if let Some(found) = found {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the lease ends")
}

/// Waits until a lease is overdue, and buries it.
pub(crate) async fn bury(registry: &dyn Registry, lease: &LeaseId) {
    let overdue = overdue(registry, lease).await;
    assert_eq!(registry.bury(&overdue, LONG).await.unwrap(), Burial::Buried);
}

/// Claims what is free; the epoch.
pub(crate) async fn claim(registry: &dyn Registry, key: &AgentKey, host: &str, lease: &LeaseId) -> Epoch {
    match registry.claim(&agent(key, host), lease, None).await.unwrap() {
        ClaimOutcome::Claimed(epoch) => epoch,
        held => panic!("{key} should be free, but {held:?}"),
    }
}

/// The holder that a claim was told of.
pub(crate) fn held(outcome: ClaimOutcome) -> AgentInfo {
    match outcome {
        ClaimOutcome::Held(agent) => *agent,
        claimed => panic!("it should be held, but {claimed:?}"),
    }
}

/// Asks again and again until the answer is yes; fails when it never is.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut asks: impl FnMut() -> F) {
    let asking = async {
        while !asks().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never came true: {what}"));
}

/// The next event of a watch.
pub(crate) async fn next<S: Stream + Unpin>(watch: &mut S) -> S::Item {
    tokio::time::timeout(PATIENCE, watch.next())
        .await
        .expect("an event comes in time")
        .expect("a watch never ends")
}
