//! The pods behind a headless Service, as Kubernetes tells of them.
//!
//! A watch of the Service's EndpointSlices says which pods there are and whether they are
//! ready; each of those is asked for its health, as by any other discovery. Labels of pods
//! and nodes become labels of the candidates where the app may read them. All of it is
//! kept in memory: while the API server is away the last pods that it told of are asked
//! on, and decisions never wait for it.
//!
//! `slices.rs` turns EndpointSlices into addresses, `objects.rs` keeps what a watch told.

mod objects;
mod slices;

use std::{collections::BTreeMap, fmt, time::Duration};

use futures::{StreamExt, stream, stream::BoxStream};
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, Config, core::PartialObjectMeta, runtime::watcher};

use self::{
    objects::{Objects, Wanted},
    slices::Endpoint,
};
use super::{
    Discovery,
    ask::{self, Addresses, Facts},
};
use crate::{host::HostEvent, transport::Dialer};

pub use self::slices::Family;

/// What the port is called in the manifests.
const PORT: &str = "grpc";

/// Given to each EndpointSlice of a Service by its controller.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Where the zone of a node is written.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// A fleet that is the pods behind a headless Service.
///
/// Needs `get`, `list` and `watch` on `endpointslices` of the Service's namespace. With the
/// same on `pods` of it, and on `nodes`, their labels become labels of the candidates, for
/// policies to look at; a host's own labels come first, then its pod's. Without, they are
/// left out, and the log says so once.
///
/// Pods that are ready are candidates. Those that are not, or are terminating, get no
/// agents, but those they have can be found and stopped.
#[derive(Clone)]
pub struct KubernetesDiscovery {
    client: Client,
    namespace: String,
    service: String,
    port: String,
    family: Family,
    dialer: Dialer,
    every: Duration,
    labels: bool,
}

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubernetesError {
    /// Neither within a cluster nor a kubeconfig that can be used.
    #[error(
        "there is no way to a Kubernetes API server, neither that of a pod nor that of a kubeconfig: {source}"
    )]
    Config {
        /// What was tried, and why it is not it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl KubernetesDiscovery {
    /// The pods behind `service` in the namespace of this pod, or in that of the kubeconfig
    /// that `KUBECONFIG` names.
    ///
    /// # Errors
    /// [`KubernetesError`] when there is neither.
    pub async fn infer(service: impl Into<String>) -> Result<Self, KubernetesError> {
        let config =
            Config::infer().await.map_err(|source| KubernetesError::Config { source: Box::new(source) })?;
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config)
            .map_err(|source| KubernetesError::Config { source: Box::new(source) })?;
        Ok(Self::new(client, namespace, service))
    }

    /// The pods behind `service` in `namespace`.
    pub fn new(client: Client, namespace: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            client,
            namespace: namespace.into(),
            service: service.into(),
            port: PORT.to_owned(),
            family: Family::default(),
            dialer: Dialer::plain(),
            every: ask::DEFAULT_INTERVAL,
            labels: true,
        }
    }

    /// Looks in this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The name of the Service's port, instead of `grpc`.
    #[must_use]
    pub fn port(mut self, name: impl Into<String>) -> Self {
        self.port = name.into();
        self
    }

    /// Which address of a pod that has several.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// How the pods are spoken to; in plain text unless told otherwise.
    #[must_use]
    pub fn dialer(mut self, dialer: Dialer) -> Self {
        self.dialer = dialer;
        self
    }

    /// Asks each host this often instead of every 2 s.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval.max(Duration::from_millis(1));
        self
    }

    /// Leaves the labels of pods and nodes alone.
    #[must_use]
    pub fn without_labels(mut self) -> Self {
        self.labels = false;
        self
    }

    fn addresses(&self) -> BoxStream<'static, Addresses> {
        let of_service = watcher::Config::default().labels(&format!("{SERVICE_LABEL}={}", self.service));
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &self.namespace);
        let slices = Objects::new(
            watcher(slices, of_service),
            Wanted::Needed(format!(
                "EndpointSlices of the Service {} in the namespace {}",
                self.service, self.namespace
            )),
        );
        let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(self.client.clone(), &self.namespace);
        let nodes: Api<PartialObjectMeta<Node>> = Api::all(self.client.clone());
        let (pods, nodes) = match self.labels {
            true => (
                Objects::new(watcher(pods, watcher::Config::default()), Wanted::Labels("pods")),
                Objects::new(watcher(nodes, watcher::Config::default()), Wanted::Labels("nodes")),
            ),
            false => (Objects::none(), Objects::none()),
        };
        let known = Known { slices, pods, nodes, of: self.clone(), told: None };
        stream::unfold(known, |mut known| async move { Some((known.next().await, known)) }).boxed()
    }
}

impl fmt::Debug for KubernetesDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesDiscovery")
            .field("namespace", &self.namespace)
            .field("service", &self.service)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Discovery for KubernetesDiscovery {
    fn watch(&self) -> BoxStream<'static, HostEvent> {
        ask::watch(self.addresses(), self.dialer.clone(), self.every)
    }
}

/// What the API server has told one watcher.
struct Known {
    slices: Objects<EndpointSlice>,
    pods: Objects<PartialObjectMeta<Pod>>,
    nodes: Objects<PartialObjectMeta<Node>>,
    of: KubernetesDiscovery,
    /// What came of it last.
    told: Option<Addresses>,
}

impl Known {
    /// Waits until other addresses come of it.
    async fn next(&mut self) -> Addresses {
        loop {
            tokio::select! {
                () = self.slices.changed() => {}
                () = self.pods.changed() => {}
                () = self.nodes.changed() => {}
            }
            if !self.slices.are_listed() {
                continue;
            }
            let now = self.addresses();
            if self.told.as_ref() != Some(&now) {
                self.told = Some(now.clone());
                return now;
            }
        }
    }

    fn addresses(&self) -> Addresses {
        let scheme = self.of.dialer.scheme();
        let mut addresses = Addresses::new();
        for endpoint in slices::endpoints(self.slices.iter(), &self.of.port, self.of.family) {
            let labels = self.labels(&endpoint);
            let Endpoint { address, ready, .. } = endpoint;
            addresses.insert(format!("{scheme}://{address}"), Facts { labels, closed: !ready });
        }
        addresses
    }

    /// The pod's labels, then its node's, then the zone that the slice says.
    fn labels(&self, endpoint: &Endpoint) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        if !self.of.labels {
            return labels;
        }
        if let Some(zone) = &endpoint.zone {
            labels.insert(ZONE_LABEL.to_owned(), zone.clone());
        }
        let node = endpoint.node.as_deref().and_then(|node| self.nodes.named(node));
        let pod = endpoint.pod.as_deref().and_then(|pod| self.pods.named(pod));
        let node = node.and_then(|node| node.metadata.labels.as_ref());
        let pod = pod.and_then(|pod| pod.metadata.labels.as_ref());
        for more in [node, pod].into_iter().flatten() {
            labels.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        labels
    }
}
