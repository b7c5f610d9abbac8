//! Agents, events and hosts as Python sees them.

use std::{collections::BTreeMap, sync::Arc};

use guildhall::{agent, host::LiveHost};
use pyo3::{Py, PyResult, Python, pyclass, pymethods};

/// How the last process of an agent ended.
#[pyclass(frozen, get_all, eq, module = "guildhall")]
#[derive(Debug, PartialEq)]
pub(crate) struct LastExit {
    /// Its exit code, when it exited by itself.
    code: Option<i32>,
    /// The signal that ended it, when one did.
    signal: Option<i32>,
    /// What happened, in words.
    reason: String,
    /// The last lines it wrote to standard error.
    stderr: String,
}

#[pymethods]
impl LastExit {
    fn __repr__(&self) -> String {
        format!("LastExit(reason={:?}, code={:?}, signal={:?})", self.reason, self.code, self.signal)
    }
}

/// One agent as its host last wrote it down.
#[pyclass(frozen, module = "guildhall")]
#[derive(Debug)]
pub(crate) struct AgentInfo {
    pub(crate) record: agent::AgentInfo,
    /// The guild it belongs to.
    #[pyo3(get)]
    guild_id: String,
    /// Its id within the guild.
    #[pyo3(get)]
    agent_id: String,
    /// Its name in the guild spec.
    #[pyo3(get)]
    name: String,
    /// The class that it is made from.
    #[pyo3(get)]
    class_name: String,
    /// The host that it runs on.
    #[pyo3(get)]
    host: String,
    /// Its process, while it has one.
    #[pyo3(get)]
    pid: Option<u32>,
    /// starting, running, restarting, stopping, waiting, finished, failed or lost.
    #[pyo3(get)]
    state: &'static str,
    /// Its incarnation: grows with every start.
    #[pyo3(get)]
    epoch: u64,
    /// When it was accepted, milliseconds since 1970 by the host's clock.
    #[pyo3(get)]
    created_at_ms: u64,
    /// From spawn to ready of its latest process, in milliseconds.
    #[pyo3(get)]
    start_ms: Option<u64>,
    /// How often it was restarted.
    #[pyo3(get)]
    restarts: u32,
    /// How its last process ended, if one did.
    #[pyo3(get)]
    last_exit: Option<Py<LastExit>>,
    /// The id of the call that started it.
    #[pyo3(get)]
    request_id: String,
    /// The policy that chose the host; None when none did.
    #[pyo3(get)]
    placed_by: Option<String>,
    /// Hosts on which it was restarted in vain.
    #[pyo3(get)]
    failed_on: Vec<String>,
}

impl AgentInfo {
    pub(crate) fn new(py: Python<'_>, agent: &agent::AgentInfo) -> PyResult<Self> {
        let last_exit = agent.last_exit.clone().map(|exit| {
            let agent::LastExit { code, signal, reason, stderr } = exit;
            Py::new(py, LastExit { code, signal, reason, stderr })
        });
        Ok(Self {
            record: agent.clone(),
            guild_id: agent.key.guild.to_string(),
            agent_id: agent.key.agent.to_string(),
            name: agent.name.clone(),
            class_name: agent.class_name.clone(),
            host: agent.host.to_string(),
            pid: agent.pid,
            state: agent.state.as_str(),
            epoch: agent.epoch.0,
            created_at_ms: agent.created_at_ms,
            start_ms: agent.start_ms,
            restarts: agent.restarts,
            last_exit: last_exit.transpose()?,
            request_id: agent.request_id.clone(),
            placed_by: agent.placed_by.as_ref().map(ToString::to_string),
            failed_on: agent.failed_on.iter().map(ToString::to_string).collect(),
        })
    }

    pub(crate) fn list(py: Python<'_>, agents: &[agent::AgentInfo]) -> PyResult<Vec<Self>> {
        agents.iter().map(|agent| Self::new(py, agent)).collect()
    }
}

#[pymethods]
impl AgentInfo {
    fn __repr__(&self) -> String {
        format!(
            "AgentInfo({}/{} {} on {} epoch={} pid={:?})",
            self.guild_id, self.agent_id, self.state, self.host, self.epoch, self.pid
        )
    }
}

/// What a watcher of a guild sees.
#[pyclass(frozen, get_all, module = "guildhall")]
#[derive(Debug)]
pub(crate) struct AgentEvent {
    /// snapshot, changed or removed.
    kind: &'static str,
    /// Of a snapshot all agents, of a change the one agent, of a removal none.
    agents: Vec<Py<AgentInfo>>,
    /// The agent that changed or was removed; None of a snapshot.
    agent_id: Option<String>,
    /// Its incarnation; None of a snapshot.
    epoch: Option<u64>,
}

impl AgentEvent {
    /// `None` for what this version has no word for.
    pub(crate) fn new(py: Python<'_>, event: &agent::AgentEvent) -> PyResult<Option<Self>> {
        let one = |agent| Py::new(py, AgentInfo::new(py, agent)?);
        Ok(Some(match event {
            agent::AgentEvent::Snapshot(agents) => Self {
                kind: "snapshot",
                agents: agents.iter().map(one).collect::<PyResult<_>>()?,
                agent_id: None,
                epoch: None,
            },
            agent::AgentEvent::Changed(agent) => Self {
                kind: "changed",
                agents: vec![one(agent)?],
                agent_id: Some(agent.key.agent.to_string()),
                epoch: Some(agent.epoch.0),
            },
            agent::AgentEvent::Removed { key, epoch } => Self {
                kind: "removed",
                agents: Vec::new(),
                agent_id: Some(key.agent.to_string()),
                epoch: Some(epoch.0),
            },
            _ => return Ok(None),
        }))
    }
}

#[pymethods]
impl AgentEvent {
    fn __repr__(&self) -> String {
        match &self.agent_id {
            Some(agent) => format!("AgentEvent({} {agent} epoch={:?})", self.kind, self.epoch),
            None => format!("AgentEvent({} of {} agents)", self.kind, self.agents.len()),
        }
    }
}

/// A host as an engine knows it.
#[pyclass(frozen, get_all, module = "guildhall")]
#[derive(Debug)]
pub(crate) struct HostInfo {
    /// Its id.
    id: String,
    /// Where it listens.
    endpoint: String,
    /// Labels that policies may look at.
    labels: BTreeMap<String, String>,
    /// Agents it takes at most.
    capacity: u32,
    /// Agents on it, those starting included.
    running: u32,
    /// Whether it takes no new agents because it is about to end.
    draining: bool,
}

impl From<&Arc<LiveHost>> for HostInfo {
    fn from(host: &Arc<LiveHost>) -> Self {
        let info = &host.info;
        Self {
            id: info.id.to_string(),
            endpoint: info.endpoint.clone(),
            labels: info.labels.clone(),
            capacity: info.capacity,
            running: info.load.running,
            draining: info.draining,
        }
    }
}

#[pymethods]
impl HostInfo {
    fn __repr__(&self) -> String {
        format!("HostInfo({} at {}, {} of {} agents)", self.id, self.endpoint, self.running, self.capacity)
    }
}
