//! A decision by a stock policy as a WASM component, against the same crate compiled
//! natively.
//!
//! Both are told of the same fleet and asked the same questions in turns, a batch at
//! a time; that they give the same answers is checked. The component is asked through
//! the SDK's placement service, as an engine asks it, so its side carries the lock,
//! the bounds and the copy of the request into the policy's memory.

use std::time::Instant;

use anyhow::{Result, ensure};
use guildhall::{
    ids::{AgentId, AgentKey, GuildId, HostId},
    placement::{
        BuiltIn, Candidate, CompiledCache, FleetChange, Peer, PlacementRequest, PlacementService, Policy,
    },
    resources::Amounts,
};
use guildhall_policy::{self as kit, Live};
use guildhall_policy_affinity::Affinity;
use guildhall_policy_least_loaded::LeastLoaded;
use guildhall_policy_resource_fit::ResourceFit;
use guildhall_policy_round_robin::RoundRobin;
use serde_json::{Value, json};

use crate::{
    report::Row,
    stats::{Rounds, Sample, in_turns},
};

/// Sizes of the fleet, hosts.
const FLEETS: [usize; 4] = [10, 100, 1_000, 10_000];

/// Decisions in a batch: enough that reading the clock does not count.
const BATCH: usize = 500;

const ROUNDS: usize = 41;

/// Agents that a host takes: more than all batches place on the smallest fleet, for
/// full hosts would make the question another one.
const CAPACITY: u32 = 100_000;

/// What a call into a component may cost beside the policy's own work, µs.
const CROSSING_US: f64 = 1.0;

/// Microseconds a decision for each policy and fleet.
pub(crate) async fn take() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for hosts in FLEETS {
        rows.extend(compare::<LeastLoaded>(BuiltIn::LeastLoaded, hosts).await?);
    }
    for hosts in FLEETS {
        rows.extend(compare::<ResourceFit>(BuiltIn::ResourceFit, hosts).await?);
    }
    for hosts in FLEETS {
        rows.extend(compare::<Affinity>(BuiltIn::Affinity, hosts).await?);
    }
    for hosts in FLEETS {
        rows.extend(compare::<RoundRobin>(BuiltIn::RoundRobin, hosts).await?);
    }
    for hosts in FLEETS {
        rows.push(after_a_change::<LeastLoaded>(BuiltIn::LeastLoaded, hosts)?);
        rows.push(after_a_change::<ResourceFit>(BuiltIn::ResourceFit, hosts)?);
        rows.push(after_a_change::<Affinity>(BuiltIn::Affinity, hosts)?);
    }
    Ok(rows)
}

/// Settings with which a policy has something to do: of affinity a zone of the agent's, a
/// zone each for the agents of a guild if there is one, and an even spread.
fn settings(policy: BuiltIn) -> Value {
    match policy {
        BuiltIn::Affinity => json!({
            "hosts": [{"key": "disk", "operator": "same-as-agent"}],
            "agents": [{"kind": "anti-affinity", "of": "class", "topology": "host", "required": false}],
            "spread": [{"topology": "zone", "max_skew": 2, "of": "guild"}],
        }),
        _ => json!({}),
    }
}

async fn compare<P: kit::Policy>(policy: BuiltIn, hosts: usize) -> Result<[Row; 3]> {
    Ok(report(policy, hosts, &measure::<P>(policy, hosts).await?))
}

/// What a decision takes natively when a host has reported since the one before.
fn after_a_change<P: kit::Policy>(policy: BuiltIn, hosts: usize) -> Result<Row> {
    let mut native = Live::<P>::configure(&settings(policy).to_string())?;
    let fleet: Vec<kit::Candidate> = (0..hosts).map(|at| Ok(candidate(at)?.1)).collect::<Result<_>>()?;
    native.observe(fleet.iter().cloned().map(kit::Change::Upsert));
    let requests: Vec<_> = (0..BATCH).map(|at| Ok(request(at)?.1)).collect::<Result<_>>()?;
    let mut sample = Sample::default();
    for nth in 0..ROUNDS * BATCH {
        let reported = &fleet[nth * 7919 % hosts];
        native.observe([kit::Change::Upsert(reported.clone())]);
        let begun = Instant::now();
        std::hint::black_box(native.place(&requests[nth % BATCH])?);
        sample.push(begun.elapsed());
    }
    let row = Row::new(
        format!("decision: {}, {hosts} hosts, one changed, native", policy.name()),
        sample.p50_us(),
        "µs",
    );
    Ok(if Some(&hosts) == FLEETS.last() { row.below(5.0) } else { row })
}

fn report(policy: BuiltIn, hosts: usize, measured: &Rounds) -> [Row; 3] {
    let name = format!("decision: {}, {hosts} hosts", policy.name());
    let wasm = Row::new(format!("{name}, wasm"), measured.a(), "µs");
    let native = measured.b();
    let limit = 1.5 * native + CROSSING_US;
    let wasm = match policy {
        BuiltIn::RoundRobin => wasm,
        _ => wasm.goal(format!("≤ 1.5 × native + {CROSSING_US} µs = {limit:.3}"), measured.a() <= limit),
    };
    [
        wasm,
        Row::new(format!("{name}, native"), native, "µs"),
        Row::new(format!("{name}, wasm / native"), measured.ratio(), "ratio"),
    ]
}

/// Microseconds a decision takes, wasm and native.
async fn measure<P: kit::Policy>(policy: BuiltIn, hosts: usize) -> Result<Rounds> {
    let settings = settings(policy);
    let policy = Policy::load(&policy.into(), &CompiledCache::default())?;
    let service = PlacementService::new(policy, &settings, Default::default())?;
    let mut native = Live::<P>::configure(&settings.to_string())?;
    for at in 0..hosts {
        let (theirs, ours) = candidate(at)?;
        service.observe([FleetChange::Upsert(theirs)]);
        native.observe([kit::Change::Upsert(ours)]);
    }
    let requests: Vec<_> = (0..BATCH).map(request).collect::<Result<_>>()?;
    let (mut wasm_said, mut native_said) = (Vec::new(), Vec::new());
    let rounds = in_turns(
        ROUNDS,
        async |_| {
            wasm_said.clear();
            let begun = Instant::now();
            for (theirs, _) in &requests {
                wasm_said.push(service.place(theirs)?.host);
            }
            Ok(begun.elapsed().as_secs_f64() * 1e6 / BATCH as f64)
        },
        async |_| {
            native_said.clear();
            let begun = Instant::now();
            for (_, ours) in &requests {
                native_said.push(native.place(ours)?.host);
            }
            Ok(begun.elapsed().as_secs_f64() * 1e6 / BATCH as f64)
        },
    )
    .await?;
    let same = wasm_said.iter().map(HostId::as_str).eq(native_said.iter().map(String::as_str));
    ensure!(same, "wasm and native decide differently");
    Ok(rounds)
}

/// The same host for both: some load, which differs from its neighbours'.
pub(crate) fn candidate(at: usize) -> Result<(Candidate, kit::Candidate)> {
    let id = format!("agent-host-{at:05}");
    let cpu_fraction = (at * 7919 % 1000) as f64 / 1000.0;
    let memory_total = 32 << 30;
    let memory_used = memory_total / 1000 * (at as u64 * 104_729 % 1000);
    let labels = [("zone", format!("zone-{}", at % 3)), ("disk", ["ssd", "hdd"][at % 2].to_owned())];
    let (cpu_millis, memory) = (CAPACITY as u64 * 1000, u64::from(CAPACITY) << 30);
    let asked = at as u64 * 613 % 997 * 1000;
    let mut theirs = Candidate::new(HostId::new(&id)?, CAPACITY);
    theirs.labels = labels.clone().map(|(key, value)| (key.to_owned(), value)).into();
    theirs.allocatable = Some(Amounts { cpu_millis, memory, ..Amounts::default() });
    theirs.requested = Amounts { cpu_millis: asked, ..Amounts::default() };
    theirs.load.cpu_fraction = cpu_fraction;
    theirs.load.memory_used = memory_used;
    theirs.load.memory_total = memory_total;
    let mut ours = kit::Candidate::new(id, CAPACITY);
    ours.labels = kit::labels(labels);
    ours.allocatable = Some(kit::Resources { cpu_millis, memory, ..kit::Resources::default() });
    ours.requested = kit::Resources { cpu_millis: asked, ..kit::Resources::default() };
    ours.load.cpu_fraction = cpu_fraction;
    ours.load.memory_used = memory_used;
    ours.load.memory_total = memory_total;
    Ok((theirs, ours))
}

/// The same request for both.
pub(crate) fn request(at: usize) -> Result<(PlacementRequest, kit::Request)> {
    let (guild, agent) = (format!("guild-{}", at / 8), format!("agent-{at}"));
    let mut ours = kit::Request::new(&guild, &agent);
    ours.name = format!("Agent {at}");
    ours.class_name = "examples.echo.EchoAgent".to_owned();
    ours.ticket = Some(at as u64);
    let mut theirs = PlacementRequest::new(AgentKey::new(GuildId::new(guild)?, AgentId::new(agent)?));
    // Where the others of its guild are.
    for peer in 0..8 {
        let (agent, host) = (format!("peer-{peer}"), format!("agent-host-{:05}", peer % 10));
        theirs.peers.push(Peer {
            agent: AgentId::new(&agent)?,
            name: String::new(),
            class_name: ours.class_name.clone(),
            host: HostId::new(&host)?,
        });
        ours.peers.push(kit::Peer { agent, name: String::new(), class_name: ours.class_name.clone(), host });
    }
    ours.labels = kit::labels([("disk", "ssd")]);
    theirs.labels = [("disk".to_owned(), "ssd".to_owned())].into();
    (ours.resources.cpu_millis, ours.resources.memory) = (500, 64 << 20);
    (theirs.resources.cpu_millis, theirs.resources.memory) = (500, 64 << 20);
    theirs.name = ours.name.clone();
    theirs.class_name = ours.class_name.clone();
    theirs.ticket = ours.ticket;
    Ok((theirs, ours))
}
