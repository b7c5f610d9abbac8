//! Those that are not let in, and what they are told.

use std::sync::Arc;

use guildhall::{
    fault::FaultReason,
    transport::{Dialer, NamePattern, Tls, TlsFiles},
    wire,
};
use guildhall_host::Host;
use guildhall_proto::v1::{self, agent_host_service_client::AgentHostServiceClient};
use guildhall_testing::Certificates;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName, version::TLS12};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::setup::{ENGINE, HOST, LIMIT, OPERATOR, channel, dialer, files, world};

/// What a call comes to that does not come through.
async fn refusal(dialer: &Dialer, host: &Host) -> String {
    let mut client = AgentHostServiceClient::new(channel(dialer, host));
    let status = client.health(v1::HealthRequest {}).await.expect_err("it is not let in");
    let fault = wire::fault_from_status(&status);
    assert_eq!(fault.reason, FaultReason::HostUnreachable, "{fault}");
    fault.to_string()
}

#[tokio::test]
async fn a_caller_is_told_what_is_wrong_with_its_certificate() {
    let world = world();
    let host = world.host("h1").await;
    let other = Certificates::new().unwrap();

    let expired = dialer(world.files(&world.authority.sign_expired(&[ENGINE]).unwrap()));
    let told = refusal(&expired, &host).await;
    assert!(told.to_lowercase().contains("expired"), "{told}");

    // It trusts the host; the host does not trust it.
    let stranger = dialer(files(&other.sign(&[ENGINE]).unwrap(), &world.authority.ca()));
    let told = refusal(&stranger, &host).await;
    assert!(told.contains("UnknownCA") || told.contains("unknown"), "{told}");

    // The host trusts it; it does not trust the host.
    let distrustful = dialer(files(&world.authority.sign(&[ENGINE]).unwrap(), &other.ca()));
    let told = refusal(&distrustful, &host).await;
    assert!(told.contains("UnknownIssuer"), "{told}");

    // A role that may not: it is let in, and told so call by call.
    let mut engine = AgentHostServiceClient::new(channel(&world.named(ENGINE), &host));
    let status = engine.drain(v1::DrainRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert_eq!(
        status.message(),
        r#"Drain is for the role operator, which none of ["spiffe://guildhall/engine"] has"#
    );
    host.drain().await;
}

#[tokio::test]
async fn a_server_that_is_no_host_is_not_spoken_to() {
    let world = world();
    // An engine's certificate does not make a host of whoever has it.
    let host = world.host_with("h1", world.files(&world.authority.sign(&[ENGINE]).unwrap())).await;
    let told = refusal(&world.named(OPERATOR), &host).await;
    assert!(told.contains("spiffe://guildhall/engine") && told.contains("hosts are called"), "{told}");
    host.drain().await;

    let expired = world.host_with("h2", world.files(&world.authority.sign_expired(&[HOST]).unwrap())).await;
    let told = refusal(&world.named(OPERATOR), &expired).await;
    assert!(told.contains("expired"), "{told}");
    expired.drain().await;
}

#[tokio::test]
async fn plain_text_and_tls_do_not_mix_and_say_so() {
    let world = world();
    let host = world.host("h1").await;
    // An address says what is spoken there.
    let fault = Dialer::plain().channel(&host.endpoint(), LIMIT, |it| it).unwrap_err();
    assert!(fault.message.contains("speaks TLS, and there is no certificate here"), "{fault}");
    let plain_address = host.endpoint().replace("https://", "http://");
    let fault = world.named(ENGINE).channel(&plain_address, LIMIT, |it| it).unwrap_err();
    assert!(fault.message.contains("does not speak TLS"), "{fault}");

    // An address that lies.
    let channel = Dialer::plain().channel(&plain_address, LIMIT, |it| it).unwrap();
    let status = AgentHostServiceClient::new(channel).health(v1::HealthRequest {}).await.unwrap_err();
    let told = wire::fault_from_status(&status).to_string();
    assert!(told.contains("this host speaks TLS alone"), "{told}");
    host.drain().await;

    let plain = Host::start(world.plain("h2"), world.registry.clone()).await.unwrap();
    let address = plain.endpoint().replace("http://", "https://");
    let channel = world.named(ENGINE).channel(&address, LIMIT, |it| it).unwrap();
    let status = AgentHostServiceClient::new(channel).health(v1::HealthRequest {}).await.unwrap_err();
    let told = wire::fault_from_status(&status).to_string();
    assert!(told.contains("does not speak TLS"), "{told}");
    plain.drain().await;
}

#[tokio::test]
async fn one_without_a_certificate_or_with_an_old_tls_is_not_let_in() {
    let world = world();
    let host = world.host("h1").await;
    let address = host.endpoint().replace("https://", "");
    let mut roots = RootCertStore::empty();
    let ca = std::fs::read(world.authority.ca()).unwrap();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&ca).unwrap()).unwrap();
    for versions in [rustls::DEFAULT_VERSIONS, &[&TLS12]] {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let stream = TcpStream::connect(&address).await.unwrap();
        // The name is no matter here: it does not come so far, or is checked afterwards.
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connected = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        if let Ok(mut stream) = connected {
            assert!(stream.read_u8().await.is_err(), "it is cut off");
        }
    }
    host.drain().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let world = world();
    let certificate = world.authority.sign(&[HOST]).unwrap();
    let other = world.authority.sign(&[HOST]).unwrap();
    let load = |files: TlsFiles| Tls::load(files, vec![NamePattern::new(HOST)]).unwrap_err().to_string();
    let right = world.files(&certificate);
    let told = load(TlsFiles { key: other.key, ..right.clone() });
    assert!(told.contains("cert.pem"), "{told}");
    let told = load(TlsFiles { certificate: certificate.key.clone(), ..right.clone() });
    assert!(told.contains("key.pem: there is no certificate in it"), "{told}");
    let told = load(TlsFiles { ca: "/nowhere/ca.pem".into(), ..right });
    assert!(told.contains("/nowhere/ca.pem"), "{told}");
}
