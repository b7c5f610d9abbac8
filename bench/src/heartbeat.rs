//! A heartbeat of a host with 1, 100 and 10,000 agents: it must cost the same.
//!
//! The agents are claims in Redis under the host's lease, without processes: what is
//! measured is the renewal with a load report, the one call that a heartbeat makes.
//! Each host is a fleet of its own (a prefix) in the same Redis, and they renew in
//! turns. The rule: the p50 with 10,000 agents is at most 1.2 times that with one,
//! where 0.2 is what p50s of the same thing differ by on a busy machine; and Redis
//! carries out exactly as many commands.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use guildhall::registry::{RedisOptions, RedisRegistry, Registry};
use guildhall_testing::RedisServer;

use crate::{
    record::{self, LEASE, Recorded},
    report::Row,
    stats::Sample,
};

/// Agents of each host.
const AGENTS: [usize; 3] = [1, 100, 10_000];

const RENEWALS: usize = 10_000;

/// Renewals of each host before any counts.
const WARM_UP: usize = 500;

/// Renewals over which commands are counted.
const COUNTED: u64 = 100;

/// What p50s of the same cost may differ by.
const NOISE: f64 = 1.2;

struct Beating {
    registry: RedisRegistry,
    recorded: Recorded,
    took: Sample,
}

impl Beating {
    async fn beat(&self) -> Result<()> {
        let Recorded { host, lease, .. } = &self.recorded;
        self.registry.renew(&host.id, lease, LEASE, 0, Some(host)).await?;
        Ok(())
    }

    /// Commands that Redis carries out for one renewal: calls of the host, and all
    /// with those that the call's script makes within Redis.
    async fn commands(&self) -> Result<(f64, f64)> {
        let mut connection = self.registry.connection().await?;
        redis::cmd("CONFIG").arg("RESETSTAT").exec_async(&mut connection).await?;
        for _ in 0..COUNTED {
            self.beat().await?;
        }
        let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await?;
        let (mut calls, mut all) = (0, 0);
        for line in stats.lines() {
            // cmdstat_NAME:calls=N,usec=…
            let Some((name, rest)) =
                line.strip_prefix("cmdstat_").and_then(|line| line.split_once(":calls="))
            else {
                continue;
            };
            let count: u64 = rest.split(',').next().unwrap_or_default().parse().context("commandstats")?;
            match name {
                // This function's own.
                "info" | "config|resetstat" => continue,
                "evalsha" => calls += count,
                _ => {}
            }
            all += count;
        }
        Ok((calls as f64 / COUNTED as f64, all as f64 / COUNTED as f64))
    }
}

/// The time of a renewal for each host, their ratio, and the commands it takes.
pub(crate) async fn take() -> Result<Vec<Row>> {
    let server = RedisServer::start()?;
    let mut hosts = Vec::new();
    for agents in AGENTS {
        let options = RedisOptions { prefix: format!("fleet-of-{agents}"), ..RedisOptions::default() };
        let registry = RedisRegistry::connect(&server.url(), options).await?;
        let recorded = record::host(&registry, agents).await?;
        hosts.push(Beating { registry, recorded, took: Sample::default() });
    }
    for renewal in 0..WARM_UP + RENEWALS {
        for host in &mut hosts {
            let begun = Instant::now();
            host.beat().await?;
            let took = begun.elapsed();
            if renewal >= WARM_UP {
                host.took.push(took);
            }
        }
    }
    let mut commands = Vec::new();
    for host in &hosts {
        commands.push(host.commands().await?);
    }
    let (calls, all) = commands[0];
    ensure!(commands.iter().all(|same| *same == (calls, all)), "the commands differ: {commands:?}");

    let mut rows: Vec<Row> = hosts
        .iter()
        .zip(AGENTS)
        .map(|(host, agents)| {
            Row::new(
                format!("heartbeat: {agents} agent{}, p50", if agents == 1 { "" } else { "s" }),
                host.took.p50_us(),
                "µs",
            )
        })
        .collect();
    let ratio = hosts[2].took.p50_us() / hosts[0].took.p50_us();
    rows.push(Row::new("heartbeat: 10000 agents / 1 agent, p50", ratio, "ratio").at_most(NOISE));
    rows.push(Row::new("heartbeat: calls to Redis, for any number of agents", calls, "calls").at_most(1.0));
    rows.push(Row::new("heartbeat: commands in Redis, for any number of agents", all, "commands"));
    Ok(rows)
}
