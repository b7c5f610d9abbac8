//! The standard services that tools know: health and reflection.

use std::collections::BTreeSet;

use futures::stream;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::setup::{LIMIT, create, launch_that, world};

/// The service by its name, and the host as a whole, as probes ask for it.
const NAMES: [&str; 2] = ["guildhall.v1.AgentHostService", ""];

#[tokio::test]
async fn a_draining_host_is_not_serving() {
    let mut world = world(1).await;
    let mut client = world.client().await;
    // It keeps the drain waiting for its grace.
    create(&mut client, launch_that("a", r#"{"ignore_sigterm": true}"#), "r").await.unwrap();
    let mut health = HealthClient::new(world.channel().await);
    let mut watches = Vec::new();
    for service in NAMES {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut watch = health.watch(request).await.unwrap().into_inner();
        assert_eq!(next(&mut watch).await, ServingStatus::Serving, "{service:?}");
        watches.push(watch);
    }
    let host = world.fleet.hosts()[0].id();
    let host = world.fleet.take_host(&host).unwrap();
    let drain = tokio::spawn(host.drain());
    for watch in &mut watches {
        assert_eq!(next(watch).await, ServingStatus::NotServing);
    }
    drop(watches);
    assert!(drain.await.unwrap());
    world.end().await;
}

async fn next(watch: &mut tonic::Streaming<HealthCheckResponse>) -> ServingStatus {
    timeout(LIMIT, watch.message()).await.unwrap().unwrap().unwrap().status()
}

#[tokio::test]
async fn reflection_lists_the_services_and_describes_them() {
    let world = world(1).await;
    let channel = world.channel().await;
    let MessageResponse::ListServicesResponse(listed) =
        ask(&channel, MessageRequest::ListServices(String::new())).await
    else {
        panic!("services should be listed")
    };
    let services: BTreeSet<_> = listed.service.into_iter().map(|service| service.name).collect();
    let wanted = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "guildhall.v1.AgentHostService",
        "guildhall.v1.PeerService",
    ];
    assert_eq!(services, wanted.map(str::to_owned).into());

    for symbol in ["guildhall.v1.AgentHostService", "guildhall.v1.Launch", "guildhall.v1.ErrorReason"] {
        let answer = ask(&channel, MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{symbol}: {answer:?}");
    }
    world.end().await;
}

async fn ask(channel: &Channel, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let answers =
        ServerReflectionClient::new(channel.clone()).server_reflection_info(stream::iter([request])).await;
    answers.unwrap().into_inner().message().await.unwrap().unwrap().message_response.unwrap()
}
