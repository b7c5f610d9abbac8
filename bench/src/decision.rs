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
    placement::{BuiltIn, Candidate, CompiledCache, FleetChange, PlacementRequest, PlacementService, Policy},
};
use guildhall_policy::{self as kit, Live};
use guildhall_policy_least_loaded::LeastLoaded;
use guildhall_policy_round_robin::RoundRobin;

use crate::{
    report::Row,
    stats::{Rounds, in_turns},
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
        let measured = measure::<LeastLoaded>(BuiltIn::LeastLoaded, hosts).await?;
        rows.extend(report(BuiltIn::LeastLoaded, hosts, &measured));
    }
    for hosts in FLEETS {
        let measured = measure::<RoundRobin>(BuiltIn::RoundRobin, hosts).await?;
        rows.extend(report(BuiltIn::RoundRobin, hosts, &measured));
    }
    Ok(rows)
}

fn report(policy: BuiltIn, hosts: usize, measured: &Rounds) -> [Row; 3] {
    let name = format!("decision: {}, {hosts} hosts", policy.name());
    let wasm = Row::new(format!("{name}, wasm"), measured.a(), "µs");
    let native = measured.b();
    // Aimed at where the scan dominates; elsewhere the crossing does.
    let wasm = if policy == BuiltIn::LeastLoaded && Some(&hosts) == FLEETS.last() {
        let limit = 1.5 * native + CROSSING_US;
        wasm.goal(format!("≤ 1.5 × native + {CROSSING_US} µs = {limit:.3}"), measured.a() <= limit)
    } else {
        wasm
    };
    [
        wasm,
        Row::new(format!("{name}, native"), native, "µs"),
        Row::new(format!("{name}, wasm / native"), measured.ratio(), "ratio"),
    ]
}

/// Microseconds a decision takes, wasm and native.
async fn measure<P: kit::Policy>(policy: BuiltIn, hosts: usize) -> Result<Rounds> {
    let policy = Policy::load(&policy.into(), &CompiledCache::default())?;
    let service = PlacementService::new(policy, &serde_json::Value::Null, Default::default())?;
    let mut native = Live::<P>::configure("{}")?;
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
    let mut theirs = Candidate::new(HostId::new(&id)?, CAPACITY);
    theirs.load.cpu_fraction = cpu_fraction;
    theirs.load.memory_used = memory_used;
    theirs.load.memory_total = memory_total;
    let mut ours = kit::Candidate::new(id, CAPACITY);
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
    theirs.name = ours.name.clone();
    theirs.class_name = ours.class_name.clone();
    theirs.ticket = ours.ticket;
    Ok((theirs, ours))
}
