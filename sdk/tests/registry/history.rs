//! The same history of operations, drawn at random, against memory and Redis: every
//! answer is the same, and watchers are told the same.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::stream::BoxStream;
use guildhall::{
    agent::{AgentEvent, AgentInfo, AgentState},
    host::{HostEvent, HostInfo, HostLoad, LeaseId},
    ids::{AgentKey, Epoch},
    registry::{ClaimOutcome, RedisRegistry, Registration, Registry, RegistryError},
};
use proptest::prelude::*;
use redis::AsyncCommands;

use crate::{
    backends,
    fixtures::{LONG, agent, guild_id, host, host_id, key, launch, lease, next, register},
};

const HOSTS: usize = 3;
const AGENTS: usize = 4;

/// The last agents are of the second guild; two share an id.
const KEYS: [(&str, &str); AGENTS] = [("g1", "a"), ("g1", "b"), ("g2", "a"), ("g2", "c")];

/// Which of the leases or epochs that were handed out so far to use.
#[derive(Clone, Copy, Debug)]
enum Pick {
    Newest,
    Older(usize),
    Unknown,
}

/// One step. Hosts and agents are told by their number.
#[derive(Clone, Debug)]
enum Operation {
    Register { host: usize, fresh: bool },
    Renew { host: usize, lease: Pick, running: Option<u32> },
    Leave { host: usize, lease: Pick },
    Hosts,
    Claim { agent: usize, host: usize, lease: Pick, replaces: Option<Pick>, held: Option<Pick> },
    Accept { agent: usize, host: usize, lease: Pick },
    Adopt { agent: usize, host: usize, lease: Pick, epoch: Pick },
    HandOver { agent: usize, epoch: Pick },
    Launch { agent: usize, epoch: Pick },
    Orphans,
    Reassert { agent: usize, epoch: Pick, host: usize },
    Update { agent: usize, epoch: Pick, state: AgentState },
    Release { agent: usize, epoch: Pick },
    Agent { agent: usize },
    Guild { agent: usize },
    Ticket { host: usize },
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![6 => Just(Pick::Newest), 2 => (1..4usize).prop_map(Pick::Older), 1 => Just(Pick::Unknown)]
}

fn state() -> impl Strategy<Value = AgentState> {
    use AgentState::{Failed, Finished, Restarting, Running, Starting, Stopping};
    prop::sample::select(vec![Starting, Running, Restarting, Stopping, Finished, Failed])
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let (host, agent) = (0..HOSTS, 0..AGENTS);
    prop_oneof![
        3 => (host.clone(), prop::bool::weighted(0.8)).prop_map(|(host, fresh)| Register { host, fresh }),
        2 => (host.clone(), pick(), prop::option::of(0..9u32))
            .prop_map(|(host, lease, running)| Renew { host, lease, running }),
        2 => (host.clone(), pick()).prop_map(|(host, lease)| Leave { host, lease }),
        1 => Just(Hosts),
        6 => (
            agent.clone(),
            host.clone(),
            pick(),
            prop::option::weighted(0.3, pick()),
            prop::option::weighted(0.3, pick()),
        )
            .prop_map(|(agent, host, lease, replaces, held)| Claim { agent, host, lease, replaces, held }),
        3 => (agent.clone(), host.clone(), pick())
            .prop_map(|(agent, host, lease)| Accept { agent, host, lease }),
        3 => (agent.clone(), host.clone(), pick(), pick())
            .prop_map(|(agent, host, lease, epoch)| Adopt { agent, host, lease, epoch }),
        2 => (agent.clone(), pick()).prop_map(|(agent, epoch)| HandOver { agent, epoch }),
        1 => (agent.clone(), pick()).prop_map(|(agent, epoch)| Launch { agent, epoch }),
        1 => Just(Orphans),
        2 => (agent.clone(), pick(), host.clone())
            .prop_map(|(agent, epoch, host)| Reassert { agent, epoch, host }),
        4 => (agent.clone(), pick(), state())
            .prop_map(|(agent, epoch, state)| Update { agent, epoch, state }),
        2 => (agent.clone(), pick()).prop_map(|(agent, epoch)| Release { agent, epoch }),
        1 => agent.clone().prop_map(|agent| Agent { agent }),
        1 => agent.prop_map(|agent| Guild { agent }),
        1 => host.prop_map(|host| Ticket { host }),
    ]
}

/// What was handed out so far, from which steps pick.
#[derive(Default)]
struct Past {
    leases: [Vec<LeaseId>; HOSTS],
    epochs: [Vec<Epoch>; AGENTS],
    steps: u32,
}

fn choose<T: Clone>(from: &[T], pick: Pick, unknown: T) -> T {
    let found = match pick {
        Pick::Newest => from.last(),
        Pick::Older(back) => from.iter().rev().nth(back),
        Pick::Unknown => None,
    };
    found.cloned().unwrap_or(unknown)
}

impl Past {
    fn lease(&self, host: usize, pick: Pick) -> LeaseId {
        choose(&self.leases[host], pick, lease(&format!("unknown-{host}")))
    }

    fn epoch(&self, agent: usize, pick: Pick) -> Epoch {
        choose(&self.epochs[agent], pick, Epoch(7777))
    }

    /// What a host held last. An unknown one is higher than any clock says, for there
    /// Redis begins when it lost what it gave out.
    fn held(&self, agent: usize, pick: Pick) -> Epoch {
        choose(&self.epochs[agent], pick, Epoch(4_000_000_000_000_000))
    }
}

fn agent_key(agent: usize) -> AgentKey {
    key(KEYS[agent].0, KEYS[agent].1)
}

fn host_name(host: usize) -> String {
    format!("h{host}")
}

/// Answers as text, without what depends on the clock.
fn said(answer: &impl Debug) -> String {
    format!("{answer:?}")
}

/// Carries out one step; the answer, and what was handed out.
async fn step(
    registry: &dyn Registry,
    operation: &Operation,
    past: &Past,
) -> (String, Option<LeaseId>, Option<Epoch>) {
    let only = |answer: String| (answer, None, None);
    let own_agent = |agent: usize, host: usize| AgentInfo {
        // Tells one write from the next.
        restarts: past.steps,
        ..agent_on(agent, host)
    };
    match operation {
        Operation::Register { host: number, fresh } => {
            let lease = match fresh {
                true => lease(&format!("lease-{}", past.steps)),
                false => past.lease(*number, Pick::Newest),
            };
            let mut answer = registry.register(&host(&host_name(*number)), &lease, LONG).await;
            if let Ok(Registration::InUse { remaining }) = &mut answer {
                *remaining = Duration::ZERO;
            }
            let entered = matches!(answer, Ok(Registration::Registered));
            (said(&answer), entered.then_some(lease), None)
        }
        Operation::Renew { host: number, lease, running } => {
            let id = host_name(*number);
            let report = running
                .map(|running| HostInfo { load: HostLoad { running, ..HostLoad::default() }, ..host(&id) });
            let lease = past.lease(*number, *lease);
            let mut answer = registry.renew(&host_id(&id), &lease, LONG, 0, report.as_ref()).await;
            // By a clock of the registry's own, of which that in memory has none.
            if let Ok(renewed) = &mut answer {
                renewed.behind = Duration::ZERO;
            }
            only(said(&answer))
        }
        Operation::Leave { host, lease } => {
            let lease = past.lease(*host, *lease);
            only(said(&registry.leave(&host_id(&host_name(*host)), &lease).await))
        }
        Operation::Hosts => {
            let mut answer = registry.hosts().await;
            for host in answer.iter_mut().flatten() {
                host.heartbeat_age = Duration::ZERO;
            }
            only(said(&answer))
        }
        Operation::Claim { agent, host, lease, replaces, held } => {
            let replaces = replaces.map(|replaces| past.epoch(*agent, replaces));
            let held = held.map_or(Epoch(0), |held| past.held(*agent, held));
            let claim = AgentInfo { epoch: held, ..own_agent(*agent, *host) };
            let answer = registry.claim(&claim, &past.lease(*host, *lease), replaces).await;
            (said(&answer), None, claimed(&answer))
        }
        Operation::Accept { agent, host, lease } => {
            let (info, lease) = (own_agent(*agent, *host), past.lease(*host, *lease));
            let launch = launch(&info.key, &format!("{{\"step\": {}}}", past.steps));
            let answer = registry.accept(&info, &lease, &launch).await;
            (said(&answer), None, claimed(&answer))
        }
        Operation::Adopt { agent, host, lease, epoch } => {
            let (info, lease) = (own_agent(*agent, *host), past.lease(*host, *lease));
            let answer = registry.adopt(&info, &lease, past.epoch(*agent, *epoch)).await;
            (said(&answer), None, claimed(&answer))
        }
        Operation::HandOver { agent, epoch } => {
            let epoch = past.epoch(*agent, *epoch);
            let waiting = AgentInfo { epoch, state: AgentState::Waiting, ..own_agent(*agent, 0) };
            only(said(&registry.hand_over(&waiting).await))
        }
        Operation::Launch { agent, epoch } => {
            let found = registry.launch(&agent_key(*agent), past.epoch(*agent, *epoch)).await.unwrap();
            only(said(&found.map(|launch| launch.guild_spec.as_str().to_owned())))
        }
        Operation::Orphans => {
            let mut orphans = registry.orphans().await.unwrap();
            orphans.sort_by(|a, b| a.agent.key.cmp(&b.agent.key));
            only(said(&orphans))
        }
        Operation::Reassert { agent, epoch, host } => {
            let lease = past.lease(*host, Pick::Newest);
            let epoch = past.epoch(*agent, *epoch);
            only(said(&registry.reassert(&agent_key(*agent), epoch, &lease).await))
        }
        Operation::Update { agent, epoch, state } => {
            let epoch = past.epoch(*agent, *epoch);
            // Its host stays the one that claimed it last, as far as it matters here.
            only(said(&registry.update(&AgentInfo { epoch, state: *state, ..own_agent(*agent, 0) }).await))
        }
        Operation::Release { agent, epoch } => {
            only(said(&registry.release(&agent_key(*agent), past.epoch(*agent, *epoch)).await))
        }
        Operation::Agent { agent } => only(said(&registry.agent(&agent_key(*agent)).await)),
        Operation::Guild { agent } => only(said(&registry.agents_in_guild(&agent_key(*agent).guild).await)),
        Operation::Ticket { host } => only(said(&registry.ticket(&host_name(*host)).await)),
    }
}

fn claimed(answer: &Result<ClaimOutcome, RegistryError>) -> Option<Epoch> {
    match answer {
        Ok(ClaimOutcome::Claimed(epoch)) => Some(*epoch),
        _ => None,
    }
}

fn agent_on(agent_number: usize, host: usize) -> AgentInfo {
    agent(&agent_key(agent_number), &host_name(host))
}

/// All that watchers of one backend are told, up to a last claim and registration.
struct Watchers {
    hosts: BoxStream<'static, HostEvent>,
    guilds: [BoxStream<'static, AgentEvent>; 2],
    told: Vec<String>,
}

impl Watchers {
    async fn begin(registry: &dyn Registry) -> Self {
        let guilds = ["g1", "g2"].map(|guild| registry.watch_guild(&guild_id(guild)));
        let mut watchers = Self { hosts: registry.watch_hosts(), guilds, told: Vec::new() };
        watchers.told.push(said(&next(&mut watchers.hosts).await));
        for guild in &mut watchers.guilds {
            watchers.told.push(said(&next(guild).await));
        }
        watchers
    }

    async fn end(mut self, registry: &dyn Registry) -> Vec<String> {
        register(registry, "last", &lease("last")).await;
        loop {
            let mut event = next(&mut self.hosts).await;
            if let HostEvent::Changed(host) = &mut event {
                host.heartbeat_age = Duration::ZERO;
            }
            self.told.push(said(&event));
            if matches!(event, HostEvent::Changed(host) if host.lease == lease("last")) {
                break;
            }
        }
        for (watch, guild) in self.guilds.iter_mut().zip(["g1", "g2"]) {
            let last = key(guild, "last");
            registry.claim(&agent(&last, "last"), &lease("last"), None).await.unwrap();
            loop {
                let event = next(watch).await;
                self.told.push(said(&event));
                if matches!(event, AgentEvent::Changed(agent) if agent.key == last) {
                    break;
                }
            }
        }
        self.told
    }
}

/// A registry in Redis whose epochs begin at 1, as those in memory do.
async fn counting_from_zero() -> RedisRegistry {
    let options = backends::fresh_options();
    let registry = backends::connect(&backends::SHARED, &options).await;
    for guild in ["g1", "g2"] {
        let epochs = format!("{}:{{g:{guild}}}:epochs", options.prefix);
        let zero = [("since", 0), ("last", 0)];
        let () = registry.connection().await.unwrap().hset_multiple(epochs, &zero).await.unwrap();
        // Also agents that were claimed without a launch are looked for.
        let guilds = format!("{}:{{hosts}}:guilds", options.prefix);
        let now = u32::MAX;
        let () =
            registry.connection().await.unwrap().zadd(guilds, guild, u64::from(now) * 1000).await.unwrap();
    }
    registry
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_redis_give_the_same_answers(history in prop::collection::vec(operation(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let [memory, _] = backends::memory();
            let redis: Arc<dyn Registry> = Arc::new(counting_from_zero().await);
            let watching = [Watchers::begin(&*memory).await, Watchers::begin(&*redis).await];
            let mut past = Past::default();
            for operation in &history {
                past.steps += 1;
                let (wanted, lease, epoch) = step(&*memory, operation, &past).await;
                let (got, ..) = step(&*redis, operation, &past).await;
                prop_assert_eq!(wanted, got, "at step {} {:?}", past.steps, operation);
                if let (Operation::Register { host, .. }, Some(lease)) = (operation, lease) {
                    past.leases[*host].push(lease);
                }
                if let (
                    Operation::Claim { agent, .. } | Operation::Accept { agent, .. } | Operation::Adopt { agent, .. },
                    Some(epoch),
                ) = (operation, epoch)
                {
                    past.epochs[*agent].push(epoch);
                }
            }
            let [in_memory, in_redis] = watching;
            prop_assert_eq!(in_memory.end(&*memory).await, in_redis.end(&*redis).await);
            Ok(())
        })?;
    }
}
