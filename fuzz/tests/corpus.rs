//! The inputs in `corpus/`, given to their targets. `WRITE_SEEDS=1` writes those that are
//! made of messages anew.

use std::{fs, path::PathBuf};

use guildhall_fuzz::TARGETS;
use guildhall_proto::v1;
use prost::Message;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

#[test]
fn no_input_breaks_its_target() {
    for target in TARGETS {
        let inputs = fs::read_dir(corpus(target.name)).unwrap();
        let made_sense = inputs.map(|input| (target.run)(&fs::read(input.unwrap().path()).unwrap()));
        assert!(made_sense.filter(|sense| *sense).count() > 0, "{}: no input makes sense", target.name);
    }
}

#[test]
fn the_seeds_are_what_the_messages_are() {
    let seeds = requests().into_iter().map(|(name, bytes)| ("requests", name, bytes));
    for (target, name, bytes) in seeds.chain(records().map(|(name, bytes)| ("records", name, bytes))) {
        let file = corpus(target).join(name);
        if std::env::var_os("WRITE_SEEDS").is_some() {
            fs::write(&file, &bytes).unwrap();
        }
        assert_eq!(fs::read(&file).unwrap(), bytes, "{}: write it with WRITE_SEEDS=1", file.display());
        let target = TARGETS.iter().find(|known| known.name == target).unwrap();
        assert!((target.run)(&bytes), "{name} makes no sense to {}", target.name);
    }
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    fn seed(which: u8, message: &impl Message) -> Vec<u8> {
        [vec![which], message.encode_to_vec()].concat()
    }
    let (guild_id, agent_id) = (String::from("g1"), String::from("a1"));
    let (request_id, member_lease, holder_lease) = (String::from("r"), String::from("m"), String::from("l"));
    vec![
        (
            "create",
            seed(0, &v1::CreateAgentRequest { launch: Some(launch()), request_id: request_id.clone() }),
        ),
        ("run", seed(1, &v1::RunAgentRequest { launch: Some(launch()), ..Default::default() })),
        (
            "stop",
            seed(
                2,
                &v1::StopAgentRequest {
                    guild_id: guild_id.clone(),
                    agent_id: agent_id.clone(),
                    grace_ms: Some(500),
                    request_id: request_id.clone(),
                },
            ),
        ),
        ("get", seed(3, &v1::GetAgentInfoRequest { guild_id: guild_id.clone(), agent_id: agent_id.clone() })),
        (
            "list",
            seed(
                4,
                &v1::ListAgentsRequest {
                    guild_id: guild_id.clone(),
                    page_size: 2,
                    page_token: "g1\u{1f}a1".to_owned(),
                },
            ),
        ),
        ("health", seed(5, &v1::HealthRequest {})),
        ("watch", seed(6, &v1::WatchAgentsRequest { guild_id: guild_id.clone() })),
        (
            "move",
            seed(
                7,
                &v1::MoveAgentRequest {
                    guild_id: guild_id.clone(),
                    agent_id: agent_id.clone(),
                    to_host_id: "h2".to_owned(),
                    request_id: request_id.clone(),
                },
            ),
        ),
        ("cordon", seed(8, &v1::CordonRequest { request_id: request_id.clone() })),
        ("uncordon", seed(9, &v1::UncordonRequest { request_id: request_id.clone() })),
        ("drain", seed(10, &v1::DrainRequest { within_ms: 9, request_id: request_id.clone() })),
        (
            "adopt",
            seed(
                11,
                &v1::AdoptAgentRequest {
                    guild_id,
                    agent_id,
                    epoch: 7,
                    request_id,
                    placed_by: Some(policy()),
                    overlap: true,
                },
            ),
        ),
        (
            "promise",
            seed(
                12,
                &v1::PromiseRequest {
                    member_lease: member_lease.clone(),
                    holder_lease: holder_lease.clone(),
                    holder_host_id: "h2".to_owned(),
                    term_ms: 900,
                },
            ),
        ),
        (
            "vote",
            seed(
                13,
                &v1::VoteRequest {
                    member_lease,
                    holder_lease,
                    holder_host_id: "h2".to_owned(),
                    term_ms: u64::MAX,
                },
            ),
        ),
        ("agent", seed(14, &agent())),
        (
            "host",
            seed(
                15,
                &v1::HealthResponse {
                    host_id: "h1".to_owned(),
                    capacity: 9,
                    cpu_fraction: 0.5,
                    policy: Some(policy()),
                    allocatable: Some(v1::Resources {
                        cpu_millis: 500,
                        custom: [("tpu".to_owned(), 1.5)].into(),
                        ..Default::default()
                    }),
                    ..Default::default()
                },
            ),
        ),
        (
            "event",
            seed(
                16,
                &v1::WatchAgentsResponse {
                    event: Some(v1::watch_agents_response::Event::Snapshot(
                        v1::watch_agents_response::Snapshot { agents: vec![agent()], more: false },
                    )),
                },
            ),
        ),
    ]
}

fn records() -> [(&'static str, Vec<u8>); 3] {
    let mut launched = launch().encode_to_vec();
    // Unknown fields are skipped, so one of them fills the launch up to where the spec begins.
    let missing = (16 - (launched.len() + 3) % 16) % 16;
    launched.extend([0xf2, 0x01, u8::try_from(missing).unwrap()]);
    launched.resize(launched.len() + missing, 0);
    let begins = u8::try_from(launched.len() / 16).unwrap();
    let entry = |text: &str| [&[u8::MAX], text.as_bytes()].concat();
    [
        ("launch", [vec![begins], launched, br#"{"id":"g1"}"#.to_vec()].concat()),
        ("view", entry(r#"["l1","h1 http://h1:50051","l2","h2 http://h2:50051"]"#)),
        ("agent", entry(include_str!("agent_entry.txt").trim_end())),
    ]
}

fn launch() -> v1::Launch {
    v1::Launch {
        guild_id: "g1".to_owned(),
        agent_spec: br#"{"id":"a1","name":"A","description":"d","class_name":"x.A"}"#.to_vec(),
        client_properties: br#"{"a":[1.50]}"#.to_vec(),
        machine_id: 3,
        runner: "echo".to_owned(),
        labels: [("zone".to_owned(), "eu".to_owned())].into(),
        placed_by: Some(policy()),
        ..Default::default()
    }
}

fn policy() -> v1::Policy {
    v1::Policy { name: "round-robin".to_owned(), sha256: "5a".repeat(32) }
}

fn agent() -> v1::AgentInfo {
    v1::AgentInfo {
        guild_id: "g1".to_owned(),
        agent_id: "a1".to_owned(),
        name: "A".to_owned(),
        class_name: "x.A".to_owned(),
        host_id: "h1".to_owned(),
        pid: 9,
        state: v1::AgentState::Running.into(),
        epoch: 7,
        start_ms: Some(3),
        last_exit: Some(v1::LastExit { code: Some(-1), reason: "exited".to_owned(), ..Default::default() }),
        placed_by: Some(policy()),
        failed_on: vec!["h2".to_owned()],
        ..Default::default()
    }
}
