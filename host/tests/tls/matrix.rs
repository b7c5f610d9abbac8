//! Who may call what.

use std::fmt::Write;

use guildhall_proto::v1::{
    self, agent_host_service_client::AgentHostServiceClient, peer_service_client::PeerServiceClient,
};
use tonic::{Code, Response, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::setup::{ENGINE, HOST, OBSERVER, OPERATOR, channel, world};

/// What is answered to one that may call: what it asks for need not be there.
fn allowed<T>(answer: Result<Response<T>, Status>) -> bool {
    match answer {
        Ok(_) => true,
        Err(status) => {
            assert_ne!(status.code(), Code::Unavailable, "{status}");
            status.code() != Code::PermissionDenied
        }
    }
}

/// All calls of the contract, and whether each is allowed.
async fn calls(channel: Channel) -> Vec<(&'static str, bool)> {
    let mut host = AgentHostServiceClient::new(channel.clone());
    let mut peer = PeerServiceClient::new(channel.clone());
    let mut health = HealthClient::new(channel);
    vec![
        ("grpc.health.v1 Check", allowed(health.check(HealthCheckRequest::default()).await)),
        ("Health", allowed(host.health(v1::HealthRequest::default()).await)),
        ("GetLaunch", allowed(host.get_launch(v1::GetLaunchRequest::default()).await)),
        ("GetAgentInfo", allowed(host.get_agent_info(v1::GetAgentInfoRequest::default()).await)),
        ("ListAgents", allowed(host.list_agents(v1::ListAgentsRequest::default()).await)),
        ("WatchAgents", allowed(host.watch_agents(v1::WatchAgentsRequest::default()).await)),
        ("CreateAgent", allowed(host.create_agent(v1::CreateAgentRequest::default()).await)),
        ("RunAgent", allowed(host.run_agent(v1::RunAgentRequest::default()).await)),
        ("StopAgent", allowed(host.stop_agent(v1::StopAgentRequest::default()).await)),
        ("MoveAgent", allowed(host.move_agent(v1::MoveAgentRequest::default()).await)),
        ("Cordon", allowed(host.cordon(v1::CordonRequest::default()).await)),
        ("Uncordon", allowed(host.uncordon(v1::UncordonRequest::default()).await)),
        ("Drain", allowed(host.drain(v1::DrainRequest::default()).await)),
        ("AdoptAgent", allowed(peer.adopt_agent(v1::AdoptAgentRequest::default()).await)),
        ("Promise", allowed(peer.promise(v1::PromiseRequest::default()).await)),
        ("Vote", allowed(peer.vote(v1::VoteRequest::default()).await)),
    ]
}

#[tokio::test]
async fn each_role_may_do_what_it_is_for() {
    let world = world();
    let host = world.host("h1").await;
    let roles = [
        ("observer", OBSERVER),
        ("engine", ENGINE),
        ("host", HOST),
        ("operator", OPERATOR),
        ("nobody", "spiffe://guildhall/nobody"),
    ];
    let mut columns = Vec::new();
    for (_, name) in roles {
        columns.push(calls(channel(&world.named(name), &host)).await);
    }
    let mut table = format!("{:24}", "call");
    roles.iter().for_each(|(role, _)| write!(table, "{role:10}").unwrap());
    for row in 0..columns[0].len() {
        write!(table, "\n{:24}", columns[0][row].0).unwrap();
        for column in &columns {
            write!(table, "{:10}", if column[row].1 { "allowed" } else { "-" }).unwrap();
        }
    }
    insta::assert_snapshot!(table);
    host.drain().await;
}
