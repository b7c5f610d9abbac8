//! Domain types to and from the generated gRPC types. Nothing else in the SDK
//! names a generated message, but for the calls themselves; hosts use this module
//! for their side.

use std::{collections::HashMap, sync::Arc, time::Duration};

use guildhall_proto::{ERROR_DOMAIN, v1};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    agent::{AgentEvent, AgentInfo, AgentState, LastExit},
    fault::{Fault, FaultReason, RETRY_AFTER_MS},
    host::{HostInfo, HostLoad, LeaseTerms},
    ids::{AgentId, AgentKey, Epoch, GuildId, HostId, InvalidId},
    launch::{InvalidLaunch, Json, Launch},
    placement::{InvalidDigest, PolicyIdentity},
    resources::Amounts,
};

/// Longest name of a policy, bytes: it is in every record of an agent.
const MAX_POLICY_NAME_BYTES: usize = 512;

/// Something a peer sent that does not make sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// An id cannot be used.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The policy's hash is not one.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// A text is longer than any that makes sense.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// A field that must be there is not.
    #[error("the message lacks {0}")]
    Missing(&'static str),
}

/// The identity in a request.
///
/// # Errors
/// [`InvalidId`] names the id that is wrong.
pub fn agent_key(guild_id: &str, agent_id: &str) -> Result<AgentKey, InvalidId> {
    Ok(AgentKey::new(GuildId::new(guild_id)?, AgentId::new(agent_id)?))
}

/// A launch for the wire.
pub fn launch_to_wire(launch: &Launch) -> v1::Launch {
    v1::Launch {
        guild_id: launch.key.guild.to_string(),
        agent_spec: launch.agent_spec.as_str().into(),
        guild_spec: launch.guild_spec.as_str().into(),
        messaging_config: launch.messaging.as_str().into(),
        client_properties: launch.client_properties.as_str().into(),
        client_type: launch.client_type.clone(),
        organization_id: launch.organization_id.clone(),
        machine_id: launch.machine_id,
        default_topic: launch.default_topic.clone(),
        runner: launch.runner.clone().unwrap_or_default(),
        labels: launch.labels.clone().into_iter().collect(),
        placed_by: launch.placed_by.as_deref().map(policy_to_wire),
    }
}

/// A launch from the wire: checked, so that what comes out can be run.
///
/// # Errors
/// [`InvalidLaunch`] names the field that is wrong.
pub fn launch_from_wire(launch: v1::Launch) -> Result<Launch, InvalidLaunch> {
    let optional = |field, text: &[u8]| {
        if text.is_empty() { Ok(Json::empty()) } else { Json::parse(field, text) }
    };
    let launched = Launch::from_agent_spec(GuildId::new(&launch.guild_id)?, &launch.agent_spec)?;
    let launched = Launch {
        guild_spec: optional("guild_spec", &launch.guild_spec)?,
        messaging: optional("messaging_config", &launch.messaging_config)?,
        client_properties: optional("client_properties", &launch.client_properties)?,
        client_type: launch.client_type,
        organization_id: launch.organization_id,
        machine_id: launch.machine_id,
        default_topic: launch.default_topic,
        runner: Some(launch.runner).filter(|name| !name.is_empty()),
        labels: launch.labels.into_iter().collect(),
        placed_by: noted_policy(launch.placed_by)
            .map_err(|error| InvalidLaunch::Field { field: "placed_by", reason: error.to_string() })?,
        ..launched
    };
    launched.check()?;
    Ok(launched)
}

/// A launch as registries keep it: all but the guild's spec, which its agents share.
pub(crate) fn launch_without_guild(launch: &Launch) -> Vec<u8> {
    prost::Message::encode_to_vec(&v1::Launch { guild_spec: Vec::new(), ..launch_to_wire(launch) })
}

/// The launch that was kept in these two parts. Public for the fuzzer alone.
#[doc(hidden)]
pub fn launch_with_guild(launch: &[u8], guild_spec: &[u8]) -> Result<Launch, InvalidLaunch> {
    let launch: v1::Launch = prost::Message::decode(launch).map_err(|error: prost::DecodeError| {
        InvalidLaunch::Field { field: "launch", reason: error.to_string() }
    })?;
    launch_from_wire(v1::Launch { guild_spec: guild_spec.to_vec(), ..launch })
}

/// An agent for the wire.
pub fn agent_to_wire(agent: AgentInfo) -> v1::AgentInfo {
    v1::AgentInfo {
        guild_id: agent.key.guild.into(),
        agent_id: agent.key.agent.into(),
        name: agent.name,
        class_name: agent.class_name,
        host_id: agent.host.into(),
        pid: agent.pid.unwrap_or(0),
        state: state_to_wire(agent.state).into(),
        epoch: agent.epoch.0,
        created_at_ms: agent.created_at_ms,
        start_ms: agent.start_ms,
        restarts: agent.restarts,
        last_exit: agent.last_exit.map(|exit| v1::LastExit {
            code: exit.code,
            signal: exit.signal,
            reason: exit.reason,
            stderr: exit.stderr,
        }),
        request_id: agent.request_id,
        placed_by: agent.placed_by.as_deref().map(policy_to_wire),
        failed_on: agent.failed_on.into_iter().map(Into::into).collect(),
    }
}

/// An agent from the wire.
///
/// # Errors
/// [`InvalidMessage`] says what does not make sense.
pub fn agent_from_wire(agent: v1::AgentInfo) -> Result<AgentInfo, InvalidMessage> {
    let state = state_from_wire(agent.state()).ok_or(InvalidMessage::Missing("the agent's state"))?;
    Ok(AgentInfo {
        key: agent_key(&agent.guild_id, &agent.agent_id)?,
        name: agent.name,
        class_name: agent.class_name,
        host: HostId::new(&agent.host_id)?,
        pid: Some(agent.pid).filter(|pid| *pid != 0),
        state,
        epoch: Epoch(agent.epoch),
        created_at_ms: agent.created_at_ms,
        start_ms: agent.start_ms,
        restarts: agent.restarts,
        last_exit: agent.last_exit.map(|exit| LastExit {
            code: exit.code,
            signal: exit.signal,
            reason: exit.reason,
            stderr: exit.stderr,
        }),
        request_id: agent.request_id,
        placed_by: noted_policy(agent.placed_by)?,
        failed_on: agent.failed_on.iter().map(HostId::new).collect::<Result<_, _>>()?,
    })
}

fn state_to_wire(state: AgentState) -> v1::AgentState {
    match state {
        AgentState::Starting => v1::AgentState::Starting,
        AgentState::Running => v1::AgentState::Running,
        AgentState::Restarting => v1::AgentState::Restarting,
        AgentState::Stopping => v1::AgentState::Stopping,
        AgentState::Finished => v1::AgentState::Finished,
        AgentState::Failed => v1::AgentState::Failed,
        AgentState::Waiting => v1::AgentState::Waiting,
        AgentState::Lost => v1::AgentState::Lost,
    }
}

fn state_from_wire(state: v1::AgentState) -> Option<AgentState> {
    Some(match state {
        v1::AgentState::Unspecified => return None,
        v1::AgentState::Starting => AgentState::Starting,
        v1::AgentState::Running => AgentState::Running,
        v1::AgentState::Restarting => AgentState::Restarting,
        v1::AgentState::Stopping => AgentState::Stopping,
        v1::AgentState::Finished => AgentState::Finished,
        v1::AgentState::Failed => AgentState::Failed,
        v1::AgentState::Waiting => AgentState::Waiting,
        v1::AgentState::Lost => AgentState::Lost,
    })
}

/// Agents in one part of a snapshot or of a list. A record has mostly under 1 KiB,
/// and 9 KiB when all that is bounded in it is at its bound (ids, name, class, and
/// 2 KiB of standard error whose every byte takes three); so a part stays below the
/// 4 MiB that gRPC takes by default.
pub const AGENTS_PER_MESSAGE: usize = 400;

/// An event for the wire. A snapshot becomes as many parts as its size asks for.
pub fn event_to_wire(event: AgentEvent) -> Vec<v1::WatchAgentsResponse> {
    use v1::watch_agents_response::{Event, Removed, Snapshot};
    let response = |event| v1::WatchAgentsResponse { event: Some(event) };
    match event {
        AgentEvent::Snapshot(agents) => {
            let mut agents: Vec<_> = agents.into_iter().map(agent_to_wire).collect();
            let mut parts = Vec::new();
            loop {
                let rest = agents.split_off(agents.len().min(AGENTS_PER_MESSAGE));
                let more = !rest.is_empty();
                parts.push(response(Event::Snapshot(Snapshot { agents, more })));
                if !more {
                    return parts;
                }
                agents = rest;
            }
        }
        AgentEvent::Changed(agent) => vec![response(Event::Changed(agent_to_wire(agent)))],
        AgentEvent::Removed { key, epoch } => vec![response(Event::Removed(Removed {
            guild_id: key.guild.into(),
            agent_id: key.agent.into(),
            epoch: epoch.0,
        }))],
    }
}

/// Puts the parts of events together again.
#[derive(Default)]
pub struct EventReader {
    snapshot: Vec<AgentInfo>,
}

impl EventReader {
    /// Takes one message; answers the event that it completes, if it does.
    ///
    /// # Errors
    /// [`InvalidMessage`] says what does not make sense.
    pub fn read(&mut self, response: v1::WatchAgentsResponse) -> Result<Option<AgentEvent>, InvalidMessage> {
        use v1::watch_agents_response::Event;
        Ok(match response.event.ok_or(InvalidMessage::Missing("an event"))? {
            Event::Snapshot(part) => {
                for agent in part.agents {
                    self.snapshot.push(agent_from_wire(agent)?);
                }
                (!part.more).then(|| AgentEvent::Snapshot(std::mem::take(&mut self.snapshot)))
            }
            Event::Changed(agent) => Some(AgentEvent::Changed(agent_from_wire(agent)?)),
            Event::Removed(removed) => Some(AgentEvent::Removed {
                key: agent_key(&removed.guild_id, &removed.agent_id)?,
                epoch: Epoch(removed.epoch),
            }),
        })
    }
}

/// A host for the wire.
pub fn host_to_wire(host: HostInfo, lease_in_force: bool) -> v1::HealthResponse {
    v1::HealthResponse {
        host_id: host.id.into(),
        labels: host.labels.into_iter().collect(),
        capacity: host.capacity,
        running: host.load.running,
        starts_in_flight: host.load.starts_in_flight,
        cpu_fraction: host.load.cpu_fraction,
        memory_used: host.load.memory_used,
        memory_total: host.load.memory_total,
        draining: host.draining,
        policy: Some(policy_to_wire(&host.policy)),
        // For the one who knows the policy at work to fill in.
        deciding_policy: None,
        policy_failure: String::new(),
        allocatable: host.allocatable.map(amounts_to_wire),
        requested: Some(amounts_to_wire(host.load.requested)),
        cpu_used_millis: host.load.cpu_used_millis,
        warm: host.load.warm.into_iter().collect(),
        lease_in_force,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        endpoint: host.endpoint,
    }
}

/// A policy, for the wire.
pub fn policy_to_wire(policy: &PolicyIdentity) -> v1::Policy {
    v1::Policy { name: policy.name.clone(), sha256: policy.sha256.to_string() }
}

/// The policy that chose a host.
///
/// # Errors
/// [`InvalidMessage`] says what does not make sense.
pub fn noted_policy(policy: Option<v1::Policy>) -> Result<Option<Arc<PolicyIdentity>>, InvalidMessage> {
    let noted = |policy| policy_from_wire(policy).map(Arc::new);
    policy.map(noted).transpose()
}

fn policy_from_wire(policy: v1::Policy) -> Result<PolicyIdentity, InvalidMessage> {
    if policy.name.len() > MAX_POLICY_NAME_BYTES {
        return Err(InvalidMessage::TooLong("the policy's name"));
    }
    Ok(PolicyIdentity { name: policy.name, sha256: policy.sha256.try_into()? })
}

fn amounts_to_wire(amounts: Amounts) -> v1::Resources {
    v1::Resources {
        cpu_millis: amounts.cpu_millis,
        memory: amounts.memory,
        accelerator_millis: amounts.accelerator_millis,
        custom: amounts.custom.into_iter().collect(),
    }
}

fn amounts_from_wire(resources: v1::Resources) -> Amounts {
    Amounts {
        cpu_millis: resources.cpu_millis,
        memory: resources.memory,
        accelerator_millis: resources.accelerator_millis,
        custom: resources.custom.into_iter().collect(),
    }
}

/// A host from the wire.
///
/// # Errors
/// [`InvalidMessage`] says what does not make sense.
pub fn host_from_wire(host: v1::HealthResponse) -> Result<HostInfo, InvalidMessage> {
    let policy = host.policy.ok_or(InvalidMessage::Missing("the host's policy"))?;
    Ok(HostInfo {
        id: HostId::new(&host.host_id)?,
        endpoint: host.endpoint,
        labels: host.labels.into_iter().collect(),
        capacity: host.capacity,
        allocatable: host.allocatable.map(amounts_from_wire),
        draining: host.draining,
        load: HostLoad {
            running: host.running,
            starts_in_flight: host.starts_in_flight,
            requested: host.requested.map(amounts_from_wire).unwrap_or_default(),
            cpu_fraction: host.cpu_fraction,
            cpu_used_millis: host.cpu_used_millis,
            memory_used: host.memory_used,
            memory_total: host.memory_total,
            warm: host.warm.into_iter().collect(),
        },
        policy: policy_from_wire(policy)?,
        // Only the registry's users have a use for them.
        terms: LeaseTerms::default(),
    })
}

/// The status that tells a fault.
pub fn fault_to_status(fault: Fault) -> Status {
    let code = match fault.reason {
        FaultReason::InvalidLaunch | FaultReason::UnknownRunner => Code::InvalidArgument,
        FaultReason::NoRunnerForClass => Code::FailedPrecondition,
        FaultReason::CapacityExhausted | FaultReason::PlacementRefused | FaultReason::Overloaded => {
            Code::ResourceExhausted
        }
        FaultReason::NotSettled => Code::Unavailable,
        FaultReason::Draining | FaultReason::RegistryUnavailable | FaultReason::HostUnreachable => {
            Code::Unavailable
        }
        FaultReason::AlreadyRunning => Code::AlreadyExists,
        FaultReason::StartFailed | FaultReason::StartTimeout => Code::Aborted,
        FaultReason::AgentNotFound => Code::NotFound,
        FaultReason::PolicyFailed | FaultReason::Internal => Code::Internal,
        FaultReason::StartCancelled => Code::Cancelled,
        FaultReason::TimedOut => Code::DeadlineExceeded,
    };
    let retry_after = fault.details.get(RETRY_AFTER_MS).and_then(|ms| ms.parse().ok());
    let details: HashMap<String, String> = fault.details.into_iter().collect();
    let mut details = ErrorDetails::with_error_info(fault.reason.as_str(), ERROR_DOMAIN, details);
    if let Some(ms) = retry_after {
        details.set_retry_info(Some(Duration::from_millis(ms)));
    }
    Status::with_error_details(code, fault.message, details)
}

/// The fault that a status tells. A status without a reason is not one that a host
/// made, but the transport's own or a proxy's: the call took too long, or the host
/// could not be reached or was cut off half way.
pub fn fault_from_status(status: &Status) -> Fault {
    if let Some(info) = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN) {
        let reason = FaultReason::from_name(&info.reason).unwrap_or(FaultReason::Internal);
        let details = info.metadata.into_iter().collect();
        return Fault { reason, message: status.message().to_owned(), details };
    }
    let reason = match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => FaultReason::TimedOut,
        Code::OutOfRange => FaultReason::InvalidLaunch,
        Code::Unavailable | Code::Unknown | Code::ResourceExhausted => FaultReason::HostUnreachable,
        // A connection that the other side closes half way through a call.
        Code::Internal if std::error::Error::source(status).is_some() => FaultReason::HostUnreachable,
        _ => FaultReason::Internal,
    };
    Fault::new(reason, transport_message(status))
}

/// What the transport says, with the causes it keeps behind a general word.
fn transport_message(status: &Status) -> String {
    let mut message = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(n: usize) -> AgentInfo {
        AgentInfo {
            key: agent_key("guild", &format!("agent-{n}")).unwrap(),
            name: "An agent".to_owned(),
            class_name: "demo.Echo".to_owned(),
            host: HostId::new("host-1").unwrap(),
            pid: Some(7),
            state: AgentState::Failed,
            epoch: Epoch(3),
            created_at_ms: 1,
            start_ms: Some(4),
            restarts: 2,
            last_exit: Some(LastExit {
                code: None,
                signal: Some(9),
                reason: "killed by signal 9".to_owned(),
                stderr: "oh".to_owned(),
            }),
            failed_on: vec![HostId::new("host-2").unwrap()],
            request_id: "r".to_owned(),
            placed_by: Some(Arc::new(PolicyIdentity {
                name: "p".to_owned(),
                sha256: crate::placement::Sha256Digest::of(b"p"),
            })),
        }
    }

    #[test]
    fn agents_and_events_go_there_and_back() {
        let events = [
            AgentEvent::Snapshot(Vec::new()),
            AgentEvent::Snapshot((0..1201).map(agent).collect()),
            AgentEvent::Changed(agent(1)),
            AgentEvent::Removed { key: agent(1).key, epoch: Epoch(9) },
        ];
        for event in events {
            let mut reader = EventReader::default();
            let mut read: Vec<_> = event_to_wire(event.clone())
                .into_iter()
                .filter_map(|part| reader.read(part).unwrap())
                .collect();
            assert_eq!(read.pop(), Some(event));
            assert_eq!(read, []);
        }
    }

    #[test]
    fn a_launch_goes_there_and_back() {
        let spec = br#"{"id":"a","name":"A","description":"An agent","class_name":"demo.Echo"}"#;
        let launch = Launch {
            labels: [("zone".to_owned(), "b".to_owned())].into(),
            machine_id: 7,
            runner: Some("echo".to_owned()),
            ..Launch::from_agent_spec(GuildId::new("g").unwrap(), spec).unwrap()
        };
        let back = launch_from_wire(launch_to_wire(&launch)).unwrap();
        assert_eq!(format!("{back:?}"), format!("{launch:?}"));
        assert_eq!(back.agent_spec, launch.agent_spec);
    }

    #[test]
    fn what_the_transport_says_leads_to_another_host_where_one_may_help() {
        let closed = || Status::from_error(std::io::Error::other("connection closed").into());
        for (status, reason) in [
            (Status::unavailable("connect error"), FaultReason::HostUnreachable),
            (Status::unknown("broken pipe"), FaultReason::HostUnreachable),
            (Status::resource_exhausted("a proxy is overloaded"), FaultReason::HostUnreachable),
            (closed(), FaultReason::HostUnreachable),
            (Status::deadline_exceeded("late"), FaultReason::TimedOut),
            (Status::out_of_range("too large"), FaultReason::InvalidLaunch),
            (Status::internal("a bug"), FaultReason::Internal),
        ] {
            assert_eq!(fault_from_status(&status).reason, reason, "{status:?}");
        }
    }

    #[test]
    fn every_reason_survives_a_status_and_is_in_the_proto() {
        for reason in FaultReason::ALL {
            let fault = Fault::new(*reason, "why").with("host", "h");
            assert_eq!(fault_from_status(&fault_to_status(fault.clone())), fault);
            assert!(v1::ErrorReason::from_str_name(reason.as_str()).is_some(), "{reason}");
        }
    }
}
