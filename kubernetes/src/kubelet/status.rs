//! What the API server is told of a pod.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::network::GATEWAY;

/// Time between two attempts to tell.
const AGAIN: Duration = Duration::from_millis(300);

/// What is true of a pod with one container.
#[derive(Debug)]
pub(super) struct Status {
    uid: String,
    container: String,
    image: String,
    since: Time,
    pub(super) phase: &'static str,
    pub(super) address: Option<IpAddr>,
    pub(super) started: bool,
    pub(super) ready: bool,
    pub(super) restarts: u32,
    pub(super) state: Value,
    pub(super) last: Option<Value>,
    /// What each condition was, and since when.
    conditions: BTreeMap<&'static str, (bool, Time)>,
}

impl Status {
    pub(super) fn new(pod: &Pod, container: &Container) -> Self {
        Self {
            uid: pod.uid().unwrap_or_default(),
            container: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            since: now(),
            phase: "Pending",
            address: None,
            started: false,
            ready: false,
            restarts: 0,
            state: json!({"waiting": {"reason": "ContainerCreating"}}),
            last: None,
            conditions: BTreeMap::new(),
        }
    }

    pub(super) fn is_waiting(&mut self, reason: &str, message: &str) {
        (self.started, self.ready) = (false, false);
        self.state = json!({"waiting": {"reason": reason, "message": message}});
    }

    pub(super) fn is_running(&mut self) {
        self.phase = "Running";
        self.state = json!({"running": {"startedAt": now()}});
    }

    pub(super) fn has_ended(&mut self, code: i32) {
        (self.started, self.ready) = (false, false);
        let reason = if code == 0 { "Completed" } else { "Error" };
        let began = self.state["running"]["startedAt"].take();
        let began = if began.is_null() { json!(now()) } else { began };
        self.state = json!({"terminated": {
            "exitCode": code, "reason": reason, "startedAt": began, "finishedAt": now(),
        }});
        self.last = Some(self.state.clone());
    }

    /// As the API wants it.
    pub(super) fn patch(&mut self) -> Value {
        let running = self.phase == "Running";
        let ready = running && self.ready;
        let truths = [
            ("PodReadyToStartContainers", self.address.is_some()),
            ("Initialized", true),
            ("ContainersReady", ready),
            ("Ready", ready),
        ];
        let conditions: Vec<_> = truths.map(|(kind, holds)| self.condition(kind, holds)).to_vec();
        let addresses: Vec<_> = self.address.iter().map(|address| json!({"ip": address})).collect();
        json!({
            "metadata": {"uid": self.uid},
            "status": {
                "phase": self.phase,
                "startTime": self.since,
                "hostIP": GATEWAY,
                "hostIPs": [{"ip": GATEWAY}],
                "podIP": self.address,
                "podIPs": addresses,
                "conditions": conditions,
                "containerStatuses": [{
                    "name": self.container,
                    "image": self.image,
                    "imageID": format!("test://{}", self.image),
                    "containerID": format!("test://{}/{}", self.uid, self.restarts),
                    "ready": ready,
                    "started": self.started,
                    "restartCount": self.restarts,
                    "state": self.state,
                    "lastState": self.last.clone().unwrap_or_else(|| json!({})),
                }],
            },
        })
    }

    fn condition(&mut self, kind: &'static str, holds: bool) -> Value {
        let (before, since) = self.conditions.entry(kind).or_insert_with(|| (holds, now()));
        if *before != holds {
            (*before, *since) = (holds, now());
        }
        json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": since})
    }
}

/// Tells the API server the newest of what it is given, again and again until it has it.
#[derive(Debug)]
pub(super) struct Reporter {
    newest: watch::Sender<Arc<Value>>,
    telling: JoinHandle<()>,
    pods: Api<Pod>,
    name: String,
    uid: String,
}

impl Reporter {
    pub(super) fn new(client: Client, pod: &Pod) -> Self {
        let pods: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
        let (newest, news) = watch::channel(Arc::new(Value::Null));
        let name = pod.name_any();
        let telling = tokio::spawn(tell(pods.clone(), name.clone(), news));
        Self { newest, telling, pods, name, uid: pod.uid().unwrap_or_default() }
    }

    /// Tells this as soon as can be.
    pub(super) fn tell(&self, patch: Value) {
        self.newest.send_replace(Arc::new(patch));
    }

    /// Waits until the last has been told, and takes the pod away.
    pub(super) async fn conclude(self) {
        drop(self.newest);
        let _ = self.telling.await;
        let only_this = Preconditions { uid: Some(self.uid), resource_version: None };
        let at_once = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(only_this),
            ..DeleteParams::default()
        };
        while let Err(error) = self.pods.delete(&self.name, &at_once).await {
            if is_gone(&error) {
                return;
            }
            sleep(AGAIN).await;
        }
    }
}

async fn tell(pods: Api<Pod>, name: String, mut news: watch::Receiver<Arc<Value>>) {
    while news.changed().await.is_ok() {
        loop {
            let patch = Arc::clone(&news.borrow_and_update());
            match pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&*patch)).await {
                Ok(_) => break,
                Err(error) if is_gone(&error) => return,
                Err(error) => tracing::debug!(%error, pod = name, "the API server is not told"),
            }
            sleep(AGAIN).await;
        }
    }
}

/// There is no such pod any more, or another of its name.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}

pub(super) fn now() -> Time {
    Time(Timestamp::now())
}
