//! The forms that a Redis can have: a single one, one of several that Sentinels watch
//! over, or a Cluster. They differ in nothing but where a key is, which is a [`Map`];
//! the [`Link`](super::link::Link) asks there, and has the map drawn anew when it turns
//! out to be wrong.

mod cluster;
mod sentinel;
mod slot;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use redis::{Client, ConnectionAddr, ConnectionInfo, RedisResult};

pub(super) use self::sentinel::Sentinels;
use super::line::Line;

/// Which node serves which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Map {
    /// One node has all.
    One(Place),
    /// Each range of slots, by its first and last, is with one node.
    Slots(Arc<[(u16, u16, Place)]>),
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// Where the URL says.
    Given,
    /// At this host and port.
    At(Arc<str>, u16),
}

impl Map {
    /// The node that serves a key or a channel; `None` when nobody does.
    pub(super) fn place(&self, key: &str) -> Option<&Place> {
        match self {
            Self::One(place) => Some(place),
            Self::Slots(ranges) => {
                let slot = slot::of(key);
                ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot)).map(|range| &range.2)
            }
        }
    }

    /// Every node that serves some key.
    pub(super) fn places(&self) -> Vec<&Place> {
        match self {
            Self::One(place) => vec![place],
            Self::Slots(ranges) => {
                let mut places: Vec<_> = ranges.iter().map(|range| &range.2).collect();
                places.sort_by_key(|place| place.to_string());
                places.dedup();
                places
            }
        }
    }
}

impl Place {
    pub(super) fn at(host: &str, port: u16) -> Self {
        Self::At(host.into(), port)
    }

    /// Reads `host:port` as Redis writes it, where an IPv6 address has no brackets and no
    /// host at all means the node that `said` it.
    pub(super) fn read(text: &str, said: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok()?;
        match (host, said) {
            ("", Self::At(host, _)) => Some(Self::At(host.clone(), port)),
            ("", Self::Given) => None,
            (host, _) => Some(Self::at(host, port)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given => f.write_str("the given address"),
            Self::At(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::At(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// How the map of a Redis is drawn.
#[derive(Debug)]
pub(super) enum Form {
    Single,
    Sentinel(Sentinels),
    /// The nodes of a Cluster that the URL names.
    Cluster(Vec<Place>),
}

impl Form {
    /// Finds out which node serves what. `known` are nodes that served before.
    pub(super) async fn map(&self, nodes: &Nodes, known: Option<Map>) -> RedisResult<Map> {
        match self {
            Self::Single => Ok(Map::One(Place::Given)),
            Self::Sentinel(sentinels) => sentinels.master(nodes).await.map(Map::One),
            Self::Cluster(seeds) => cluster::map(nodes, seeds, known).await,
        }
    }

    /// Whether the map can change.
    pub(super) fn moves(&self) -> bool {
        !matches!(self, Self::Single)
    }

    /// Whether a node must say that it is a master before it is used. In a Cluster each
    /// node refuses what it does not serve, and a single Redis may be what it likes.
    pub(super) fn wants_masters(&self) -> bool {
        matches!(self, Self::Sentinel(_))
    }

    /// How many replicas are to have what others rely on, unless that is set.
    pub(super) fn usual_replicas(&self) -> u32 {
        self.moves().into()
    }
}

/// One node, and the connections to it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) client: Client,
    /// For all that is answered at once.
    pub(super) shared: Line,
    /// For what waits for replicas: Redis carries out nothing else of a connection while
    /// that waits.
    pub(super) kept: Line,
}

/// The nodes that there have been calls to.
#[derive(Debug)]
pub(super) struct Nodes {
    /// How to connect to the place that the URL gives, and but for that to any other.
    info: ConnectionInfo,
    patience: Duration,
    only_masters: bool,
    known: std::sync::Mutex<HashMap<Place, Arc<Node>>>,
}

impl Nodes {
    pub(super) fn new(info: ConnectionInfo, patience: Duration, only_masters: bool) -> Self {
        Self { info, patience, only_masters, known: Default::default() }
    }

    /// How long to wait for any one node.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn at(&self, place: &Place) -> RedisResult<Arc<Node>> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(node) = known.get(place) {
            return Ok(node.clone());
        }
        let client = Client::open(located(&self.info, place))?;
        let line = || Line::new(client.clone(), self.patience, self.only_masters);
        let node = Arc::new(Node { shared: line(), kept: line(), client: client.clone() });
        known.insert(place.clone(), node.clone());
        Ok(node)
    }

    /// Forgets the nodes that serve nothing any more.
    pub(super) fn keep_only(&self, places: &[&Place]) {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.retain(|place, _| places.contains(&place));
    }
}

/// The same login and the same TLS, at another place.
fn located(info: &ConnectionInfo, place: &Place) -> ConnectionInfo {
    let Place::At(host, port) = place else {
        return info.clone();
    };
    let (host, port) = (host.to_string(), *port);
    let address = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(address)
}
