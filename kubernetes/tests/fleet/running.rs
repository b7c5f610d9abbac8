//! A guild on the pods of a Deployment.

use std::{collections::BTreeSet, time::Duration};

use futures::StreamExt;
use guildhall::{
    agent::AgentInfo,
    discovery::{Discovery, KubernetesDiscovery},
    engine::ExecutionEngine,
    host::HostEvent,
};
use guildhall_kubernetes::{Cluster, sandboxed};
use kube::ResourceExt;
use tokio::time::timeout;

use crate::setup::{
    LIMIT, NAMESPACE, engine, fleet, guild, host_of, host_pods, kubectl, run, until, until_all_run_on,
    wait_for_rollout,
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
fn a_guild_runs_on_the_pods_and_is_whole_when_they_come_and_go() {
    sandboxed(async |folder| {
        let cluster = fleet(&folder).await;
        println!("{}", kubectl(&cluster, &["get", "all,endpointslices", "-o", "wide"]));
        let engine = engine(&cluster, 2).await;

        let two = hosts(&cluster).await;
        let before = run(&engine, "a", 12).await;
        assert_eq!(before.iter().map(|agent| agent.host.to_string()).collect::<BTreeSet<_>>().len(), 2);
        until_all_run_on(&engine, 12, &two).await;

        // More pods: they are found, and used.
        let four = scale(&cluster, 4).await;
        engine.wait_for_hosts(4, LIMIT).await.unwrap();
        let more = run(&engine, "b", 8).await;
        assert_eq!(more.iter().map(|agent| agent.host.to_string()).collect::<BTreeSet<_>>().len(), 4);
        until_all_run_on(&engine, 20, &four).await;

        // Fewer: those that go are drained, and nothing is lost.
        let one = scale(&cluster, 1).await;
        let after = until_all_run_on(&engine, 20, &one).await;
        assert_eq!(ids(&after).len(), 20);

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
        let after = until_all_run_on(&engine, 20, &now).await;
        assert_eq!(ids(&after).len(), 20);

        // One that is gone without a word.
        let gone = host_pods(&cluster).await.remove(0);
        kubectl(&cluster, &["delete", "pod", &gone.name_any(), "--grace-period=0", "--force"]);
        until("another pod takes its place", async || {
            let now = hosts(&cluster).await;
            now.len() == 3 && !now.contains(&host_of(&gone))
        })
        .await;
        let now = hosts(&cluster).await;
        let after = until_all_run_on(&engine, 20, &now).await;
        assert_eq!(ids(&after), ids(&before).union(&ids(&more)).cloned().collect());
        for agent in after {
            engine.stop_agent(&agent.key).await.unwrap();
        }
        assert_eq!(engine.get_agents_in_guild(&guild()).await.unwrap(), []);
    });
}

#[test]
#[ignore = "needs a control plane: make test-kubernetes"]
fn without_the_api_server_agents_are_placed_and_when_it_is_back_pods_are_found() {
    sandboxed(async |folder| {
        let mut cluster = fleet(&folder).await;
        let engine = engine(&cluster, 2).await;
        let two = hosts(&cluster).await;
        cluster.plane().kill_api_server();
        run(&engine, "a", 6).await;
        until_all_run_on(&engine, 6, &two).await;
        cluster.plane().start_api_server().await.unwrap();
        scale(&cluster, 3).await;
        engine.wait_for_hosts(3, LIMIT).await.unwrap();
        let more = run(&engine, "b", 6).await;
        assert_eq!(more.iter().map(|agent| agent.host.to_string()).collect::<BTreeSet<_>>().len(), 3);
    });
}

#[test]
#[ignore = "needs a control plane: make test-kubernetes"]
fn candidates_have_the_labels_that_the_account_may_read() {
    sandboxed(async |folder| {
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
        assert!(timeout(Duration::from_secs(3), events.next()).await.is_err(), "it is refused");
        let allow = ["create", "rolebinding", "default-too", "--role=guildhall-engine"];
        let account = format!("--serviceaccount={NAMESPACE}:default");
        kubectl(&cluster, &[&allow[..], &[account.as_str()]].concat());
        let event = timeout(LIMIT, events.next()).await.expect("it recovers").unwrap();
        assert!(matches!(event, HostEvent::Snapshot(_) | HostEvent::Changed(_)), "{event:?}");
    });
}
