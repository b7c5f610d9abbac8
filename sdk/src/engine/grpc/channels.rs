//! One pooled connection a host, made when first needed and closed when the host
//! goes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use guildhall_proto::v1::{
    agent_host_service_client::AgentHostServiceClient, peer_service_client::PeerServiceClient,
};
use tonic::transport::Channel;

use crate::{fault::Fault, host::HostInfo, ids::HostId, launch::MAX_LAUNCH_BYTES, transport::Dialer};

/// How long a connection attempt may take before the host counts as unreachable.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// How often an idle connection is probed, and how long an answer may take: a host
/// that vanished without a word is noticed after their sum.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(5);

pub(super) type Client = AgentHostServiceClient<Channel>;

#[derive(Debug, Default)]
pub(super) struct Channels {
    dialer: Dialer,
    by_host: Mutex<HashMap<HostId, (String, Channel)>>,
}

impl Channels {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self { dialer, ..Self::default() }
    }

    /// A client for the host. Connects in the background, so this never waits.
    ///
    /// # Errors
    /// A fault when the host's endpoint is not an address.
    pub(super) fn client(&self, host: &HostInfo) -> Result<Client, Fault> {
        Ok(Client::new(self.channel(host)?).max_encoding_message_size(MAX_LAUNCH_BYTES))
    }

    /// Like [`client`](Self::client), for what hosts ask of each other.
    pub(super) fn peer(&self, host: &HostInfo) -> Result<PeerServiceClient<Channel>, Fault> {
        Ok(PeerServiceClient::new(self.channel(host)?))
    }

    fn channel(&self, host: &HostInfo) -> Result<Channel, Fault> {
        let mut by_host = self.lock();
        let channel = match by_host.get(&host.id) {
            Some((endpoint, channel)) if *endpoint == host.endpoint => channel.clone(),
            _ => {
                let channel = self.open(&host.endpoint)?;
                by_host.insert(host.id.clone(), (host.endpoint.clone(), channel.clone()));
                channel
            }
        };
        Ok(channel)
    }

    fn open(&self, endpoint: &str) -> Result<Channel, Fault> {
        self.dialer.channel(endpoint, CONNECT_WITHIN, |endpoint| {
            endpoint
                .http2_keep_alive_interval(KEEPALIVE_EVERY)
                .keep_alive_timeout(KEEPALIVE_WITHIN)
                .keep_alive_while_idle(true)
        })
    }

    /// Forgets the host's connection; calls under way end by themselves.
    pub(super) fn close(&self, host: &HostId) {
        self.lock().remove(host);
    }

    /// Forgets all connections.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<HostId, (String, Channel)>> {
        self.by_host.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
