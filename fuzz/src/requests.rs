//! What hosts are asked over gRPC, and what they answer each other and engines. The first
//! byte says which message it is; the rest is its encoding.

use guildhall::{
    host::LeaseId,
    ids::{AgentKey, Epoch, GuildId, HostId},
    launch::Launch,
    wire,
};
use guildhall_host::{launch_document, page_key, page_token};
use guildhall_proto::v1;
use prost::Message;

pub(crate) fn run(data: &[u8]) -> bool {
    let Some((which, message)) = data.split_first() else { return false };
    read(*which, message).is_some()
}

/// Takes a message as the services do; `None` when they would refuse it.
fn read(which: u8, message: &[u8]) -> Option<()> {
    match which % 17 {
        0 => launch(decoded::<v1::CreateAgentRequest>(message)?.launch?),
        1 => launch(decoded::<v1::RunAgentRequest>(message)?.launch?),
        2 => {
            let request: v1::StopAgentRequest = decoded(message)?;
            key(&request.guild_id, &request.agent_id)
        }
        3 => {
            let request: v1::GetAgentInfoRequest = decoded(message)?;
            key(&request.guild_id, &request.agent_id)
        }
        4 => {
            let request: v1::ListAgentsRequest = decoded(message)?;
            guild(&request.guild_id)?;
            page(&request.page_token)
        }
        5 => decoded::<v1::HealthRequest>(message).map(drop),
        6 => guild(&decoded::<v1::WatchAgentsRequest>(message)?.guild_id),
        7 => {
            let request: v1::MoveAgentRequest = decoded(message)?;
            if !request.to_host_id.is_empty() {
                HostId::new(&request.to_host_id).ok()?;
            }
            key(&request.guild_id, &request.agent_id)
        }
        8 => decoded::<v1::CordonRequest>(message).map(drop),
        9 => decoded::<v1::UncordonRequest>(message).map(drop),
        10 => decoded::<v1::DrainRequest>(message).map(drop),
        11 => {
            let request: v1::AdoptAgentRequest = decoded(message)?;
            wire::noted_policy(request.placed_by).ok()?;
            key(&request.guild_id, &request.agent_id)
        }
        12 => {
            let request: v1::PromiseRequest = decoded(message)?;
            leases(request.member_lease, request.holder_lease)
        }
        13 => {
            let request: v1::VoteRequest = decoded(message)?;
            leases(request.member_lease, request.holder_lease)
        }
        14 => agent(decoded(message)?),
        15 => wire::host_from_wire(decoded(message)?).ok().map(drop),
        _ => wire::EventReader::default().read(decoded(message)?).ok().map(drop),
    }
}

/// The message, which must come out of its own encoding as it was.
fn decoded<M: Message + Default + PartialEq>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(message.encode_to_vec().as_slice()).expect("it reads what it wrote");
    // Not the messages: a NaN in them differs from itself.
    assert_eq!(again.encoded_len(), message.encoded_len());
    Some(message)
}

/// What was taken can be run, sent on, and told to a runner in one line.
fn launch(message: v1::Launch) -> Option<()> {
    let launch = wire::launch_from_wire(message).ok()?;
    let sent = wire::launch_to_wire(&launch);
    let again: Launch = wire::launch_from_wire(sent.clone()).expect("what was taken is taken again");
    assert_eq!(wire::launch_to_wire(&again), sent);
    let host = HostId::new("h").expect("an id");
    let document = launch_document::render(&launch, Epoch(1), &host);
    assert!(!document.contains('\n'));
    let _: serde_json::Value = serde_json::from_str(&document).expect("a launch document is JSON");
    Some(())
}

fn agent(message: v1::AgentInfo) -> Option<()> {
    let sent = wire::agent_to_wire(wire::agent_from_wire(message).ok()?);
    let again = wire::agent_from_wire(sent.clone()).expect("what was taken is taken again");
    assert_eq!(wire::agent_to_wire(again), sent);
    Some(())
}

fn key(guild_id: &str, agent_id: &str) -> Option<()> {
    let key: AgentKey = wire::agent_key(guild_id, agent_id).ok()?;
    assert_eq!(page_key(&page_token(&key)).ok(), Some(key));
    Some(())
}

fn guild(id: &str) -> Option<()> {
    if id.is_empty() { Some(()) } else { GuildId::new(id).ok().map(drop) }
}

fn page(token: &str) -> Option<()> {
    if token.is_empty() {
        return Some(());
    }
    let key = page_key(token).ok()?;
    assert_eq!(page_token(&key), token);
    Some(())
}

fn leases(member: String, holder: String) -> Option<()> {
    LeaseId::new(member).ok()?;
    LeaseId::new(holder).ok().map(drop)
}
