//! The overlay with TLS on every wire, on pods. Certificates are what cert-manager would
//! have made of the overlay's: Secrets, which the test makes.

use std::{fs, net::IpAddr, path::Path, sync::Arc, time::Duration};

use guildhall::{
    discovery::KubernetesDiscovery,
    engine::{ExecutionEngine, GrpcEngine},
    registry::{RedisOptions, RedisRegistry, RedisTls},
    transport::{Dialer, NamePattern, Tls, TlsFiles},
};
use guildhall_kubernetes::{Cluster, GATEWAY, sandboxed};
use guildhall_testing::{Certificate, Certificates, RedisTlsServer};
use serde_json::json;
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::setup::{
    LIMIT, NAMESPACE, composed, empty_cluster, guild, host_of, host_pods, kubectl, launch, ours, overlay,
    run, until, until_all_run_on, wait_for_rollout,
};

/// The overlay with the example's image and runner table.
const MTLS_WITH_ECHO: &str = "
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [MANIFESTS/overlays/mtls]
images:
  - name: guildhall/agent-host
    newName: guildhall/agent-host-echo
    newTag: dev
configMapGenerator:
  - name: agent-host-runners
    namespace: guildhall
    behavior: replace
    files: [runners.toml]
    options: { disableNameSuffixHash: true }
";

const HOST: &str = "spiffe://guildhall/host";

/// A Secret of the kind that cert-manager keeps a certificate in.
fn secret(name: &str, certificate: &Certificate, ca: &Path) -> String {
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": {
            "tls.crt": text(&certificate.certificate),
            "tls.key": text(&certificate.key),
            "ca.crt": text(ca),
        },
    });
    secret.to_string()
}

/// Somebody whose certificate has this name.
fn dialer(authority: &Certificates, name: &str) -> Dialer {
    let Certificate { certificate, key } = authority.sign(&[name]).unwrap();
    let files = TlsFiles { certificate, key, ca: authority.ca() };
    Dialer::tls(Tls::load(files, vec![NamePattern::new(HOST)]).unwrap())
}

async fn engine(cluster: &Cluster, redis: &str, tls: &RedisTls, dialer: &Dialer) -> GrpcEngine {
    let options = RedisOptions { tls: tls.clone(), ..RedisOptions::default() };
    let registry = RedisRegistry::connect(redis, options).await.unwrap();
    let client = cluster.client_of(NAMESPACE, "guildhall-engine").await.unwrap();
    let discovery = KubernetesDiscovery::new(client, NAMESPACE, "agent-host")
        .every(Duration::from_millis(200))
        .dialer(dialer.clone());
    let engine = GrpcEngine::builder().registry(Arc::new(registry)).discovery(Arc::new(discovery));
    engine.dialer(dialer.clone()).build().await.unwrap()
}

#[test]
#[ignore = "needs a control plane: make test-kubernetes"]
fn with_tls_on_every_wire_roles_decide_who_may_what() {
    sandboxed(async |folder| {
        let cluster = empty_cluster(&folder).await;
        let authority = Certificates::within(&folder).unwrap();
        let redis_is = authority.sign(&[&GATEWAY.to_string()]).unwrap();
        let redis = RedisTlsServer::start_at(IpAddr::V4(GATEWAY), &redis_is, Some(&authority.ca())).unwrap();

        let composed = composed(&folder, MTLS_WITH_ECHO);
        fs::copy(overlay("dev").join("runners.toml"), composed.join("runners.toml")).unwrap();
        let objects = cluster.kubectl().kustomize(&composed).unwrap();
        let namespace = fs::read_to_string(overlay("../base/namespace.yaml")).unwrap();
        cluster.kubectl().apply(&namespace).unwrap();
        let (at, to_redis) = (authority.sign(&[HOST]).unwrap(), authority.sign(&["redis-client"]).unwrap());
        cluster.kubectl().apply(&secret("agent-host-tls", &at, &authority.ca())).unwrap();
        cluster.kubectl().apply(&secret("redis-client-tls", &to_redis, &authority.ca())).unwrap();
        let url = format!("--from-literal=url={}", redis.url());
        kubectl(&cluster, &["create", "secret", "generic", "redis-client", &url]);
        cluster.kubectl().apply(&ours(&objects).0.join("\n---\n")).unwrap();
        // The autoscaler sees to the three that it is to have at least, without a metric.
        until("there are three pods", async || host_pods(&cluster).await.len() == 3).await;
        wait_for_rollout(&cluster);
        println!("{}", kubectl(&cluster, &["get", "all,hpa,endpointslices", "-o", "wide"]));

        let tls = RedisTls {
            ca: Some(authority.ca()),
            certificate: Some(to_redis.certificate.clone()),
            key: Some(to_redis.key.clone()),
        };
        let app =
            engine(&cluster, &redis.url(), &tls, &dialer(&authority, "spiffe://guildhall/engine")).await;
        app.wait_for_hosts(3, LIMIT).await.unwrap();
        run(&app, "a", 6).await;
        let pods = host_pods(&cluster).await;
        let hosts: Vec<_> = pods.iter().map(host_of).collect();
        until_all_run_on(&app, 6, &hosts).await;

        // One that may only look sees all of it, and is told why it may do no more.
        let observer =
            engine(&cluster, &redis.url(), &tls, &dialer(&authority, "spiffe://guildhall/observer")).await;
        observer.wait_for_hosts(3, LIMIT).await.unwrap();
        assert_eq!(observer.get_agents_in_guild(&guild()).await.unwrap().len(), 6);
        let said = observer.run_agent(launch("b0")).await.unwrap_err().to_string();
        assert!(said.contains("is for the role") && said.contains("spiffe://guildhall/observer"), "{said}");

        // Hosts forward by the same certificates: a pod that goes hands its agents over.
        kubectl(&cluster, &["delete", "pod", &pods[0].metadata.name.clone().unwrap(), "--wait=false"]);
        until("another pod is in its place", async || {
            let now = host_pods(&cluster).await;
            now.len() == 3 && now.iter().all(|pod| host_of(pod) != hosts[0])
        })
        .await;
        let now: Vec<_> = host_pods(&cluster).await.iter().map(host_of).collect();
        until_all_run_on(&app, 6, &now).await;

        // Plain text is told what is spoken here.
        let address = pods[1].status.clone().unwrap().pod_ip.unwrap();
        let there = Endpoint::from_shared(format!("http://{address}:50051")).unwrap().connect_lazy();
        let mut plain = HealthClient::new(there);
        let asked = HealthCheckRequest::default();
        let refused = plain.check(asked).await.unwrap_err();
        let said = format!("{refused:?}");
        assert!(said.contains("this host speaks TLS alone"), "{said}");
    });
}
