//! A host with many agents is drained: by SIGTERM, and by a call.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::TryStreamExt;
use guildhall_proto::v1::DrainRequest;
use rustix::process::Signal;

use super::{
    fleet::{Fleet, Terms, until},
    lives::{Lives, begun_elsewhere},
};
use crate::report::Row;

const HOSTS: usize = 5;
const AGENTS: usize = 100;

/// How long the drain may take, and how long an agent may be down, seconds.
const DRAIN: f64 = 10.0;
const DOWN: f64 = 2.0;

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn take() -> Result<Vec<Row>> {
    let mut rows = drained("SIGTERM", async |fleet: &mut Fleet| {
        fleet.signal(0, Signal::TERM)?;
        let status = fleet.wait(0).await?;
        ensure!(status.success(), "the host ended with {status}");
        Ok(())
    })
    .await?;
    rows.extend(
        drained("Drain call", async |fleet: &mut Fleet| {
            let steps = fleet.client("h1").await?.drain(DrainRequest::default()).await?.into_inner();
            let steps: Vec<_> = steps.try_collect().await?;
            let last = steps.last().copied().unwrap_or_default();
            ensure!(last.done && last.moved as usize == AGENTS, "the last word of the drain is {last:?}");
            Ok(())
        })
        .await?,
    );
    Ok(rows)
}

async fn drained(how: &str, drain: impl AsyncFnOnce(&mut Fleet) -> Result<()>) -> Result<Vec<Row>> {
    let terms = Terms {
        hosts: HOSTS,
        lease: Duration::from_secs(10),
        capacity: AGENTS,
        testify_every: Some(Duration::from_millis(5)),
    };
    let mut fleet = Fleet::start(terms).await?;
    fleet.run_on("h1", AGENTS).await?;
    let begun = Instant::now();
    drain(&mut fleet).await?;
    let took = begun.elapsed().as_secs_f64();
    let dir = fleet.witness();
    until("all agents run elsewhere", LIMIT, || Ok(begun_elsewhere(&dir, "h1")? >= AGENTS)).await?;
    let lives = Lives::read(&dir)?;
    ensure!(lives.left("h1").count() == AGENTS, "not all agents run elsewhere");
    let down = lives.downtimes("h1");
    let name = format!("drain: {AGENTS} agents, {how}");
    Ok(vec![
        Row::new(format!("{name}, all"), took, "s").below(DRAIN),
        Row::new(format!("{name}, agent down, p50"), down.p50_us() / 1e6, "s"),
        Row::new(format!("{name}, agent down, p99"), down.p99_us() / 1e6, "s").below(DOWN),
        Row::new(format!("{name}, ran twice"), lives.doubled() as f64, "agents").at_most(0.0),
    ])
}
