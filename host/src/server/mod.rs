//! The host's gRPC server: who may connect, who may call what, and what is served beside
//! the host's own services.

mod access;
mod health;
mod listener;
pub(crate) mod metrics;
pub(crate) mod overload;
mod rate;
mod unreadable;

use std::{num::NonZeroU32, time::Duration};

use guildhall::{launch::MAX_LAUNCH_BYTES, transport::Tls};
use guildhall_proto::{
    DESCRIPTORS,
    v1::{agent_host_service_server::AgentHostServiceServer, peer_service_server::PeerServiceServer},
};
use tokio::{net::TcpListener, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    service::LayerExt,
    transport::{Error, Server},
};
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tower::util::MapResponseLayer;
use tracing::{error, info};

use governor::clock::MonotonicClock;

pub use self::access::{Role, Roles};
use self::{access::AccessLayer, rate::Rate};
pub(crate) use self::{
    access::{Caller, CallerKey},
    health::Health,
};
use crate::{peer_service::Peer, service::Service};

/// Largest request of another host, bytes: ids, leases and a policy's name.
const MAX_PEER_REQUEST_BYTES: usize = 64 * 1024;

/// Calls that one connection may have under way.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// The same, of a probe's connection.
const STREAMS_PER_PROBE: u32 = 16;

/// How long a connection may be silent before it is probed, and then to answer.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(10);

/// How long calls under way may take to end after the server was told to.
const SERVER_ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The name of the host's own service.
const SERVICE: &str = <AgentHostServiceServer<Service> as NamedService>::NAME;

/// Serves everything to those that may, until it is told to end, and then until calls under
/// way have ended.
pub(crate) fn serve(
    listener: TcpListener,
    tls: Option<(Tls, Roles)>,
    calls_a_second: Option<NonZeroU32>,
    service: Service,
    peer: Peer,
    health: Health,
    ending: CancellationToken,
) -> Result<impl Future<Output = ()>, tonic_reflection::server::Error> {
    let (tls, roles) = tls.unzip();
    let rate = calls_a_second.map(|calls| Rate::new(calls, MonotonicClock));
    let service = AgentHostServiceServer::new(service).max_decoding_message_size(MAX_LAUNCH_BYTES);
    let peer = PeerServiceServer::new(peer).max_decoding_message_size(MAX_PEER_REQUEST_BYTES);
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_WITHIN))
        .max_concurrent_streams(Some(STREAMS_PER_CONNECTION))
        .layer(AccessLayer::new(roles.unwrap_or_default(), rate))
        .add_service(health.service())
        .add_service(reflection()?)
        .add_service(peer)
        .add_service(MapResponseLayer::new(unreadable::explain).named_layer(service));
    let told = ending.clone().cancelled_owned();
    let serving = router.serve_with_incoming_shutdown(listener::incoming(listener, tls), told);
    Ok(until_ended(serving, ending))
}

/// Serves health alone, in plain text: for probes that speak nothing else.
pub(crate) async fn serve_health(listener: TcpListener, health: Health, ending: CancellationToken) {
    let told = ending.clone().cancelled_owned();
    let serving = Server::builder()
        .max_concurrent_streams(Some(STREAMS_PER_PROBE))
        .add_service(health.service())
        .serve_with_incoming_shutdown(listener::incoming(listener, None), told);
    until_ended(serving, ending).await;
}

async fn until_ended(serving: impl Future<Output = Result<(), Error>>, ending: CancellationToken) {
    let overdue = async {
        ending.cancelled().await;
        sleep(SERVER_ENDS_WITHIN).await;
    };
    tokio::select! {
        result = serving => {
            if let Err(error) = result {
                error!(%error, "the gRPC server failed");
            }
        }
        // A connection that stays open does not hold up the end for ever.
        () = overdue => info!("connections were cut"),
    }
}

fn reflection() -> Result<ServerReflectionServer<impl ServerReflection>, tonic_reflection::server::Error> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
}
