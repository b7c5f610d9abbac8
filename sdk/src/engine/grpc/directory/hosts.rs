//! Answers from the hosts themselves, for a fleet without a registry: each
//! question goes to all of them at once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{
    StreamExt,
    future::try_join_all,
    stream::{self, BoxStream},
};
use guildhall_proto::v1;
use tokio::{sync::mpsc, task::JoinSet, time::sleep, time::timeout};
use tracing::debug;

use crate::{
    agent::{AgentEvent, AgentInfo},
    engine::{EngineError, grpc::channels::Channels},
    fault::{Fault, FaultReason},
    fleet::Fleet,
    host::HostInfo,
    ids::{AgentKey, GuildId, HostId},
    launch::Launch,
    wire,
};

/// Pause before a host whose stream of events broke is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Events on their way to one watcher; a slow one slows its hosts' streams.
const EVENTS_IN_FLIGHT: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    fleet: Arc<Fleet>,
    channels: Arc<Channels>,
    limit: Duration,
    tickets: Arc<AtomicU64>,
}

impl Hosts {
    pub(super) fn new(fleet: Arc<Fleet>, channels: Arc<Channels>, limit: Duration) -> Self {
        Self { fleet, channels, limit, tickets: Arc::default() }
    }

    pub(super) fn tickets(&self, count: u32) -> u64 {
        self.tickets.fetch_add(count.into(), Ordering::Relaxed)
    }

    pub(super) async fn agent(&self, key: &AgentKey) -> Result<Option<AgentInfo>, EngineError> {
        let answers = self.fleet.hosts().into_iter().map(|host| async move {
            let request =
                v1::GetAgentInfoRequest { guild_id: key.guild.to_string(), agent_id: key.agent.to_string() };
            let failed = |fault| EngineError::Host { host: host.info.id.clone(), fault };
            let mut client = self.channels.client(&host.info).map_err(failed)?;
            match client.get_agent_info(request).await.map_err(|status| wire::fault_from_status(&status)) {
                Ok(answer) => {
                    Ok(answer.into_inner().agent.and_then(|agent| wire::agent_from_wire(agent).ok()))
                }
                Err(fault) if fault.reason == FaultReason::AgentNotFound => Ok(None),
                Err(fault) => Err(failed(fault)),
            }
        });
        let found = self.within_limit(try_join_all(answers)).await?;
        // Nothing keeps two hosts from running one identity here; the live one counts.
        Ok(found.into_iter().flatten().max_by_key(|agent| (agent.state.is_live(), agent.epoch)))
    }

    pub(super) async fn agents_in_guild(&self, guild: &GuildId) -> Result<Vec<AgentInfo>, EngineError> {
        let answers = self.fleet.hosts().into_iter().map(|host| async move {
            let failed = |fault| EngineError::Host { host: host.info.id.clone(), fault };
            self.list(&host.info, guild).await.map_err(failed)
        });
        let mut agents = self.within_limit(try_join_all(answers)).await?.concat();
        agents.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(agents)
    }

    /// Asks the agent's host.
    pub(super) async fn launch(&self, agent: &AgentInfo) -> Result<Option<Launch>, EngineError> {
        let failed = |fault| EngineError::Host { host: agent.host.clone(), fault };
        let Some(host) = self.fleet.get(&agent.host) else { return Ok(None) };
        let mut client = self.channels.client(&host.info).map_err(failed)?;
        let request = v1::GetLaunchRequest {
            guild_id: agent.key.guild.to_string(),
            agent_id: agent.key.agent.to_string(),
            epoch: agent.epoch.0,
        };
        let asked =
            async { client.get_launch(request).await.map_err(|it| failed(wire::fault_from_status(&it))) };
        let launch = self.within_limit(asked).await?.into_inner().launch;
        Ok(launch.map(wire::launch_from_wire).transpose()?)
    }

    /// All pages of one host's list.
    async fn list(&self, host: &HostInfo, guild: &GuildId) -> Result<Vec<AgentInfo>, Fault> {
        let mut client = self.channels.client(host)?;
        let mut agents = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListAgentsRequest { guild_id: guild.to_string(), page_size: 0, page_token };
            let page =
                client.list_agents(request).await.map_err(|status| wire::fault_from_status(&status))?;
            let page = page.into_inner();
            agents.extend(page.agents.into_iter().filter_map(|agent| wire::agent_from_wire(agent).ok()));
            if page.next_page_token.is_empty() {
                return Ok(agents);
            }
            page_token = page.next_page_token;
        }
    }

    async fn within_limit<T>(
        &self,
        answers: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let late = |_| EngineError::Timeout { what: "asking the hosts", after: self.limit };
        timeout(self.limit, answers).await.map_err(late)?
    }

    /// The hosts' streams of events made one. A snapshot of the whole is told
    /// whenever a host's own snapshot comes or a host goes.
    pub(super) fn watch(&self, guild: &GuildId) -> BoxStream<'static, AgentEvent> {
        let (send, receive) = mpsc::channel(EVENTS_IN_FLIGHT);
        let merged = Merged {
            hosts: self.clone(),
            guild: guild.clone(),
            known: HashMap::new(),
            send,
            receive,
            streams: HashMap::new(),
            tasks: JoinSet::new(),
            begun: false,
        };
        stream::unfold(merged, |mut merged| async move {
            let event = merged.next().await;
            Some((event, merged))
        })
        .boxed()
    }
}

/// One watcher over all hosts.
struct Merged {
    hosts: Hosts,
    guild: GuildId,
    known: HashMap<HostId, BTreeMap<AgentKey, AgentInfo>>,
    send: mpsc::Sender<(HostId, AgentEvent)>,
    receive: mpsc::Receiver<(HostId, AgentEvent)>,
    streams: HashMap<HostId, tokio::task::AbortHandle>,
    /// Ends every stream when the watcher is dropped.
    tasks: JoinSet<()>,
    begun: bool,
}

impl Merged {
    async fn next(&mut self) -> AgentEvent {
        let mut size = self.hosts.fleet.size();
        loop {
            size.mark_unchanged();
            let gone = self.follow_fleet();
            if gone || !std::mem::replace(&mut self.begun, true) {
                return self.snapshot();
            }
            tokio::select! {
                received = self.receive.recv() => {
                    let Some((host, event)) = received else { continue };
                    return self.take(host, event);
                }
                _ = size.changed() => {}
            }
        }
    }

    /// Follows hosts that are new and forgets those that are gone; says whether
    /// agents went with them.
    fn follow_fleet(&mut self) -> bool {
        let hosts = self.hosts.fleet.hosts();
        for host in &hosts {
            if !self.streams.contains_key(&host.info.id) {
                let events =
                    follow(self.hosts.clone(), host.info.clone(), self.guild.clone(), self.send.clone());
                self.streams.insert(host.info.id.clone(), self.tasks.spawn(events));
            }
        }
        let here = |id: &HostId| hosts.iter().any(|host| host.info.id == *id);
        self.streams.retain(|id, stream| {
            here(id) || {
                stream.abort();
                false
            }
        });
        let before = self.known.len();
        self.known.retain(|id, _| here(id));
        // Ended streams are collected as they come, so that the set does not grow.
        while self.tasks.try_join_next().is_some() {}
        self.known.len() < before
    }

    fn take(&mut self, host: HostId, event: AgentEvent) -> AgentEvent {
        let agents = self.known.entry(host).or_default();
        match event {
            AgentEvent::Snapshot(now) => {
                *agents = now.into_iter().map(|agent| (agent.key.clone(), agent)).collect();
                return self.snapshot();
            }
            AgentEvent::Changed(ref agent) => drop(agents.insert(agent.key.clone(), agent.clone())),
            AgentEvent::Removed { ref key, .. } => drop(agents.remove(key)),
        }
        event
    }

    fn snapshot(&self) -> AgentEvent {
        let mut agents: Vec<_> = self.known.values().flat_map(BTreeMap::values).cloned().collect();
        agents.sort_by(|a, b| a.key.cmp(&b.key));
        AgentEvent::Snapshot(agents)
    }
}

/// Passes on one host's events, and asks again when its stream breaks.
async fn follow(hosts: Hosts, host: HostInfo, guild: GuildId, send: mpsc::Sender<(HostId, AgentEvent)>) {
    loop {
        if let Err(fault) = pass_on(&hosts, &host, &guild, &send).await {
            debug!(host = %host.id, %fault, "the stream of events broke");
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

async fn pass_on(
    hosts: &Hosts,
    host: &HostInfo,
    guild: &GuildId,
    send: &mpsc::Sender<(HostId, AgentEvent)>,
) -> Result<(), Fault> {
    let broke = |status| wire::fault_from_status(&status);
    let mut client = hosts.channels.client(host)?;
    let request = v1::WatchAgentsRequest { guild_id: guild.to_string() };
    let mut events = client.watch_agents(request).await.map_err(broke)?.into_inner();
    let mut reader = wire::EventReader::default();
    while let Some(message) = events.message().await.map_err(broke)? {
        match reader.read(message) {
            Ok(Some(event)) => drop(send.send((host.id.clone(), event)).await),
            Ok(None) => {}
            Err(error) => return Err(Fault::new(FaultReason::Internal, error.to_string())),
        }
    }
    Ok(())
}
