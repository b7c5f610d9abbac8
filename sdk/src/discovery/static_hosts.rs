//! A fixed list of addresses, each asked for its health again and again.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream, stream::BoxStream};
use guildhall_proto::v1::{HealthRequest, agent_host_service_client::AgentHostServiceClient};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tonic::transport::{Channel, Endpoint};
use tracing::{debug, warn};

use super::Discovery;
use crate::{
    host::{HostEvent, LeaseId, LiveHost},
    ids::HostId,
    wire,
};

/// How often each host is asked, unless told otherwise.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);

/// Rounds that a host must miss before it counts as gone: a busy machine may be late
/// once, and an agent whose host is not asked seems not to be there.
const GONE_AFTER: u32 = 3;

/// How long a host may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A fleet that is a fixed list of addresses and needs no registry.
#[derive(Clone, Debug)]
pub struct StaticDiscovery {
    endpoints: Vec<Endpoint>,
    every: Duration,
}

/// An address that is not one.
#[derive(Debug, thiserror::Error)]
#[error("{address:?} is not the address of a host, such as http://10.0.0.7:50051: {source}")]
pub struct InvalidEndpoint {
    /// The offending address.
    pub address: String,
    /// What is wrong with it.
    #[source]
    pub source: tonic::transport::Error,
}

impl StaticDiscovery {
    /// The hosts at these addresses, such as `http://10.0.0.7:50051`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] names the address that is not one.
    pub fn new<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, InvalidEndpoint> {
        let endpoints = addresses
            .into_iter()
            .map(|address| {
                let address = address.as_ref().to_owned();
                let endpoint = Endpoint::from_shared(address.clone());
                endpoint
                    .map(|endpoint| endpoint.connect_timeout(ANSWER_WITHIN))
                    .map_err(|source| InvalidEndpoint { address, source })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { endpoints, every: DEFAULT_INTERVAL })
    }

    /// Asks each host this often instead of every 2 s.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval.max(Duration::from_millis(1));
        self
    }
}

impl Discovery for StaticDiscovery {
    fn watch(&self) -> BoxStream<'static, HostEvent> {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let poll = Poll {
            channels: self.endpoints.iter().map(|e| (e.uri().to_string(), e.connect_lazy())).collect(),
            ticks,
            known: None,
            events: VecDeque::new(),
        };
        stream::unfold(poll, |mut poll| async move {
            let event = poll.next().await;
            Some((event, poll))
        })
        .boxed()
    }
}

/// One watcher's rounds of questions.
struct Poll {
    channels: Vec<(String, Channel)>,
    ticks: Interval,
    /// The hosts there are, by address, and how many rounds each has missed since it
    /// last answered; none before the first round.
    known: Option<HashMap<String, (HostId, u32)>>,
    events: VecDeque<HostEvent>,
}

impl Poll {
    async fn next(&mut self) -> HostEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            self.ticks.tick().await;
            self.round().await;
        }
    }

    async fn round(&mut self) {
        let answers = join_all(self.channels.iter().map(|(address, channel)| ask(address, channel))).await;
        let alive: Vec<_> = answers.into_iter().flatten().collect();
        let mut now: HashMap<_, _> =
            alive.iter().map(|(address, host)| (address.clone(), (host.info.id.clone(), 0))).collect();
        let Some(before) = self.known.take() else {
            self.events.push_back(HostEvent::Snapshot(alive.into_iter().map(|(_, host)| host).collect()));
            self.known = Some(now);
            return;
        };
        for (address, (id, missed)) in before {
            if now.values().any(|(here, _)| *here == id) {
                continue;
            }
            if missed + 1 < GONE_AFTER && !now.contains_key(&address) {
                now.insert(address, (id, missed + 1));
            } else {
                self.events.push_back(HostEvent::Removed(id));
            }
        }
        self.events.extend(alive.into_iter().map(|(_, host)| HostEvent::Changed(host)));
        self.known = Some(now);
    }
}

async fn ask(address: &str, channel: &Channel) -> Option<(String, LiveHost)> {
    let mut client = AgentHostServiceClient::new(channel.clone());
    let health = match timeout(ANSWER_WITHIN, client.health(HealthRequest {})).await {
        Ok(Ok(health)) => health.into_inner(),
        Ok(Err(status)) => {
            debug!(address, %status, "host does not answer");
            return None;
        }
        Err(_) => {
            debug!(address, "host does not answer in time");
            return None;
        }
    };
    match wire::host_from_wire(health) {
        Ok(mut info) => {
            // The list is what the operator said; what a host believes of its own
            // address may not hold from here.
            info.endpoint = address.to_owned();
            let host = LiveHost { info, lease: LeaseId::default(), heartbeat_age: Duration::ZERO };
            Some((address.to_owned(), host))
        }
        Err(error) => {
            warn!(address, %error, "host sends a health answer that makes no sense");
            None
        }
    }
}
