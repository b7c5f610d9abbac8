//! A supervisor of its own for each test, and words for what tests ask.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use echo_runner::{Order, Pong};
use futures::StreamExt;
use guildhall::{
    agent::{AgentEvent, AgentInfo, AgentState},
    host::{HostInfo, LeaseId},
    ids::{AgentId, AgentKey, GuildId, HostId},
    launch::{Json, Launch},
    placement::{PolicyIdentity, Sha256Digest},
    registry::{MemoryRegistry, Registration, Registry},
};
use guildhall_host::{
    runner::{Runner, RunnerTable, Template},
    supervisor::{CreateError, Supervisor, SupervisorConfig},
    tenure::Tenure,
};
use tempfile::TempDir;
use tokio::sync::watch;

/// Longer than anything takes that works. Tests wait for events, not for this.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Setup {
    pub(crate) supervisor: Supervisor,
    pub(crate) registry: MemoryRegistry,
    pub(crate) lease: watch::Sender<LeaseId>,
    pub(crate) dir: TempDir,
}

/// The echo runner as an entry of a table.
pub(crate) fn echo(dir: &Path) -> Runner {
    let mut runner = Runner::new("echo", echo_runner::binary().unwrap());
    let dir = Template::parse(dir.to_str().unwrap()).unwrap();
    runner.env.insert(echo_runner::DIR_VARIABLE.to_owned(), dir);
    runner
}

pub(crate) fn host_info(id: &str) -> HostInfo {
    HostInfo {
        id: HostId::new(id).unwrap(),
        endpoint: "http://127.0.0.1:1".to_owned(),
        labels: Default::default(),
        capacity: 100,
        allocatable: None,
        draining: false,
        load: Default::default(),
        policy: PolicyIdentity { name: String::new(), sha256: Sha256Digest::of(b"") },
        terms: Default::default(),
    }
}

pub(crate) async fn setup() -> Setup {
    setup_with(|_, _| {}).await
}

/// With changes to the settings and to the runner.
pub(crate) async fn setup_with(change: impl FnOnce(&mut SupervisorConfig, &mut Runner)) -> Setup {
    let registry = MemoryRegistry::new();
    setup_on(registry.clone(), Arc::new(registry), "h1", change).await
}

/// With a registry of the test's own before the one in memory.
pub(crate) async fn setup_on(
    memory: MemoryRegistry,
    registry: Arc<dyn Registry>,
    host: &str,
    change: impl FnOnce(&mut SupervisorConfig, &mut Runner),
) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let mut config = SupervisorConfig::new(HostId::new(host).unwrap(), dir.path());
    config.restart.first_delay = Duration::from_millis(20);
    config.restart.max_delay = Duration::from_millis(100);
    config.registry_retry = Duration::from_millis(20);
    let mut runner = echo(dir.path());
    change(&mut config, &mut runner);
    let first = register(&memory, host).await;
    let (lease, leases) = watch::channel(first);
    let runners = RunnerTable::from_iter([runner]);
    let supervisor = Supervisor::new(config, runners, registry, leases, Arc::new(Tenure::endless())).unwrap();
    Setup { supervisor, registry: memory, lease, dir }
}

/// A fresh lease of a host that has none.
pub(crate) async fn register(registry: &MemoryRegistry, host: &str) -> LeaseId {
    let lease = LeaseId::fresh();
    let registered = registry.register(&host_info(host), &lease, Duration::from_secs(600)).await.unwrap();
    assert_eq!(registered, Registration::Registered);
    lease
}

pub(crate) fn key(guild: &str, agent: &str) -> AgentKey {
    AgentKey::new(GuildId::new(guild).unwrap(), AgentId::new(agent).unwrap())
}

/// A launch of (`g`, `agent`) that misbehaves as `echo` says.
pub(crate) fn launch(agent: &str, echo: &str) -> Launch {
    launch_in("g", agent, echo)
}

pub(crate) fn launch_in(guild: &str, agent: &str, echo: &str) -> Launch {
    let spec = format!(r#"{{"id":"{agent}","properties":{{"echo":{echo}}}}}"#);
    Launch {
        key: key(guild, agent),
        name: format!("the {agent}"),
        class_name: "examples.Echo".to_owned(),
        agent_spec: Json::parse("agent spec", spec.as_bytes()).unwrap(),
        guild_spec: Json::empty(),
        messaging: Json::empty(),
        client_type: String::new(),
        client_properties: Json::empty(),
        organization_id: "org".to_owned(),
        machine_id: 1,
        default_topic: "default".to_owned(),
        runner: None,
        resources: Default::default(),
        qos: Default::default(),
        placed_by: None,
        failed_on: Vec::new(),
        labels: Default::default(),
    }
}

impl Setup {
    /// Starts (`g`, `agent`) under a request id of its own.
    pub(crate) async fn create(&self, agent: &str, echo: &str) -> Result<AgentInfo, CreateError> {
        self.supervisor.create(launch(agent, echo), LeaseId::fresh().as_str().to_owned()).await
    }

    pub(crate) fn socket(&self, agent: &AgentInfo) -> PathBuf {
        let AgentKey { guild, agent: id } = &agent.key;
        echo_runner::socket_path(self.dir.path(), guild.as_str(), id.as_str(), agent.epoch.0)
    }

    pub(crate) async fn ping(&self, agent: &AgentInfo) -> Pong {
        let socket = self.socket(agent);
        tokio::task::spawn_blocking(move || echo_runner::ping(&socket, "hello", LIMIT))
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn order(&self, agent: &AgentInfo, order: Order) {
        let socket = self.socket(agent);
        tokio::task::spawn_blocking(move || echo_runner::order(&socket, order, LIMIT))
            .await
            .unwrap()
            .unwrap();
    }

    /// Waits until the agent is as wanted, and says what it is then.
    pub(crate) async fn until(
        &self,
        key: &AgentKey,
        mut wanted: impl FnMut(&AgentInfo) -> bool,
    ) -> AgentInfo {
        let mut events = self.supervisor.watch();
        let wait = async {
            loop {
                let changed = match events.next().await.expect("the supervisor has ended") {
                    AgentEvent::Snapshot(agents) => agents,
                    AgentEvent::Changed(agent) => vec![agent],
                    _ => continue,
                };
                if let Some(agent) = changed.into_iter().find(|agent| agent.key == *key && wanted(agent)) {
                    return agent;
                }
            }
        };
        match tokio::time::timeout(LIMIT, wait).await {
            Ok(agent) => agent,
            Err(_) => panic!("{key} is {:?}", self.supervisor.get(key)),
        }
    }

    pub(crate) async fn until_state(&self, key: &AgentKey, state: AgentState) -> AgentInfo {
        self.until(key, |agent| agent.state == state).await
    }

    /// What the registry has of the agent.
    pub(crate) async fn record(&self, key: &AgentKey) -> Option<AgentInfo> {
        self.registry.agent(key).await.unwrap().map(|claimed| claimed.agent)
    }

    pub(crate) async fn stop_all(&self) {
        for agent in self.supervisor.list(None) {
            self.supervisor.stop(&agent.key, None).await.unwrap();
        }
    }

    /// Nothing is left of any agent: here, in the registry, on disk, as a process.
    pub(crate) async fn assert_nothing_left(&self) {
        assert_eq!(self.supervisor.list(None), []);
        let counts = self.supervisor.counts();
        assert_eq!((counts.running, counts.starts_in_flight), (0, 0));
        assert_eq!(self.registry.agents_in_guild(&GuildId::new("g").unwrap()).await.unwrap(), []);
        // Agents are gone by now; children of theirs are killed, and init reaps them.
        for pid in self.processes() {
            gone(pid).await;
        }
        self.supervisor.shutdown().await;
    }

    /// Processes with this setup's directory in their environment, as its agents
    /// and all their children have it.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mark = self.dir.path().to_str().unwrap();
        let has_mark = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(mark)
        };
        all_processes().into_iter().filter(has_mark).collect()
    }
}

fn all_processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect()
}

/// Whether there is such a process, be it a zombie.
pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits for the end of a process that somebody else reaps. The kernel tells only
/// parents, so there is nothing to wait on but time.
pub(crate) async fn gone(pid: u32) {
    let wait = async {
        while exists(pid) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "process {pid} is still there");
}

pub(crate) fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
