//! A host gets SIGKILL: the time until each of its agents runs elsewhere.
//!
//! Nobody may take over before the lease is over, and a kill may come at any moment of the
//! time between two renewals. So there are several rounds, whose agents are taken together.

use std::time::Duration;

use anyhow::{Result, ensure};
use echo_runner::witness;
use rustix::process::Signal;
use tokio::time::sleep;

use super::{
    fleet::{Fleet, Terms, until},
    lives::{Lives, begun_elsewhere},
};
use crate::{report::Row, stats::Sample};

const HOSTS: usize = 5;

/// The lease unless told otherwise.
const LEASE: Duration = Duration::from_secs(10);
const SHORT_LEASE: Duration = Duration::from_secs(2);

/// By how much longer than the lease it may take, seconds.
const BEYOND_LEASE: f64 = 2.0;

/// What is waited for at most.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) async fn take() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (agents, lease, rounds, goal) in
        [(100, LEASE, 3, true), (100, SHORT_LEASE, 3, true), (1_000, LEASE, 1, false)]
    {
        rows.extend(killed(agents, lease, rounds, goal).await?);
    }
    Ok(rows)
}

async fn killed(agents: usize, lease: Duration, rounds: u32, goal: bool) -> Result<Vec<Row>> {
    let (mut times, mut doubled) = (Sample::default(), 0);
    for round in 0..rounds {
        let testify_every = Some(Duration::from_millis(if agents > 100 { 50 } else { 5 }));
        let mut fleet = Fleet::start(Terms { hosts: HOSTS, lease, capacity: agents, testify_every }).await?;
        fleet.run_on("h1", agents).await?;
        // A third of a lease is between two renewals: each round has a part of it.
        sleep(lease / 3 * round / rounds).await;
        let killed_at = witness::now();
        fleet.signal(0, Signal::KILL)?;
        fleet.wait(0).await?;
        let dir = fleet.witness();
        until("all agents run elsewhere", LIMIT, || Ok(begun_elsewhere(&dir, "h1")? >= agents)).await?;
        let lives = Lives::read(&dir)?;
        let mut moved = 0;
        for (_, after) in lives.left("h1") {
            times.push(Duration::from_nanos(after.first.saturating_sub(killed_at)));
            moved += 1;
        }
        ensure!(moved == agents, "{moved} agents of {agents} run elsewhere");
        doubled += lives.doubled();
    }
    let name = format!("failover: {agents} agents, lease {} s", lease.as_secs());
    let seconds = |percent| times.percentile_us(percent) / 1e6;
    let p99 = Row::new(format!("{name}, p99"), seconds(99.0), "s");
    let limit = lease.as_secs_f64() + BEYOND_LEASE;
    Ok(vec![
        Row::new(format!("{name}, p50"), seconds(50.0), "s"),
        if goal { p99.below(limit) } else { p99 },
        Row::new(format!("{name}, slowest"), seconds(100.0), "s"),
        Row::new(format!("{name}, ran twice"), doubled as f64, "agents").at_most(0.0),
    ])
}
