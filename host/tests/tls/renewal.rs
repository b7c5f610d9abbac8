//! Certificates that are replaced while they are in use, the way Kubernetes does: a link
//! to a folder changes.

use std::{os::unix::fs::symlink, path::Path};

use futures::StreamExt;
use guildhall::transport::TlsFiles;
use guildhall_proto::v1::{self, agent_host_service_client::AgentHostServiceClient};
use guildhall_testing::{Certificate, Certificates};
use tokio::time::{Duration, sleep, timeout};

use crate::setup::{ENGINE, HOST, LIMIT, channel, dialer, files, world};

/// Puts the files into a folder of their own, to which `current` then leads at once.
fn publish(secret: &Path, version: &str, certificate: &Certificate, ca: &Path) {
    let folder = secret.join(version);
    std::fs::create_dir(&folder).unwrap();
    for (from, to) in
        [(&certificate.certificate, "tls.crt"), (&certificate.key, "tls.key"), (&ca.to_owned(), "ca.crt")]
    {
        std::fs::copy(from, folder.join(to)).unwrap();
    }
    let link = secret.join("link");
    symlink(&folder, &link).unwrap();
    std::fs::rename(link, secret.join("current")).unwrap();
}

#[tokio::test]
async fn a_new_certificate_and_a_new_authority_are_used_and_no_call_is_dropped() {
    let world = world();
    let secret = tempfile::tempdir().unwrap();
    publish(secret.path(), "1", &world.authority.sign(&[HOST]).unwrap(), &world.authority.ca());
    let current = secret.path().join("current");
    let mounted = TlsFiles {
        certificate: current.join("tls.crt"),
        key: current.join("tls.key"),
        ca: current.join("ca.crt"),
    };
    let host = world.host_with("h1", mounted).await;

    let before = world.named(ENGINE);
    let mut client = AgentHostServiceClient::new(channel(&before, &host));
    let mut changes = client.watch_agents(v1::WatchAgentsRequest::default()).await.unwrap().into_inner();
    changes.next().await.unwrap().unwrap();

    let other = Certificates::new().unwrap();
    publish(secret.path(), "2", &other.sign(&[HOST]).unwrap(), &other.ca());
    let renewed = dialer(files(&other.sign(&[ENGINE]).unwrap(), &other.ca()));
    // It looks at its files when a connection comes, not more often than once a second.
    let comes_in = async {
        loop {
            let mut client = AgentHostServiceClient::new(channel(&renewed, &host));
            match client.health(v1::HealthRequest {}).await {
                Ok(_) => return,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    timeout(LIMIT, comes_in).await.expect("the new authority is trusted");
    // Who was there goes on; who comes anew with a certificate of old is refused.
    client.health(v1::HealthRequest {}).await.unwrap();
    client.cordon(v1::CordonRequest::default()).await.expect_err("it is an engine still");
    let mut late = AgentHostServiceClient::new(channel(&before, &host));
    late.health(v1::HealthRequest {}).await.unwrap_err();
    drop(changes);

    // What cannot be used leaves the last in force.
    let key_of_another =
        Certificate { key: other.sign(&[HOST]).unwrap().key, ..other.sign(&[HOST]).unwrap() };
    publish(secret.path(), "3", &key_of_another, &other.ca());
    sleep(Duration::from_millis(1100)).await;
    let mut client = AgentHostServiceClient::new(channel(&renewed, &host));
    client.health(v1::HealthRequest {}).await.unwrap();
    host.drain().await;
}
