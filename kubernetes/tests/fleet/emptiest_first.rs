//! Which pod is taken when there are too many, and what a host may tell the API server.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use guildhall::engine::ExecutionEngine;
use guildhall_kubernetes::sandboxed;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Error, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::setup::{
    NAMESPACE, composed, empty_cluster, engine, host_of, host_pods, kubectl, run, until, until_all_run_on,
    wait_for_rollout,
};

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

const DEV_WITH_COST: &str = "
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [MANIFESTS/overlays/dev]
components: [MANIFESTS/components/pod-deletion-cost]
";

/// Says how a change of a pod is refused.
async fn refusal(client: &Client, pod: &str, change: Value) -> String {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    match pods.patch(pod, &PatchParams::default(), &Patch::Merge(change)).await {
        Ok(_) => panic!("{pod} was changed"),
        Err(Error::Api(status)) => {
            assert_eq!(status.code, 403, "{status:?}");
            status.message
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
#[ignore = "needs a control plane: make test-kubernetes"]
fn the_emptiest_pod_goes_first_and_a_host_may_say_that_of_itself_alone() {
    sandboxed(async |folder| {
        let cluster = empty_cluster(&folder).await;
        let objects = cluster.kubectl().kustomize(&composed(&folder, DEV_WITH_COST)).unwrap();
        cluster.kubectl().apply(&objects).unwrap();
        kubectl(&cluster, &["scale", "deployment/agent-host", "--replicas=3"]);
        wait_for_rollout(&cluster);
        let engine = engine(&cluster, 3).await;

        // Several agents on one, one on another, none on the last.
        let agents = run(&engine, "a", 9).await;
        let on = |pod: &Pod| agents.iter().filter(|agent| agent.host.as_str() == host_of(pod)).count();
        let mut pods = host_pods(&cluster).await;
        pods.sort_by_key(|pod| Reverse(on(pod)));
        let [full, middle, empty] = &pods[..] else { panic!("three") };
        let mut left = BTreeMap::from([(host_of(full), on(full)), (host_of(middle), 1), (host_of(empty), 0)]);
        let wanted: BTreeMap<_, _> =
            pods.iter().map(|pod| (pod.name_any(), left[&host_of(pod)].to_string())).collect();
        let mut kept = Vec::new();
        for agent in &agents {
            let left = left.get_mut(agent.host.as_str()).unwrap();
            match *left {
                0 => drop(engine.stop_agent(&agent.key).await.unwrap()),
                _ => {
                    *left -= 1;
                    kept.push(agent);
                }
            }
        }
        until("each pod's annotation has the number of its agents", async || {
            let pods = host_pods(&cluster).await;
            let cost = |pod: &Pod| Some((pod.name_any(), pod.annotations().get(COST)?.clone()));
            pods.iter().filter_map(cost).collect::<BTreeMap<_, _>>() == wanted
        })
        .await;

        // Without a pod's token nobody is a host, whatever the account.
        let annotate = json!({"metadata": {"annotations": {COST: "9"}}});
        let nobody = cluster.client_of(NAMESPACE, "agent-host").await.unwrap();
        let said = refusal(&nobody, &full.name_any(), annotate.clone()).await;
        assert!(said.contains("a host may change its own pod only"), "{said}");
        // With one, it is that pod's host, and has one thing to say.
        let host = cluster.client_of_pod(full, "agent-host").await.unwrap();
        let said = refusal(&host, &middle.name_any(), annotate).await;
        assert!(said.contains("a host may change its own pod only"), "{said}");
        for (change, why) in [
            (json!({"metadata": {"annotations": {"other": "x"}}}), "no annotation but"),
            (json!({"metadata": {"labels": {"guildhall/role": "engine"}}}), "nothing of its pod but"),
            (json!({"spec": {"activeDeadlineSeconds": 5}}), "nothing of its pod but"),
        ] {
            let said = refusal(&host, &full.name_any(), change).await;
            assert!(said.contains(why), "{said}");
        }

        // One that may be spared: the emptiest. The agents of the others stay as they are.
        for left in [2, 1] {
            kubectl(&cluster, &["scale", "deployment/agent-host", &format!("--replicas={left}")]);
            until("one pod fewer", async || host_pods(&cluster).await.len() == left).await;
            let now: Vec<_> = host_pods(&cluster).await.iter().map(host_of).collect();
            let fullest: BTreeSet<_> = pods[..left].iter().map(host_of).collect();
            assert_eq!(now.iter().cloned().collect::<BTreeSet<_>>(), fullest);
            let running = until_all_run_on(&engine, kept.len(), &now).await;
            for before in kept.iter().filter(|agent| now.contains(&agent.host.to_string())) {
                let after = running.iter().find(|agent| agent.key == before.key).unwrap();
                assert_eq!(after.epoch, before.epoch, "{} was not to be touched", before.key);
            }
        }
    });
}
