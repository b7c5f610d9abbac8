//! A fleet that speaks TLS alone does what any fleet does.

use guildhall::{agent::AgentState, engine::ExecutionEngine, ids::GuildId, launch::Launch};
use guildhall_host::Host;
use guildhall_proto::v1::{self, agent_host_service_client::AgentHostServiceClient};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::setup::{ENGINE, HOST, OBSERVER, OPERATOR, channel, world};

fn launch(agent: &str) -> Launch {
    let spec = format!(
        r#"{{"id":"{agent}","name":"An agent","description":"An agent of a test.","class_name":"test.Echo"}}"#
    );
    Launch::from_agent_spec(GuildId::new("g").unwrap(), spec.as_bytes()).unwrap()
}

#[tokio::test]
async fn agents_run_are_forwarded_moved_and_stopped() {
    let world = world();
    let (first, second) = (world.host("h1").await, world.host("h2").await);
    let engine = world.engine(world.named(ENGINE), 2).await;
    for n in 0..4 {
        engine.run_agent(launch(&format!("a{n}"))).await.unwrap();
    }
    // A host forwards to another one.
    let mut client = AgentHostServiceClient::new(channel(&world.named(ENGINE), &first));
    let mut on = Vec::new();
    for n in 4..8 {
        let launch = Some(guildhall::wire::launch_to_wire(&launch(&format!("a{n}"))));
        let request = v1::RunAgentRequest { launch, request_id: String::new() };
        on.push(client.run_agent(request).await.unwrap().into_inner().agent.unwrap().host_id);
    }
    assert!(on.contains(&"h2".to_owned()), "{on:?}");
    // And hands its agents over when it is drained.
    let mut operator = AgentHostServiceClient::new(channel(&world.named(OPERATOR), &second));
    let request = v1::MoveAgentRequest {
        guild_id: "g".to_owned(),
        agent_id: engine.find_on("h2").await,
        to_host_id: "h1".to_owned(),
        request_id: "move".to_owned(),
    };
    operator.move_agent(request).await.unwrap();
    assert!(second.drain().await);
    let agents = engine.get_agents_in_guild(&GuildId::new("g").unwrap()).await.unwrap();
    assert_eq!(agents.len(), 8);
    assert!(agents.iter().all(|agent| agent.host.as_str() == "h1"), "{agents:#?}");

    // One that may only look is told so by the engine, too.
    let observer = world.engine(world.named(OBSERVER), 1).await;
    let refused = observer.run_agent(launch("b")).await.unwrap_err().to_string();
    assert!(refused.contains("CreateAgent is for the role engine, host, operator"), "{refused}");
    for agent in agents {
        let stopped = engine.stop_agent(&agent.key).await.unwrap();
        assert_ne!(stopped.state, AgentState::Failed);
    }
    first.drain().await;
}

#[tokio::test]
async fn probes_in_plain_text_learn_of_health_and_nothing_else() {
    let world = world();
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let mut config = world.plain("h1");
    config.tls = Some(world.files(&world.authority.sign(&[HOST]).unwrap()));
    config.health_listen = Some(port);
    let host = Host::start(config, world.registry.clone()).await.unwrap();

    let channel = Channel::from_shared(format!("http://{port}")).unwrap().connect().await.unwrap();
    let mut probe = HealthClient::new(channel.clone());
    for (service, serving) in [
        ("", Some(ServingStatus::Serving)),
        ("guildhall.v1.AgentHostService", Some(ServingStatus::Serving)),
        ("liveness", Some(ServingStatus::Serving)),
        ("readiness", None),
    ] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let told = probe.check(request).await.ok().map(|answer| answer.into_inner().status());
        assert_eq!(told, serving, "{service:?}");
    }
    let mut client = AgentHostServiceClient::new(channel);
    let refused = client.list_agents(v1::ListAgentsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    host.drain().await;
}

/// Finds an agent on a host.
trait FindOn {
    async fn find_on(&self, host: &str) -> String;
}

impl<E: ExecutionEngine> FindOn for E {
    async fn find_on(&self, host: &str) -> String {
        let agents = self.get_agents_in_guild(&GuildId::new("g").unwrap()).await.unwrap();
        agents.into_iter().find(|agent| agent.host.as_str() == host).unwrap().key.agent.to_string()
    }
}
