//! A small kubelet for tests: a node, and what is bound to it as processes.
//!
//! It is the API server's kubelet in all that the API server can see: it has a node's own
//! certificate, so that the node authorizer and NodeRestriction decide what it may do; it
//! renews a lease, watches the pods that are bound to it, tells of them by their status,
//! and takes them away when they have ended. Each pod is a process in a network namespace
//! of its own with an address of its own, with the variables, files, probes and the ending
//! that its spec says.
//!
//! What it does **not** cover:
//! - images: programs of this workspace and of the machine stand in for them
//!   (`images.rs`), and nothing is pulled;
//! - limits: there are no cgroups, so neither CPU nor memory is limited, nothing is
//!   evicted, and there are no metrics of pods;
//! - seccomp, AppArmor and SELinux; users, groups, capabilities, `no_new_privs` and
//!   read-only roots are as specified;
//! - NetworkPolicies: nothing enforces them ([`policies`](crate::policies) computes what they
//!   mean); all pods reach each other and the control plane;
//! - kube-proxy and DNS: a Service's name leads to one ready pod behind it, by
//!   `/etc/hosts`, on the port that this pod has;
//! - pods of several containers, init containers, and volumes other than `configMap`,
//!   `secret`, `emptyDir`, `projected` and claims that are bound to a `hostPath`; sizes of
//!   volumes; `subPath`;
//! - `kubectl logs`, `exec` and `port-forward`, events, HTTP probes, and new tokens in the
//!   place of old ones, which hold for an hour.
//!
//! What it does not cover and is asked for makes a pod `Failed`, with a reason.
//!
//! `pod.rs` has the life of a pod; `node.rs` is what is said of the node.

mod container;
mod environment;
mod images;
mod node;
mod pod;
mod probes;
mod status;
mod volumes;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::images::Images;
use self::pod::Told;
use crate::{names::Names, network::Network};

/// What the kubelets of one cluster share.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) network: Network,
    pub(crate) names: watch::Receiver<Names>,
    pub(crate) images: Images,
    /// Where pods have their folders. They stay when the pods are gone.
    pub(crate) folder: PathBuf,
    /// The first process of the last container of each pod, by namespace and name.
    pub(crate) processes: Mutex<HashMap<(String, String), i32>>,
}

impl Ground {
    fn know(&self, pod: &Pod, process: i32) {
        let pod = (pod.namespace().unwrap_or_default(), pod.name_any());
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).insert(pod, process);
    }
}

/// Registers a node, and runs what is bound to it until `cancelled`.
pub(crate) async fn start(
    client: Client,
    node: &str,
    zone: &str,
    ground: Arc<Ground>,
    tasks: &TaskTracker,
    cancelled: CancellationToken,
) -> Result<()> {
    node::register(&client, node, zone).await.with_context(|| format!("the node {node}"))?;
    let heartbeat = node::keep_alive(client.clone(), node.to_owned());
    let pods = follow(client, node.to_owned(), ground, tasks.clone());
    tasks.spawn(async move {
        let both = async { tokio::join!(heartbeat, pods) };
        let _ = cancelled.run_until_cancelled(both).await;
    });
    Ok(())
}

/// Has each pod of this node live.
async fn follow(client: Client, node: String, ground: Arc<Ground>, tasks: TaskTracker) {
    let pods: Api<Pod> = Api::all(client.clone());
    let bound_here = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let mut events = watcher(pods, bound_here).default_backoff().boxed();
    let mut living: HashMap<String, watch::Sender<Told>> = HashMap::new();
    let mut listed: Vec<String> = Vec::new();
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            // It is begun again.
            Ok(None) => continue,
            Err(error) => {
                tracing::debug!(%error, node, "the API server does not tell of pods");
                continue;
            }
        };
        let mut hear = |pod: Pod| {
            let uid = pod.uid().unwrap_or_default();
            let told = Told { pod: Arc::new(pod), gone: false };
            match living.get(&uid) {
                Some(pod) => drop(pod.send_replace(told)),
                None => {
                    let (tell, hears) = watch::channel(told);
                    tasks.spawn(pod::live(hears, client.clone(), Arc::clone(&ground)));
                    living.insert(uid, tell);
                }
            }
        };
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(pod) => {
                listed.push(pod.uid().unwrap_or_default());
                hear(pod);
            }
            watcher::Event::Apply(pod) => hear(pod),
            watcher::Event::InitDone => living.retain(|uid, pod| {
                let is_there = listed.contains(uid);
                pod.send_if_modified(|told| {
                    told.gone = !is_there;
                    !is_there
                });
                is_there
            }),
            watcher::Event::Delete(pod) => {
                // Only now: what came before may still be told of a pod that has ended.
                if let Some(pod) = living.remove(&pod.uid().unwrap_or_default()) {
                    pod.send_modify(|told| told.gone = true);
                }
            }
        }
    }
}
