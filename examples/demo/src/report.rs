//! What the demo shows: a table for people, one JSON object for programs.

use std::{sync::Arc, time::Duration};

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use guildhall::{agent::AgentInfo, host::LiveHost, placement::PolicyIdentity, spec::GuildSpec};
use serde::Serialize;

/// The whole demo as JSON.
#[derive(Serialize)]
pub(crate) struct Report {
    guild: String,
    policy: PolicyIdentity,
    hosts: Vec<Host>,
    agents: Vec<Agent>,
    restarted: Restarted,
    pub(crate) left_over_processes: usize,
}

#[derive(Serialize)]
struct Host {
    id: String,
    agents: usize,
}

#[derive(Serialize)]
struct Agent {
    id: String,
    name: String,
    host: String,
    pid: Option<u32>,
    epoch: u64,
    state: &'static str,
    start_ms: Option<u64>,
}

/// The agent that was killed and came back.
#[derive(Serialize)]
pub(crate) struct Restarted {
    agent: String,
    from_epoch: u64,
    to_epoch: u64,
    ms: u64,
}

impl Restarted {
    pub(crate) fn new(before: &AgentInfo, after: &AgentInfo, took: Duration) -> Self {
        Self {
            agent: after.key.agent.to_string(),
            from_epoch: before.epoch.0,
            to_epoch: after.epoch.0,
            ms: took.as_millis() as u64,
        }
    }
}

impl Report {
    pub(crate) fn new(
        guild: &GuildSpec,
        policy: &PolicyIdentity,
        hosts: &[Arc<LiveHost>],
        agents: &[AgentInfo],
        restarted: Restarted,
    ) -> Self {
        let on = |host: &LiveHost| agents.iter().filter(|agent| agent.host == host.info.id).count();
        Self {
            guild: guild.id().to_string(),
            policy: policy.clone(),
            hosts: hosts.iter().map(|host| Host { id: host.info.id.to_string(), agents: on(host) }).collect(),
            agents: agents.iter().map(Agent::new).collect(),
            restarted,
            left_over_processes: 0,
        }
    }
}

impl Agent {
    fn new(agent: &AgentInfo) -> Self {
        Self {
            id: agent.key.agent.to_string(),
            name: agent.name.clone(),
            host: agent.host.to_string(),
            pid: agent.pid,
            epoch: agent.epoch.0,
            state: agent.state.as_str(),
            start_ms: agent.start_ms,
        }
    }
}

/// The agents as a table.
pub(crate) fn table(agents: &[AgentInfo]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header([
        "agent",
        "host",
        "pid",
        "epoch",
        "state",
        "started in",
    ]);
    for agent in agents {
        table.add_row([
            agent.key.agent.to_string(),
            agent.host.to_string(),
            agent.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            agent.epoch.to_string(),
            agent.state.to_string(),
            agent.start_ms.map(|ms| format!("{ms} ms")).unwrap_or_default(),
        ]);
    }
    table.to_string()
}
