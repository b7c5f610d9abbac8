//! What `run_agent` costs beside the start of the process.
//!
//! Agents are started one at a time on a host embedded here, with Redis for its
//! registry, and the product's own spans are recorded. A launch is
//!
//! ```text
//! run_agent
//! ├── place           the policy; round-robin first draws a ticket:   1 call to Redis
//! └── create          the call of the host:                           1 gRPC call
//!     ├── take_claim  the identity, under a new epoch:                1 call to Redis
//!     ├── start_process   from before the fork until READY=1
//!     └── record      its state `running`, before anybody is told:    1 call to Redis
//! ```
//!
//! The overhead is `run_agent` less `start_process`, for each launch. It is counted in
//! round trips, and *one round trip* is the p50 of a bare gRPC call to the same host
//! (`GetAgentInfo` on a connection of its own), made after each launch: what any way
//! to ask a host for anything costs at least. Beside that stands what the calls of a
//! launch would cost bare: one such call, and a GET for each of the three to Redis.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use guildhall::{
    engine::ExecutionEngine,
    ids::AgentKey,
    registry::{RedisOptions, RedisRegistry},
};
use guildhall_host::{
    Fleet,
    runner::{Runner, RunnerTable, Template},
};
use guildhall_proto::v1::{GetAgentInfoRequest, agent_host_service_client::AgentHostServiceClient};
use guildhall_testing::RedisServer;
use tonic::transport::Channel;
use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{report::Row, spans::Spans, stats::Sample, workload};

const LAUNCHES: usize = 400;

/// Launches before any counts.
const WARM_UP: usize = 20;

/// What the overhead should be below, in round trips.
const ROUND_TRIPS: f64 = 3.0;

/// The overhead, what it is made of, and what it is counted in.
///
/// Installs the subscriber of the whole program, so no other figure should be taken
/// after this one.
pub(crate) async fn take() -> Result<Vec<Row>> {
    let spans = Spans::default();
    tracing_subscriber::registry().with(spans.clone().with_filter(LevelFilter::DEBUG)).try_init()?;

    let server = RedisServer::start()?;
    let registry = RedisRegistry::connect(&server.url(), RedisOptions::default()).await?;
    let sockets = tempfile::Builder::new().prefix("guildhall-bench-").tempdir()?;
    let mut runner = Runner::new("echo", echo_runner::binary()?);
    runner
        .env
        .insert(echo_runner::DIR_VARIABLE.to_owned(), Template::parse(&sockets.path().to_string_lossy())?);
    let fleet = Fleet::builder(RunnerTable::from_iter([runner]))
        .hosts(1)
        .registry(Arc::new(registry.clone()))
        .start()
        .await?;
    let engine = fleet.engine().build().await?;
    engine.wait_for_hosts(1, Duration::from_secs(10)).await?;
    let mut client = AgentHostServiceClient::connect(fleet.hosts()[0].endpoint()).await?;
    let mut connection = registry.connection().await?;
    redis::cmd("SET").arg("bare").arg("x").exec_async(&mut connection).await?;

    let mut parts = Parts::default();
    for (at, launch) in workload::launches("run", WARM_UP + LAUNCHES)?.into_iter().enumerate() {
        if at == WARM_UP {
            parts = Parts::default();
        }
        let key = launch.key.clone();
        spans.take();
        engine.run_agent(launch).await?;
        parts.add_launch(&spans.take())?;
        parts.grpc.push(call(&mut client, &key).await?);
        let begun = Instant::now();
        let _: String = redis::cmd("GET").arg("bare").query_async(&mut connection).await?;
        parts.redis.push(begun.elapsed());
        engine.stop_agent(&key).await?;
    }
    engine.shutdown().await;
    fleet.stop().await;
    Ok(parts.rows())
}

/// A bare call of the host.
async fn call(client: &mut AgentHostServiceClient<Channel>, key: &AgentKey) -> Result<Duration> {
    let request = GetAgentInfoRequest { guild_id: key.guild.to_string(), agent_id: key.agent.to_string() };
    let begun = Instant::now();
    client.get_agent_info(request).await?;
    Ok(begun.elapsed())
}

#[derive(Default)]
struct Parts {
    total: Sample,
    start_process: Sample,
    overhead: Sample,
    place: Sample,
    take_claim: Sample,
    record: Sample,
    /// Of `create`, what is none of the spans within: the call itself, and the way
    /// from it to the agent's task and back.
    rest_of_create: Sample,
    /// A bare gRPC call, and a bare GET.
    grpc: Sample,
    redis: Sample,
}

impl Parts {
    fn add_launch(&mut self, spans: &HashMap<&'static str, Duration>) -> Result<()> {
        let span = |name| spans.get(name).copied().with_context(|| format!("there was no span {name}"));
        let (total, place, create) = (span("run_agent")?, span("place")?, span("create")?);
        let (claim, start, record) = (span("take_claim")?, span("start_process")?, span("record")?);
        self.total.push(total);
        self.start_process.push(start);
        self.overhead.push(total.saturating_sub(start));
        self.place.push(place);
        self.take_claim.push(claim);
        self.record.push(record);
        self.rest_of_create.push(create.saturating_sub(claim + start + record));
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let us =
            |name: &str, sample: &Sample| Row::new(format!("run_agent: {name}, p50"), sample.p50_us(), "µs");
        let bare = self.grpc.p50_us() + 3.0 * self.redis.p50_us();
        let round_trips = self.overhead.p50_us() / self.grpc.p50_us();
        vec![
            us("whole", &self.total),
            us("start of the process", &self.start_process),
            us("overhead", &self.overhead),
            us("overhead: place, with its ticket", &self.place),
            us("overhead: claim", &self.take_claim),
            us("overhead: record", &self.record),
            us("overhead: gRPC and the rest of create", &self.rest_of_create),
            us("a bare gRPC call", &self.grpc),
            us("a bare GET", &self.redis),
            Row::new("run_agent: overhead in bare gRPC calls", round_trips, "round trips").below(ROUND_TRIPS),
            Row::new("run_agent: overhead / its own calls made bare", self.overhead.p50_us() / bare, "ratio"),
        ]
    }
}
