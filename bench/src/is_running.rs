//! `is_agent_running` against a bare GET on the same connection.
//!
//! Both are asked one after the other, thousands of times. The GET's key holds as
//! many bytes as the agent's entry, so that Redis answers both with the same; what
//! the engine adds is to read the record and to judge its host's lease.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use guildhall::{
    engine::{ExecutionEngine, GrpcEngine},
    registry::{RedisOptions, RedisRegistry},
};
use guildhall_testing::RedisServer;

use crate::{record, report::Row, stats::Sample};

const CALLS: usize = 20_000;

/// Calls before any counts.
const WARM_UP: usize = 1_000;

/// Times of both, and their ratios.
pub(crate) async fn take() -> Result<Vec<Row>> {
    let server = RedisServer::start()?;
    let registry = RedisRegistry::connect(&server.url(), RedisOptions::default()).await?;
    let recorded = record::host(&registry, 1).await?;
    let key = &recorded.agents[0];
    let engine = GrpcEngine::builder().registry(Arc::new(registry.clone())).build().await?;
    engine.wait_for_hosts(1, Duration::from_secs(10)).await?;

    let mut connection = registry.connection().await?;
    let entries = format!("guildhall:{{g:{}}}:agents", key.guild);
    let bytes: usize =
        redis::cmd("HSTRLEN").arg(entries).arg(key.agent.as_str()).query_async(&mut connection).await?;
    ensure!(bytes > 0, "the agent's entry is not where the schema says");
    redis::cmd("SET").arg("bare").arg("x".repeat(bytes)).exec_async(&mut connection).await?;
    let get = redis::cmd("GET").arg("bare").take();

    let (mut asked, mut got) = (Sample::default(), Sample::default());
    for call in 0..WARM_UP + CALLS {
        let begun = Instant::now();
        let running = engine.is_agent_running(key).await?;
        let asking = begun.elapsed();

        let begun = Instant::now();
        let value: String = get.query_async(&mut connection).await?;
        let getting = begun.elapsed();

        ensure!(running && value.len() == bytes);
        if call >= WARM_UP {
            asked.push(asking);
            got.push(getting);
        }
    }
    engine.shutdown().await;
    Ok(vec![
        Row::new("is_agent_running: p50", asked.p50_us(), "µs"),
        Row::new("is_agent_running: p99", asked.p99_us(), "µs"),
        Row::new("is_agent_running: bare GET, p50", got.p50_us(), "µs"),
        Row::new("is_agent_running: bare GET, p99", got.p99_us(), "µs"),
        Row::new("is_agent_running: value of either", bytes as f64, "bytes"),
        Row::new("is_agent_running: / bare GET, p50", asked.p50_us() / got.p50_us(), "ratio").at_most(2.0),
        Row::new("is_agent_running: / bare GET, p99", asked.p99_us() / got.p99_us(), "ratio").at_most(2.0),
    ])
}
