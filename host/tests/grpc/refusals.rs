//! Every refusal has a code, a reason of the documented enum, and words; and nothing
//! is left of what was refused.

use guildhall_proto::{ERROR_DOMAIN, v1};
use tonic::Status;
use tonic_types::StatusExt;

use crate::setup::{Client, create, launch, launch_that, run, world};

#[tokio::test]
async fn a_launch_that_cannot_be_used_is_refused_by_both_calls() {
    let world = world(1).await;
    let mut client = world.client().await;
    let long = "x".repeat(10 * 1024);
    let spec = |spec: &str| v1::Launch { agent_spec: spec.to_owned().into(), ..launch("a") };
    let guild = |id: &str| v1::Launch { guild_id: id.to_owned(), ..launch("a") };
    let cases = [
        ("no launch", None),
        ("empty guild id", Some(guild(""))),
        ("guild id of 10 KB", Some(guild(&long))),
        ("guild id with a control character", Some(guild("a\u{7}b"))),
        ("guild id with glob characters", Some(guild("guild-*"))),
        ("guild id with a hash tag", Some(guild("{guild}"))),
        ("no agent spec", Some(spec(""))),
        ("malformed agent spec", Some(spec("{\"id\": \"a\","))),
        ("agent spec is a list", Some(spec("[1, 2]"))),
        ("agent spec is not UTF-8", Some(v1::Launch { agent_spec: vec![0xff, 0xfe], ..launch("a") })),
        ("agent spec is nested without end", Some(spec(&"[".repeat(100_000)))),
        ("empty agent id", Some(launch(""))),
        ("agent id of 10 KB", Some(launch(&long))),
        ("agent id with a line break", Some(launch("a\nb"))),
        ("agent id with glob characters", Some(launch("agent-[ab]?"))),
        ("no class", Some(spec(r#"{"id": "a", "name": "A", "description": "An agent."}"#))),
        ("malformed guild spec", Some(v1::Launch { guild_spec: b"{]".to_vec(), ..launch("a") })),
        ("malformed messaging", Some(v1::Launch { messaging_config: b"nope".to_vec(), ..launch("a") })),
        ("malformed client properties", Some(v1::Launch { client_properties: b"'".to_vec(), ..launch("a") })),
        ("unknown runner", Some(v1::Launch { runner: "spaceship".to_owned(), ..launch("a") })),
        (
            "no runner for the class",
            Some(spec(r#"{"id": "a", "name": "A", "description": "An agent.", "class_name": "other.A"}"#)),
        ),
        (
            "parts that are too large together",
            Some(v1::Launch { client_type: "x".repeat(4_193_000), ..launch("a") }),
        ),
    ];
    let mut told = String::new();
    for (case, launch) in cases {
        let request = v1::CreateAgentRequest { launch: launch.clone(), request_id: "r".to_owned() };
        let created = client.create_agent(request).await.map(drop);
        let ran = client.run_agent(run(launch)).await.map(drop);
        told += &format!("{case}\n  create: {}\n  run:    {}\n", refusal(created), refusal(ran));
    }
    insta::assert_snapshot!(told.replace(&long, "x…x"));
    assert_eq!(world.processes(), Vec::<u32>::new());
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_a_reason() {
    let world = world(1).await;
    let mut client = world.client().await;
    let told = &mut Told::default();
    told.add("a request without an id", create(&mut client, launch("a"), "").await);
    told.add("a request id of 1 KB", create(&mut client, launch("a"), &"r".repeat(1024)).await);
    told.add(
        "a runner that exits",
        create(&mut client, launch_that("a", r#"{"on_start": "exit:7"}"#), "r1").await,
    );
    told.add(
        "a runner that crashes",
        create(&mut client, launch_that("a", r#"{"on_start": "crash"}"#), "r2").await,
    );
    let never = launch_that("a", r#"{"on_start": "never_ready"}"#);
    let never = v1::Launch { runner: "hasty".to_owned(), ..never };
    told.add("a runner that is never ready", create(&mut client, never, "r3").await);

    let stop = |guild: &str, agent: &str| v1::StopAgentRequest {
        guild_id: guild.to_owned(),
        agent_id: agent.to_owned(),
        grace_ms: None,
        request_id: String::new(),
    };
    told.add("stop of nobody", client.stop_agent(stop("g", "nobody")).await);
    told.add("stop of a glob", client.stop_agent(stop("g", "*")).await);
    let get = |guild: &str, agent: &str| v1::GetAgentInfoRequest {
        guild_id: guild.to_owned(),
        agent_id: agent.to_owned(),
    };
    told.add("get of nobody", client.get_agent_info(get("g", "nobody")).await);
    told.add("get without a guild", client.get_agent_info(get("", "a")).await);
    let list = |guild: &str, token: &str| v1::ListAgentsRequest {
        guild_id: guild.to_owned(),
        page_size: 0,
        page_token: token.to_owned(),
    };
    told.add("list of a glob", client.list_agents(list("g*", "")).await);
    told.add("list from nowhere", client.list_agents(list("", "not a token")).await);
    told.add(
        "watch of a glob",
        client.watch_agents(v1::WatchAgentsRequest { guild_id: "[g]".to_owned() }).await,
    );

    for n in 0..3 {
        create(&mut client, launch(&format!("a{n}")), &format!("fill-{n}")).await.unwrap();
    }
    told.add("create of one that runs", create(&mut client, launch("a0"), "r4").await);
    told.add("create on a full host", create(&mut client, launch("b"), "r5").await);
    told.add("run on a full fleet", client.run_agent(run(Some(launch("b")))).await);
    world.fleet.hosts()[0].supervisor().cordon();
    told.add("create on a draining host", create(&mut client, launch("b"), "r6").await);
    insta::assert_snapshot!(told.0);
    world.end().await;
}

#[tokio::test]
async fn a_payload_of_20_mb_is_refused_and_the_connection_goes_on() {
    let world = world(1).await;
    let mut client: Client = world.client().await;
    let huge = v1::Launch { guild_spec: vec![b' '; 20_000_000], ..launch("a") };
    insta::assert_snapshot!(
        refusal(create(&mut client, huge, "r").await),
        @r#"InvalidArgument INVALID_LAUNCH {}: the request cannot be read: Error, decoded message length too large: found 20000132 bytes, the limit is: 4194304 bytes"#
    );
    // The same connection, and nearly as much as there may be.
    let large = v1::Launch { guild_spec: format!("\"{}\"", "x".repeat(4_180_000)).into(), ..launch("a") };
    create(&mut client, large, "r").await.unwrap();
    assert_eq!(world.processes().len(), 1);
    world.end().await;
}

#[derive(Default)]
struct Told(String);

impl Told {
    fn add<T>(&mut self, case: &str, result: Result<T, Status>) {
        self.0 += &format!("{case}\n  {}\n", refusal(result));
    }
}

/// Code, reason, details and words of an error, each of which must be there.
fn refusal<T>(result: Result<T, Status>) -> String {
    let status = result.err().expect("it should be refused");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("without a reason: {status:?}"));
    assert_eq!(info.domain, ERROR_DOMAIN);
    assert!(v1::ErrorReason::from_str_name(&info.reason).is_some(), "{} is not in the enum", info.reason);
    let details: std::collections::BTreeMap<_, _> = info.metadata.into_iter().collect();
    format!("{:?} {} {details:?}: {}", status.code(), info.reason, status.message())
}
