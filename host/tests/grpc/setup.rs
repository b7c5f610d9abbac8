//! Hosts inside this process, and a plain client of one of them.

use std::time::Duration;

use guildhall_host::{
    Fleet,
    runner::{ClassPattern, Runner, RunnerTable, Template},
};
use guildhall_proto::v1::{self, agent_host_service_client::AgentHostServiceClient};
use guildhall_testing::{processes_marked, wait_until_none_marked};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) type Client = AgentHostServiceClient<Channel>;

pub(crate) struct World {
    pub(crate) fleet: Fleet,
    dir: TempDir,
}

/// Hosts that take three agents each.
pub(crate) async fn world(hosts: usize) -> World {
    let dir = tempfile::tempdir().unwrap();
    let mut echo = Runner::new("echo", echo_runner::binary().unwrap());
    echo.env
        .insert(echo_runner::DIR_VARIABLE.to_owned(), Template::parse(dir.path().to_str().unwrap()).unwrap());
    echo.class_name = Some(ClassPattern::new("test.*"));
    let mut hasty = echo.clone();
    hasty.name = "hasty".to_owned();
    hasty.ready_timeout = Some(Duration::from_millis(300));
    let fleet = Fleet::builder(RunnerTable::from_iter([echo, hasty]))
        .hosts(hosts)
        .capacity(3)
        .configure(|host| host.supervisor.stop_grace = Duration::from_millis(500));
    World { fleet: fleet.start().await.unwrap(), dir }
}

impl World {
    /// A client of the first host.
    pub(crate) async fn client(&self) -> Client {
        Client::new(self.channel().await)
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.channel_to(0).await
    }

    pub(crate) async fn channel_to(&self, host: usize) -> Channel {
        let endpoint = self.fleet.hosts()[host].endpoint();
        Channel::from_shared(endpoint).unwrap().connect().await.unwrap()
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        processes_marked(self.dir.path().to_str().unwrap())
    }

    pub(crate) async fn end(self) {
        assert!(self.fleet.stop().await);
        wait_until_none_marked(self.dir.path().to_str().unwrap());
    }
}

/// A launch of (`g`, `agent`) that does as it should.
pub(crate) fn launch(agent: &str) -> v1::Launch {
    launch_that(agent, "{}")
}

/// A launch that misbehaves as `echo` says.
pub(crate) fn launch_that(agent: &str, echo: &str) -> v1::Launch {
    let spec = serde_json::json!({
        "id": agent,
        "name": "An agent",
        "description": "An agent of a test.",
        "class_name": "test.Echo",
        "properties": { "echo": serde_json::from_str::<serde_json::Value>(echo).unwrap() },
    });
    v1::Launch { guild_id: "g".to_owned(), agent_spec: spec.to_string().into(), ..v1::Launch::default() }
}

/// A request to run it, like no other.
pub(crate) fn run(launch: Option<v1::Launch>) -> v1::RunAgentRequest {
    v1::RunAgentRequest { launch, request_id: String::new() }
}

pub(crate) async fn create(
    client: &mut Client,
    launch: v1::Launch,
    request_id: &str,
) -> Result<v1::AgentInfo, Status> {
    let request = v1::CreateAgentRequest { launch: Some(launch), request_id: request_id.to_owned() };
    Ok(client.create_agent(request).await?.into_inner().agent.unwrap())
}
