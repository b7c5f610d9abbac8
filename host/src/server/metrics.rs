//! What Prometheus is told, and the autoscaler by it: a few gauges, read when they are asked
//! for.

use std::fmt;

use axum::{Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::gauge::ConstGauge,
    registry::Registry,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::supervisor::Supervisor;

/// The form of the answer.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the figures come from.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) supervisor: Supervisor,
    pub(crate) lease_in_force: watch::Receiver<bool>,
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.supervisor.counts();
        let figures = [
            ("agents", "Agents that take a place", i64::from(counts.running)),
            ("agents_capacity", "Agents that the host takes at most", i64::from(counts.capacity)),
            ("starts_in_flight", "Agents that are not ready yet", i64::from(counts.starts_in_flight)),
            ("cordoned", "Whether new agents are refused", i64::from(self.supervisor.is_cordoned())),
            ("lease_in_force", "Whether the lease is in force", i64::from(*self.lease_in_force.borrow())),
        ];
        for (name, help, value) in figures {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// Serves `/metrics` until it is told to end.
pub(crate) async fn serve(listener: TcpListener, metrics: Metrics, ending: CancellationToken) {
    let router = Router::new().route("/metrics", get(told)).with_state(metrics);
    let serving = axum::serve(listener, router).with_graceful_shutdown(ending.cancelled_owned());
    if let Err(error) = serving.await {
        error!(%error, "metrics are not served any more");
    }
}

async fn told(State(metrics): State<Metrics>) -> impl IntoResponse {
    let mut registry = Registry::with_prefix("guildhall");
    registry.register_collector(Box::new(metrics));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    ([(CONTENT_TYPE, TEXT)], text)
}
