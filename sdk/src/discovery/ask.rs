//! Hosts at addresses that somebody else knows of: each is asked for its health again and
//! again, and what it says of itself is the host.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream, stream::BoxStream};
use guildhall_proto::v1::{HealthRequest, agent_host_service_client::AgentHostServiceClient};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tonic::transport::Channel;
use tracing::{debug, warn};

use crate::{
    host::{HostEvent, LeaseId, LiveHost},
    ids::HostId,
    transport::Dialer,
    wire,
};

/// How often each host is asked, unless told otherwise.
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);

/// Rounds that a host must miss before it counts as gone: a busy machine may be late
/// once, and an agent whose host is not asked seems not to be there.
const GONE_AFTER: u32 = 3;

/// How long a host may take to answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What is known of a host beside what it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Labels that it does not have of its own.
    pub(super) labels: BTreeMap<String, String>,
    /// It is to get no more agents, whatever it says.
    pub(super) closed: bool,
}

/// Where hosts may be.
pub(super) type Addresses = BTreeMap<String, Facts>;

/// The hosts at these addresses, of which the last that were given count.
pub(super) fn watch(
    addresses: BoxStream<'static, Addresses>,
    dialer: Dialer,
    every: Duration,
) -> BoxStream<'static, HostEvent> {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let asking = Asking {
        addresses,
        dialer,
        ticks,
        at: None,
        channels: HashMap::new(),
        known: None,
        events: VecDeque::new(),
    };
    stream::unfold(asking, |mut asking| async move {
        let event = asking.next().await;
        Some((event, asking))
    })
    .boxed()
}

/// One watcher's rounds of questions.
struct Asking {
    addresses: BoxStream<'static, Addresses>,
    dialer: Dialer,
    ticks: Interval,
    /// Where hosts may be; `None` before anybody said so.
    at: Option<Addresses>,
    channels: HashMap<String, Channel>,
    /// The hosts there are, by address, and how many rounds each has missed since it
    /// last answered; none before the first round.
    known: Option<HashMap<String, (HostId, u32)>>,
    events: VecDeque<HostEvent>,
}

impl Asking {
    async fn next(&mut self) -> HostEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            tokio::select! {
                Some(addresses) = self.addresses.next() => self.move_to(addresses),
                _ = self.ticks.tick() => {}
            }
            self.round().await;
        }
    }

    /// Hosts at addresses that are not among them any more are gone.
    fn move_to(&mut self, addresses: Addresses) {
        self.channels.retain(|address, _| addresses.contains_key(address));
        for address in addresses.keys() {
            if self.channels.contains_key(address) {
                continue;
            }
            match self.dialer.channel(address, ANSWER_WITHIN, |endpoint| endpoint) {
                Ok(channel) => drop(self.channels.insert(address.clone(), channel)),
                Err(fault) => warn!(address, %fault, "host cannot be reached"),
            }
        }
        self.at = Some(addresses);
    }

    async fn round(&mut self) {
        let Some(at) = &self.at else { return };
        let asked = self
            .channels
            .iter()
            .map(async |(address, channel)| Some((address, ask(address, channel).await?)));
        let answers = join_all(asked).await;
        let mut alive: Vec<(&String, LiveHost)> = answers.into_iter().flatten().collect();
        // A host may be at two addresses; the first of them counts.
        alive.sort_by_key(|(address, _)| *address);
        let mut now: HashMap<String, (HostId, u32)> = HashMap::new();
        let mut hosts = Vec::new();
        for (address, mut host) in alive {
            if now.values().any(|(known, _)| *known == host.info.id) {
                continue;
            }
            if let Some(facts) = at.get(address) {
                host.info.draining |= facts.closed;
                for (key, value) in &facts.labels {
                    host.info.labels.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            now.insert(address.clone(), (host.info.id.clone(), 0));
            hosts.push(host);
        }
        let Some(before) = self.known.take() else {
            self.events.push_back(HostEvent::Snapshot(hosts));
            self.known = Some(now);
            return;
        };
        for (address, (id, missed)) in before {
            if now.values().any(|(here, _)| *here == id) {
                continue;
            }
            if at.contains_key(&address) && missed + 1 < GONE_AFTER && !now.contains_key(&address) {
                now.insert(address, (id, missed + 1));
            } else {
                self.events.push_back(HostEvent::Removed(id));
            }
        }
        self.events.extend(hosts.into_iter().map(HostEvent::Changed));
        self.known = Some(now);
    }
}

async fn ask(address: &str, channel: &Channel) -> Option<LiveHost> {
    let mut client = AgentHostServiceClient::new(channel.clone());
    let health = match timeout(ANSWER_WITHIN, client.health(HealthRequest {})).await {
        Ok(Ok(health)) => health.into_inner(),
        Ok(Err(status)) => {
            let fault = wire::fault_from_status(&status);
            debug!(address, %fault, "host does not answer");
            return None;
        }
        Err(_) => {
            debug!(address, "host does not answer in time");
            return None;
        }
    };
    match wire::host_from_wire(health) {
        Ok(mut info) => {
            // Who gave the address knows where the host is reached from here; what it
            // believes itself may not hold.
            info.endpoint = address.to_owned();
            Some(LiveHost { info, lease: LeaseId::default(), heartbeat_age: Duration::ZERO })
        }
        Err(error) => {
            warn!(address, %error, "host sends a health answer that makes no sense");
            None
        }
    }
}
