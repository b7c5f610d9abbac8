//! Decisions while something else goes on: another thread decides too, or the policy is
//! replaced again and again.
//!
//! Every decision is timed by itself. The quiet and the busy stretches come in turns, so
//! that a busy machine slows both.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use guildhall::placement::{BuiltIn, CompiledCache, FleetChange, PlacementRequest, PlacementService, Policy};

use crate::{decision, report::Row, stats::Sample};

/// Hosts in the fleet.
const HOSTS: usize = 1_000;

const ROUNDS: usize = 21;

/// How long a stretch lasts.
const STRETCH: Duration = Duration::from_millis(200);

pub(crate) async fn take() -> Result<Vec<Row>> {
    let policy = Policy::load(&BuiltIn::LeastLoaded.into(), &CompiledCache::default())?;
    let service = PlacementService::new(policy.clone(), &serde_json::Value::Null, Default::default())?;
    for at in 0..HOSTS {
        service.observe([FleetChange::Upsert(decision::candidate(at)?.0)]);
    }
    let requests: Vec<_> = (0..500).map(|at| Ok(decision::request(at)?.0)).collect::<Result<_>>()?;
    let mut rows = vec![by_two_threads(&service, &requests)?];
    rows.extend(while_replaced(&service, &policy, &requests)?);
    Ok(rows)
}

/// Decisions a second by two threads that share a service.
fn by_two_threads(service: &PlacementService, requests: &[PlacementRequest]) -> Result<Row> {
    let mut stretches = Sample::default();
    for _ in 0..ROUNDS {
        let (start, made) = (Barrier::new(2), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    let begun = Instant::now();
                    let mut mine = 0;
                    while begun.elapsed() < STRETCH {
                        mine += requests.iter().filter(|request| service.place(request).is_ok()).count();
                    }
                    made.fetch_add(mine as u64, Ordering::Relaxed);
                });
            }
        });
        stretches.push(STRETCH / u32::try_from(made.into_inner())?.max(1));
    }
    let rate = 1e6 / stretches.p50_us();
    Ok(Row::new(format!("decision: 2 threads, {HOSTS} hosts"), rate, "1/s").at_least(100_000.0))
}

/// How slow decisions get while the policy is replaced without a pause, against a thread
/// that is as busy and touches nothing of the service.
fn while_replaced(
    service: &PlacementService,
    policy: &Policy,
    requests: &[PlacementRequest],
) -> Result<[Row; 4]> {
    let replace = || service.replace(policy.clone(), &serde_json::Value::Null).map_err(Into::into);
    let spin = || {
        black_box((0..100_000).fold(0_u64, |sum, n| black_box(sum ^ n)));
        Ok(())
    };
    let (mut quiet, mut busy, mut replaced) = (Sample::default(), Sample::default(), 0);
    for _ in 0..ROUNDS {
        beside(spin, || decide(service, requests, &mut quiet))?;
        replaced += beside(replace, || decide(service, requests, &mut busy))?;
    }
    let (quiet_p99, quiet_max) = (quiet.p99_us(), quiet.percentile_us(100.0));
    let (busy_p99, busy_max) = (busy.p99_us(), busy.percentile_us(100.0));
    let seconds = (STRETCH * ROUNDS as u32).as_secs_f64();
    let name = "reload: policy replaced without a pause";
    Ok([
        Row::new(format!("{name}, times"), f64::from(replaced) / seconds, "1/s"),
        Row::new(format!("{name}, decision p99 / without"), busy_p99 / quiet_p99, "ratio"),
        Row::new(format!("{name}, slowest decision / p99 without"), busy_max / quiet_p99, "ratio")
            .at_most(2.0),
        Row::new("reload: none, a thread that spins, slowest decision / p99", quiet_max / quiet_p99, "ratio"),
    ])
}

/// Does `work` while another thread does `other` again and again; answers how often.
fn beside(other: impl Fn() -> Result<()> + Sync, work: impl FnOnce() -> Result<()>) -> Result<u32> {
    let ending = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut times = 0;
            while !ending.load(Ordering::Relaxed) {
                other()?;
                times += 1;
            }
            Ok::<_, anyhow::Error>(times)
        });
        let worked = work();
        ending.store(true, Ordering::Relaxed);
        let times = other.join().map_err(|_| anyhow!("the other thread panicked"))??;
        worked.map(|()| times)
    })
}

/// Decides for a stretch, and notes what each decision took.
fn decide(service: &PlacementService, requests: &[PlacementRequest], took: &mut Sample) -> Result<()> {
    let begun = Instant::now();
    for request in requests.iter().cycle() {
        let asked = Instant::now();
        service.place(request)?;
        took.push(asked.elapsed());
        if begun.elapsed() > STRETCH {
            return Ok(());
        }
    }
    Ok(())
}
