//! Tells Kubernetes which pod is best ended first: the one with the fewest agents.
//!
//! A ReplicaSet that has too many pods ends those first whose annotation
//! `controller.kubernetes.io/pod-deletion-cost` is lowest. The host writes how many agents
//! it has there, on its own pod and nowhere else. Nothing depends on it: where it is
//! refused, another pod is ended, and drains.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::supervisor::Supervisor;

/// How often it is written at most: each writing wakes whoever watches pods.
const EVERY: Duration = Duration::from_secs(15);

const ANNOTATION: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The host's own pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Writes the number of agents whenever it has changed, until the host ends.
pub(crate) async fn keep(pod: OwnPod, supervisor: Supervisor, ending: CancellationToken) {
    let client = match Client::try_default().await {
        Ok(client) => client,
        Err(error) => {
            warn!(%error, "the API server cannot be told how many agents this pod has");
            return;
        }
    };
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    let mut failing = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ending.cancelled() => return,
        }
        let agents = supervisor.counts().running;
        if told == Some(agents) {
            continue;
        }
        let cost = json!({ "metadata": { "annotations": { ANNOTATION: agents.to_string() } } });
        let (how, what) = (PatchParams::default(), Patch::Merge(cost));
        let patched = tokio::select! {
            patched = pods.patch_metadata(&pod.name, &how, &what) => patched,
            () = ending.cancelled() => return,
        };
        match patched {
            Ok(_) => {
                if failing {
                    info!("the API server is told again how many agents this pod has");
                }
                (told, failing) = (Some(agents), false);
            }
            Err(error) if !failing => {
                warn!(%error, pod = pod.name, "the API server does not take how many agents this pod has");
                failing = true;
            }
            Err(_) => {}
        }
    }
}
