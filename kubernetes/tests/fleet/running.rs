//! A guild on the pods of a Deployment.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    pin::pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::StreamExt;
use guildhall::{
    agent::{AgentInfo, AgentState},
    discovery::{Discovery, KubernetesDiscovery},
    engine::{ExecutionEngine, GrpcEngine},
    host::HostEvent,
    ids::GuildId,
};
use guildhall_kubernetes::{Cluster, sandboxed};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;
use tokio::time::timeout;

use crate::setup::{
    LIMIT, NAMESPACE, engine, fleet, guild, host_of, host_pods, kubectl, overlay, run, until,
    until_all_run_on, until_open, wait_for_rollout,
};

async fn hosts(cluster: &Cluster) -> Vec<String> {
    host_pods(cluster).await.iter().map(host_of).collect()
}

/// Scales, and waits until there are so many pods and the others are gone.
async fn scale(cluster: &Cluster, replicas: usize) -> Vec<String> {
    kubectl(cluster, &["scale", "deployment/agent-host", &format!("--replicas={replicas}")]);
    wait_for_rollout(cluster);
    until("there are as many pods as are wanted", async || host_pods(cluster).await.len() == replicas).await;
    hosts(cluster).await
}

fn ids(agents: &[AgentInfo]) -> BTreeSet<String> {
    agents.iter().map(|agent| agent.key.agent.to_string()).collect()
}

#[test]
#[ignore = "needs a control plane: make test-kubernetes"]
fn the_page_leads_from_an_empty_namespace_to_a_guild_that_runs() {
    sandboxed(async |folder| {
        let cluster = fleet(&folder).await;
        let app = cluster.kubectl().kustomize(&overlay("../example-app")).unwrap();
        let said = cluster.kubectl().apply(&app).unwrap();
        assert_eq!(said.errors, "", "the API server warns, as Pod Security does");
        kubectl(&cluster, &["wait", "--for=condition=complete", "--timeout=120s", "job/run-guild"]);
        println!("{}", kubectl(&cluster, &["get", "all"]));
        let engine = engine(&cluster, 2).await;
        let agents = engine.get_agents_in_guild(&GuildId::new("p2p_guild").unwrap()).await.unwrap();
        assert_eq!(ids(&agents), ["agent1", "agent2"].map(str::to_owned).into());
        assert!(agents.iter().all(|agent| agent.state == AgentState::Running), "{agents:?}");
    });
}

#[test]
#[ignore = "needs a control plane: make test-kubernetes"]
fn a_guild_runs_on_the_pods_and_is_whole_when_they_come_and_go() {
    sandboxed(async |folder| {
        let cluster = fleet(&folder).await;
        let three = scale(&cluster, 3).await;
        println!("{}", kubectl(&cluster, &["get", "all,endpointslices", "-o", "wide"]));
        let engine = engine(&cluster, 3).await;

        let before = run(&engine, "a", 12).await;
        assert_eq!(before.iter().map(|agent| agent.host.to_string()).collect::<BTreeSet<_>>().len(), 3);
        until_all_run_on(&engine, 12, &three).await;

        // More pods: they are found, and used.
        let six = scale(&cluster, 6).await;
        until_open(&engine, 6).await;
        let more = run(&engine, "b", 12).await;
        assert_eq!(more.iter().map(|agent| agent.host.to_string()).collect::<BTreeSet<_>>().len(), 6);
        until_all_run_on(&engine, 24, &six).await;

        // Fewer: those that go are drained, and nothing is lost.
        let two = scale(&cluster, 2).await;
        let after = until_all_run_on(&engine, 24, &two).await;
        assert_eq!(ids(&after).len(), 24);

        // Others in their place.
        let three = scale(&cluster, 3).await;
        kubectl(&cluster, &["rollout", "restart", "deployment/agent-host"]);
        wait_for_rollout(&cluster);
        until("the pods are others", async || {
            let now = hosts(&cluster).await;
            now.len() == 3 && now.iter().all(|host| !three.contains(host))
        })
        .await;
        let now = hosts(&cluster).await;
        let after = until_all_run_on(&engine, 24, &now).await;
        assert_eq!(ids(&after).len(), 24);

        // One that is gone without a word.
        let gone = host_pods(&cluster).await.remove(0);
        kubectl(&cluster, &["delete", "pod", &gone.name_any(), "--grace-period=0", "--force"]);
        until("another pod takes its place", async || {
            let now = hosts(&cluster).await;
            now.len() == 3 && !now.contains(&host_of(&gone))
        })
        .await;
        let now = hosts(&cluster).await;
        let after = until_all_run_on(&engine, 24, &now).await;
        assert_eq!(ids(&after), ids(&before).union(&ids(&more)).cloned().collect());
        for agent in after {
            engine.stop_agent(&agent.key).await.unwrap();
        }
        assert_eq!(engine.get_agents_in_guild(&guild()).await.unwrap(), []);
    });
}

/// How often anybody has asked the API server which pods there are, as it counts itself.
fn asked(cluster: &Cluster) -> Vec<String> {
    let metrics = kubectl(cluster, &["get", "--raw", "/metrics"]);
    let counts = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && ["\"LIST\"", "\"GET\""].iter().any(|verb| line.contains(verb))
            && ["\"endpointslices\"", "\"endpoints\""].iter().any(|what| line.contains(what))
    });
    counts.map(str::to_owned).collect()
}

/// Prints what it costs to know the hosts: asked for each placement, as Guildhall's
/// predecessor did, and from the map that the watch keeps.
async fn show_costs(cluster: &Cluster, engine: &GrpcEngine) {
    let slices: Api<EndpointSlice> =
        Api::namespaced(cluster.client_of(NAMESPACE, "guildhall-engine").await.unwrap(), NAMESPACE);
    let of_service = ListParams::default().labels("kubernetes.io/service-name=agent-host");
    let (mut asking, mut knowing) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let began = Instant::now();
        assert!(!slices.list(&of_service).await.unwrap().items.is_empty());
        asking.push(began.elapsed());
        let began = Instant::now();
        assert_eq!(engine.hosts().len(), 2);
        knowing.push(began.elapsed());
    }
    println!("| to know the hosts of a placement | p50 | p99 |\n| --- | --- | --- |");
    for (how, mut taken) in [("ask the API server", asking), ("the map in memory", knowing)] {
        taken.sort();
        println!("| {how} | {:.1?} | {:.1?} |", taken[taken.len() / 2], taken[taken.len() * 99 / 100]);
    }
}

#[test]
#[ignore = "needs a control plane: make test-kubernetes"]
fn without_the_api_server_agents_are_placed_and_when_it_is_back_pods_are_found() {
    sandboxed(async |folder| {
        let mut cluster = fleet(&folder).await;
        let engine = engine(&cluster, 2).await;
        let two = hosts(&cluster).await;
        let asked_before = asked(&cluster);
        run(&engine, "first", 6).await;
        assert_eq!(asked(&cluster), asked_before, "no decision asks the API server");
        show_costs(&cluster, &engine).await;

        cluster.plane().kill_api_server();
        run(&engine, "a", 6).await;
        until_all_run_on(&engine, 12, &two).await;
        cluster.plane().start_api_server().await.unwrap();
        scale(&cluster, 3).await;
        until_open(&engine, 3).await;
        let more = run(&engine, "b", 6).await;
        assert_eq!(more.iter().map(|agent| agent.host.to_string()).collect::<BTreeSet<_>>().len(), 3);
    });
}

#[test]
#[ignore = "needs a control plane: make test-kubernetes"]
fn candidates_have_the_labels_that_the_account_may_read_and_what_is_missing_is_said() {
    sandboxed(async |folder| {
        let log = Log::default();
        let lines = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).init();
        let cluster = fleet(&folder).await;
        let every = Duration::from_millis(200);
        let client = cluster.client_of(NAMESPACE, "guildhall-engine").await.unwrap();
        let discovery = KubernetesDiscovery::new(client, NAMESPACE, "agent-host").every(every);
        let mut events = discovery.watch();
        let mut zones = BTreeSet::new();
        let seen = async {
            while let Some(event) = events.next().await {
                let hosts = match event {
                    HostEvent::Snapshot(hosts) => hosts,
                    HostEvent::Changed(host) => vec![host],
                    _ => continue,
                };
                for host in hosts {
                    let labels = &host.info.labels;
                    assert_eq!(labels.get("beta.kubernetes.io/arch"), None, "nodes are not for engines");
                    if labels.get("app.kubernetes.io/name").is_some_and(|name| name == "agent-host") {
                        zones.insert(labels["topology.kubernetes.io/zone"].clone());
                    }
                }
                if zones.len() == 2 {
                    return;
                }
            }
        };
        timeout(LIMIT, seen).await.expect("two pods, in two zones");

        // One that may read nothing gets nothing, and has it as soon as it may.
        let client = cluster.client_of(NAMESPACE, "default").await.unwrap();
        let refused = KubernetesDiscovery::new(client, NAMESPACE, "agent-host").every(every);
        let mut events = refused.watch();
        tokio::select! {
            () = log.wait_for("bind it to a role with get, list and watch on endpointslices") => {}
            event = events.next() => panic!("it may read nothing, and has {event:?}"),
        }
        let allow = ["create", "rolebinding", "default-too", "--role=guildhall-engine"];
        let account = format!("--serviceaccount={NAMESPACE}:default");
        kubectl(&cluster, &[&allow[..], &[account.as_str()]].concat());
        let event = timeout(LIMIT, events.next()).await.expect("it recovers").unwrap();
        assert!(matches!(event, HostEvent::Snapshot(_) | HostEvent::Changed(_)), "{event:?}");

        // A namespace that there is not has no hosts, says so, and has one when it has one.
        let nowhere =
            KubernetesDiscovery::new(cluster.client().clone(), "nowhere", "agent-host").every(every);
        let mut events = nowhere.watch();
        let said = "there are no EndpointSlices of the Service agent-host in the namespace nowhere";
        let mut waiting = pin!(log.wait_for(said));
        loop {
            tokio::select! {
                () = &mut waiting => break,
                event = events.next() => assert_eq!(event, Some(HostEvent::Snapshot(Vec::new()))),
            }
        }
        kubectl(&cluster, &["create", "namespace", "nowhere"]);
        let address = host_pods(&cluster).await[0].status.clone().unwrap().pod_ip.unwrap();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "agent-host-1",
                "namespace": "nowhere",
                "labels": {"kubernetes.io/service-name": "agent-host"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
            "ports": [{"name": "grpc", "port": 50051, "protocol": "TCP"}],
        });
        cluster.kubectl().apply(&slice.to_string()).unwrap();
        let found = async {
            while let Some(event) = events.next().await {
                match event {
                    HostEvent::Changed(_) => return,
                    HostEvent::Snapshot(hosts) if !hosts.is_empty() => return,
                    _ => {}
                }
            }
        };
        timeout(LIMIT, found).await.expect("its host is found");
    });
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    async fn wait_for(&self, words: &str) {
        let says = || String::from_utf8_lossy(&self.0.lock().unwrap()).contains(words);
        until(words, async || says()).await;
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
