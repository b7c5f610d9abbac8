//! What the overlays come to, as `kubectl kustomize` renders them; `tests/rendered/` keeps
//! that, and `make test-kubernetes` fails when it is not current.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use guildhall_kubernetes::policies::{Labelled, Party, Port, is_allowed};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::Value;

const OVERLAYS: [&str; 4] = ["dev", "production", "production-emptiest-first", "mtls"];

fn objects(overlay: &str) -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rendered").join(format!("{overlay}.yaml"));
    let text = fs::read_to_string(file).unwrap();
    text.split("\n---\n").map(|object| serde_saphyr::from_str(object).unwrap()).collect()
}

fn network_policies(objects: &[Value]) -> Vec<NetworkPolicy> {
    let policies = objects.iter().filter(|object| object["kind"] == "NetworkPolicy");
    policies.map(|policy| serde_json::from_value(policy.clone()).unwrap()).collect()
}

/// The pods of a workload, with the labels and ports that its template gives them.
fn pods_of(objects: &[Value], kind: &str, name: &str) -> Option<Labelled> {
    let workload =
        objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)?;
    let template = &workload["spec"]["template"];
    let labels = serde_json::from_value(template["metadata"]["labels"].clone()).unwrap();
    let containers = template["spec"]["containers"].as_array().unwrap();
    let ports = containers.iter().flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let ports = ports.filter_map(|port| {
        Some((port["name"].as_str()?.to_owned(), u16::try_from(port["containerPort"].as_u64()?).ok()?))
    });
    Some(Labelled { labels, ports: ports.collect(), ..pod("guildhall", &[]) })
}

fn pod(namespace: &str, labels: &[(&str, &str)]) -> Labelled {
    let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    Labelled {
        namespace: namespace.to_owned(),
        namespace_labels: texts(&[("kubernetes.io/metadata.name", namespace)]),
        labels: texts(labels),
        ports: BTreeMap::new(),
    }
}

fn party(address: &str, pod: Option<Labelled>) -> Party {
    Party { address: address.parse().unwrap(), pod }
}

/// Who may call whom, evaluated: nothing here enforces it.
#[test]
fn who_may_call_whom() {
    let engine = [("guildhall/role", "engine")];
    let mut matrix = String::new();
    for overlay in OVERLAYS {
        let objects = objects(overlay);
        let policies = network_policies(&objects);
        let host = pods_of(&objects, "Deployment", "agent-host").unwrap();
        let redis = pods_of(&objects, "StatefulSet", "redis");
        let grpc = host.ports["grpc"];
        let mut allowed_elsewhere = pod("apps", &engine);
        allowed_elsewhere.namespace_labels.insert("guildhall/engines".to_owned(), "allowed".to_owned());
        let parties = [
            ("engine", party("10.0.0.1", Some(pod("guildhall", &engine)))),
            ("engine in a namespace that is allowed", party("10.0.0.2", Some(allowed_elsewhere))),
            ("engine in another namespace", party("10.0.0.3", Some(pod("other", &engine)))),
            ("host", party("10.0.0.4", Some(host.clone()))),
            ("another host", party("10.0.0.5", Some(host.clone()))),
            ("stranger in the namespace", party("10.0.0.6", Some(pod("guildhall", &[])))),
            (
                "Prometheus",
                party("10.0.0.7", Some(pod("monitoring", &[("app.kubernetes.io/name", "prometheus")]))),
            ),
            ("DNS", party("10.0.0.8", Some(pod("kube-system", &[("k8s-app", "kube-dns")])))),
            ("the API server", party("10.0.0.9", None)),
            ("an address of the internet", party("203.0.113.7", None)),
        ];
        let find = |name: &str| parties.iter().find(|(known, _)| *known == name).unwrap().1.clone();
        let mut called = vec![
            ("host", "grpc", find("host"), Port { protocol: "TCP", number: grpc }),
            ("DNS", "53/udp", find("DNS"), Port { protocol: "UDP", number: 53 }),
            ("the API server", "443", find("the API server"), Port { protocol: "TCP", number: 443 }),
            (
                "an address of the internet",
                "443",
                find("an address of the internet"),
                Port { protocol: "TCP", number: 443 },
            ),
            (
                "an address of the internet",
                "80",
                find("an address of the internet"),
                Port { protocol: "TCP", number: 80 },
            ),
        ];
        for name in ["health", "metrics"] {
            if let Some(number) = host.ports.get(name) {
                called.push(("host", name, find("host"), Port { protocol: "TCP", number: *number }));
            }
        }
        if let Some(redis) = redis {
            let redis = party("10.0.0.10", Some(redis));
            called.push(("Redis", "6379", redis.clone(), Port { protocol: "TCP", number: 6379 }));
            let port = Port { protocol: "TCP", number: grpc };
            let is = is_allowed(&policies, &redis, &find("host"), port);
            assert!(!is, "{overlay}: Redis calls nobody");
        }
        writeln!(matrix, "## {overlay}").unwrap();
        for (to, what, party, port) in &called {
            let others = parties.iter().filter(|(from, _)| from != to);
            let (may, may_not): (Vec<_>, Vec<_>) =
                others.partition(|(_, from)| is_allowed(&policies, from, party, *port));
            let names =
                |of: Vec<&(&str, Party)>| of.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            writeln!(matrix, "{to} {what}\n  allowed: {}\n  refused: {}", names(may), names(may_not))
                .unwrap();
        }
    }
    insta::assert_snapshot!(matrix);
}

#[test]
fn every_overlay_denies_what_it_does_not_allow() {
    for overlay in OVERLAYS {
        let policies = network_policies(&objects(overlay));
        let default = policies.iter().find(|policy| policy.metadata.name.as_deref() == Some("default-deny"));
        let spec = default.and_then(|policy| policy.spec.as_ref()).unwrap();
        assert_eq!(spec.policy_types.as_deref().unwrap(), ["Ingress", "Egress"], "{overlay}");
        assert!(spec.ingress.is_none() && spec.egress.is_none(), "{overlay}");
    }
}

/// The policy that hosts mount is one that the SDK brings.
#[test]
fn the_policy_of_the_manifests_is_the_sdks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let ours = fs::read(root.join("manifests/base/agent-host/policy/policy.wasm")).unwrap();
    let sdks = fs::read(root.join("sdk/src/placement/components/least-loaded.wasm")).unwrap();
    assert!(ours == sdks, "copy sdk/src/placement/components/least-loaded.wasm to the manifests");
}
