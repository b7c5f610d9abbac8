//! A cluster with the fleet of an overlay on it, and words for what tests ask of it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use guildhall::{
    agent::{AgentInfo, AgentState},
    discovery::KubernetesDiscovery,
    engine::{ExecutionEngine, GrpcEngine},
    ids::GuildId,
    launch::Launch,
    registry::{RedisOptions, RedisRegistry},
};
use guildhall_kubernetes::Cluster;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use tokio::time::{sleep, timeout};

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

pub(crate) const NAMESPACE: &str = "guildhall";

/// Who dev's Redis lets in.
const USER: &str = "guildhall:development-only";

pub(crate) fn overlay(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/overlays").join(name)
}

/// What a cluster has only with other software: the objects of these groups are left out.
const OF_OTHERS: [&str; 2] = ["monitoring.coreos.com/", "cert-manager.io/"];

/// The objects that a cluster without other software takes, and the others.
pub(crate) fn ours(objects: &str) -> (Vec<&str>, Vec<&str>) {
    objects
        .split("\n---\n")
        .partition(|object| !OF_OTHERS.iter().any(|group| object.contains(&format!("apiVersion: {group}"))))
}

/// A cluster of three nodes in two zones, with nothing on it.
pub(crate) async fn empty_cluster(folder: &Path) -> Cluster {
    let cluster = Cluster::start(folder).await.unwrap();
    for (node, zone) in [("node-1", "zone-a"), ("node-2", "zone-b"), ("node-3", "zone-b")] {
        cluster.node(node, zone).await.unwrap();
    }
    cluster.disk("disk-1").await.unwrap();
    cluster
}

/// The same with the fleet of the overlay for laptops.
pub(crate) async fn fleet(folder: &Path) -> Cluster {
    let cluster = empty_cluster(folder).await;
    let objects = cluster.kubectl().kustomize(&overlay("dev")).unwrap();
    cluster.kubectl().apply(&objects).unwrap();
    wait_for_rollout(&cluster);
    cluster
}

/// A folder for kustomize, of what its file says: `MANIFESTS` in it is where the project's
/// are.
pub(crate) fn composed(folder: &Path, kustomization: &str) -> PathBuf {
    let composed = folder.join("composed");
    std::fs::create_dir(&composed).unwrap();
    // kustomize takes no absolute paths.
    let up = "../".repeat(composed.components().count() - 1);
    let manifests = overlay("..").canonicalize().unwrap();
    let manifests = format!("{up}{}", manifests.strip_prefix("/").unwrap().display());
    let text = kustomization.replace("MANIFESTS", &manifests);
    std::fs::write(composed.join("kustomization.yaml"), text).unwrap();
    composed
}

/// Waits until the Deployment has as many new pods as it wants.
pub(crate) fn wait_for_rollout(cluster: &Cluster) {
    kubectl(cluster, &["rollout", "status", "deployment/agent-host", "--timeout=150s"]);
}

pub(crate) fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let all: Vec<_> = ["-n", NAMESPACE].iter().chain(arguments).copied().collect();
    cluster.kubectl().run(&all).unwrap().output
}

/// The pods of hosts that are not on their way out, sorted by name.
pub(crate) async fn host_pods(cluster: &Cluster) -> Vec<Pod> {
    let pods: Api<Pod> = Api::namespaced(cluster.client().clone(), NAMESPACE);
    let hosts = ListParams::default().labels("app.kubernetes.io/name=agent-host");
    let mut pods = pods.list(&hosts).await.unwrap().items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    pods.sort_by_key(ResourceExt::name_any);
    pods
}

/// What a host calls itself in this pod.
pub(crate) fn host_of(pod: &Pod) -> String {
    format!("{}-{}", pod.name_any(), &pod.uid().unwrap()[..8])
}

/// An engine as an app in the cluster has it: with the token of the engines' account, and
/// the registry at the address of its pod.
pub(crate) async fn engine(cluster: &Cluster, hosts: usize) -> GrpcEngine {
    let redis = kubectl(cluster, &["get", "pod", "redis-0", "-o", "jsonpath={.status.podIP}"]);
    let url = format!("redis://{USER}@{redis}:6379");
    let registry = RedisRegistry::connect(&url, RedisOptions::default()).await.unwrap();
    let client = cluster.client_of(NAMESPACE, "guildhall-engine").await.unwrap();
    let discovery =
        KubernetesDiscovery::new(client, NAMESPACE, "agent-host").every(Duration::from_millis(200));
    let engine = GrpcEngine::builder().registry(Arc::new(registry)).discovery(Arc::new(discovery));
    let engine = engine.build().await.unwrap();
    until_open(&engine, hosts).await;
    engine
}

/// Waits until the engine knows so many hosts, and may place agents on each: Kubernetes says
/// that a pod is ready a moment after the pod does.
pub(crate) async fn until_open(engine: &GrpcEngine, hosts: usize) {
    until("the hosts take agents", async || {
        engine.hosts().iter().filter(|host| !host.info.draining).count() == hosts
    })
    .await;
}

pub(crate) fn guild() -> GuildId {
    GuildId::new("g").unwrap()
}

pub(crate) fn launch(agent: &str) -> Launch {
    let spec = format!(
        r#"{{"id":"{agent}","name":"An agent","description":"An agent of a test.","class_name":"test.Echo"}}"#
    );
    Launch::from_agent_spec(guild(), spec.as_bytes()).unwrap()
}

/// Starts so many agents: `PREFIX0`, `PREFIX1`, ….
pub(crate) async fn run(engine: &GrpcEngine, prefix: &str, agents: usize) -> Vec<AgentInfo> {
    let mut running = Vec::new();
    for n in 0..agents {
        running.push(engine.run_agent(launch(&format!("{prefix}{n}"))).await.unwrap());
    }
    running
}

/// Waits until all these agents run, each on one of these hosts.
pub(crate) async fn until_all_run_on(engine: &GrpcEngine, agents: usize, hosts: &[String]) -> Vec<AgentInfo> {
    let mut last = Vec::new();
    let wait = async {
        loop {
            if let Ok(all) = engine.get_agents_in_guild(&guild()).await {
                let fine = |agent: &AgentInfo| {
                    agent.state == AgentState::Running && hosts.iter().any(|host| host == agent.host.as_str())
                };
                if all.len() == agents && all.iter().all(fine) {
                    return all;
                }
                last = all;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    match timeout(LIMIT, wait).await {
        Ok(agents) => agents,
        Err(_) => panic!("{agents} agents on {hosts:?} are wanted, and they are {last:#?}"),
    }
}

/// Waits for something that can only be asked for again and again.
pub(crate) async fn until(what: &str, mut asks: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !asks().await {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("it never came true: {what}"));
}
