//! A node as the API server knows it, and its heartbeat.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::sleep;

use super::status::now;
use crate::network::GATEWAY;

/// How often it is said that the node is there; the kubelet's time.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long that holds.
const LEASE_SECONDS: i32 = 40;

/// Who changes these objects.
const MANAGER: &str = "test-kubelet";

/// Registers a node that is ready.
pub(super) async fn register(client: &Client, name: &str, zone: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let labels = BTreeMap::from([
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
        ("topology.kubernetes.io/zone", zone),
    ]);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    nodes.patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(&node)).await?;
    let room = json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"});
    let condition = |kind: &str, holds: bool| {
        json!({"type": kind, "status": if holds { "True" } else { "False" }, "reason": "TestKubelet",
            "lastHeartbeatTime": now(), "lastTransitionTime": now()})
    };
    let status = json!({"status": {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": GATEWAY}, {"type": "Hostname", "address": name}],
        "conditions": [
            condition("Ready", true),
            condition("MemoryPressure", false),
            condition("DiskPressure", false),
            condition("PIDPressure", false),
        ],
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "osImage": "test", "bootID": "", "machineID": "",
            "systemUUID": "", "kernelVersion": "", "containerRuntimeVersion": "test://1", "kubeletVersion": "v0-test",
            "kubeProxyVersion": "",
        },
    }});
    nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(&status)).await?;
    Ok(())
}

/// Says again and again that the node is there.
pub(super) async fn keep_alive(client: Client, name: String) {
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    loop {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(name.clone()),
                lease_duration_seconds: Some(LEASE_SECONDS),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        };
        let told = leases.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&lease)).await;
        let pause = match told {
            Ok(_) => HEARTBEAT,
            Err(error) => {
                tracing::debug!(%error, node = name, "a heartbeat is not heard");
                Duration::from_secs(1)
            }
        };
        sleep(pause).await;
    }
}
