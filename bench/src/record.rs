//! Hosts and agents that exist in the registry alone.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use guildhall::{
    agent::{AgentInfo, AgentState},
    host::{HostInfo, HostLoad, LeaseId},
    ids::{AgentId, AgentKey, Epoch, GuildId, HostId},
    placement::{BuiltIn, CompiledCache, Policy, PolicyIdentity},
    registry::{ClaimOutcome, RedisRegistry, Registration, Registry},
};

/// Longer than any figure takes.
pub(crate) const LEASE: Duration = Duration::from_secs(600);

/// Claims under way at once.
const CLAIMS: usize = 64;

/// A host that is registered, with agents that are claimed and running.
pub(crate) struct Recorded {
    pub(crate) host: HostInfo,
    pub(crate) lease: LeaseId,
    pub(crate) agents: Vec<AgentKey>,
}

/// Registers a host and claims `agents` agents for it.
pub(crate) async fn host(registry: &RedisRegistry, agents: usize) -> Result<Recorded> {
    let policy = Policy::load(&BuiltIn::RoundRobin.into(), &CompiledCache::default())?;
    let host = HostInfo {
        id: HostId::new("agent-host-7f9c6d5b8-x2x7k")?,
        endpoint: "http://10.42.17.5:50051".to_owned(),
        labels: [("topology.kubernetes.io/zone".to_owned(), "eu-central-1a".to_owned())].into(),
        capacity: u32::try_from(agents)?,
        allocatable: None,
        draining: false,
        load: HostLoad {
            running: u32::try_from(agents)?,
            starts_in_flight: 0,
            cpu_fraction: 0.375,
            memory_used: 9 << 30,
            memory_total: 32 << 30,
            ..HostLoad::default()
        },
        policy: PolicyIdentity::clone(policy.identity()),
        terms: Default::default(),
    };
    let lease = LeaseId::fresh();
    let registered = registry.register(&host, &lease, LEASE).await?;
    ensure!(registered == Registration::Registered, "{registered:?}");
    let agents = stream::iter(0..agents)
        .map(async |at| {
            let agent = agent(&host.id, at)?;
            let claimed = registry.claim(&agent, &lease, None).await?;
            ensure!(matches!(claimed, ClaimOutcome::Claimed(_)), "{claimed:?}");
            anyhow::Ok(agent.key)
        })
        .buffered(CLAIMS)
        .try_collect()
        .await?;
    Ok(Recorded { host, lease, agents })
}

fn agent(host: &HostId, at: usize) -> Result<AgentInfo> {
    Ok(AgentInfo {
        key: AgentKey::new(
            GuildId::new(format!("guild-{}", at / 8))?,
            AgentId::new(format!("agent-{}", at % 8))?,
        ),
        name: format!("Agent {at}"),
        class_name: "examples.echo.EchoAgent".to_owned(),
        host: host.clone(),
        pid: Some(4_194_304),
        state: AgentState::Running,
        epoch: Epoch(0),
        created_at_ms: 1_763_949_600_000,
        start_ms: Some(12),
        restarts: 0,
        last_exit: None,
        request_id: "6f9619ff8b86d011b42d00c04fc964ff".to_owned(),
        placed_by: None,
        failed_on: Vec::new(),
    })
}
