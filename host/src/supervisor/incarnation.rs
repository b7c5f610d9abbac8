//! One process of an agent with everything the host holds of it.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use guildhall::{
    ids::{AgentKey, Epoch, HostId},
    launch::Launch,
};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    Shared, SupervisorConfig, SupervisorError, inherited,
    notify::{Notice, NotifySocket},
    output::{Output, Source},
    process::{Exit, Input, Process},
    runtime_dir,
    spawner::Spawner,
    stdin::Stdin,
    vfork::Program,
};
use crate::{
    fence::Fence,
    launch_document,
    runner::{Delivery, Runner},
};

/// What a process can do that its agent's task must know of.
#[derive(Debug)]
pub(crate) enum Sign {
    /// It has ended, and waits to be reaped.
    Ended,
    /// It said something.
    Notice(Notice),
}

/// Starts the processes of one host's agents. The simulation has others than the system's.
#[async_trait]
pub(crate) trait Processes: Send + Sync {
    /// Starts a process and hands it its launch document.
    async fn start(&self, runner: &Runner, launch: &Launch, epoch: Epoch) -> io::Result<Box<dyn Body>>;

    /// Starts none from now on, and waits for what it needed for that to end.
    async fn close(&self);
}

/// A process and its pipes. Dropping it ends it.
#[async_trait]
pub(crate) trait Body: Send {
    fn pid(&self) -> u32;

    /// Waits for a sign of the process, and sees to its pipes meanwhile. Dropping
    /// the future loses nothing.
    async fn sign(&mut self, source: &Source<'_>) -> Sign;

    /// Whether it said that it is ready before it ended.
    fn was_ready(&self) -> bool;

    fn terminate(&self);

    fn kill(&self);

    /// Waits for its end and clears up behind it. Answers with how it ended, and the
    /// end of its standard error.
    async fn finish(self: Box<Self>, source: &Source<'_>) -> (Exit, String);
}

pub(super) struct Incarnation {
    body: Box<dyn Body>,
    spawned: Instant,
    ready: Option<Instant>,
}

impl Incarnation {
    /// Starts the process and hands it its launch document.
    pub(super) async fn start(
        shared: &Shared,
        runner: &Runner,
        launch: &Launch,
        epoch: Epoch,
    ) -> io::Result<Self> {
        let spawned = Instant::now();
        let body = shared.processes.start(runner, launch, epoch).await?;
        Ok(Self { body, spawned, ready: None })
    }

    pub(super) fn pid(&self) -> u32 {
        self.body.pid()
    }

    /// Waits for a sign of the process, and sees to its pipes meanwhile. Dropping
    /// the future loses nothing.
    pub(super) async fn sign(&mut self, source: &Source<'_>) -> Sign {
        self.body.sign(source).await
    }

    /// Notes that it is ready. Answers with how long that took.
    pub(super) fn set_ready(&mut self) -> Duration {
        let now = Instant::now();
        self.ready = Some(now);
        now - self.spawned
    }

    /// Whether it said that it is ready before it ended.
    pub(super) fn was_ready(&self) -> bool {
        self.body.was_ready()
    }

    /// How long it has been ready.
    pub(super) fn ready_for(&self) -> Duration {
        self.ready.map_or(Duration::ZERO, |ready| ready.elapsed())
    }

    pub(super) fn terminate(&self) {
        self.body.terminate();
    }

    pub(super) fn kill(&self) {
        self.body.kill();
    }

    /// Waits for its end and clears up behind it. Answers with how it ended, and the
    /// end of its standard error.
    pub(super) async fn finish(self, source: &Source<'_>) -> (Exit, String) {
        self.body.finish(source).await
    }
}

/// Processes of this machine.
pub(super) struct LocalProcesses {
    host: HostId,
    spawner: Spawner,
    runtime_dir: TempDir,
    sockets: AtomicU64,
    /// The part of the host's environment that agents inherit.
    inherited: Vec<(OsString, OsString)>,
}

impl LocalProcesses {
    /// Makes the spawner threads, and a directory for the sockets of agents.
    pub(super) fn new(config: &SupervisorConfig, fence: &Arc<Fence>) -> Result<Self, SupervisorError> {
        Ok(Self {
            host: config.host.clone(),
            spawner: Spawner::start(fence).map_err(SupervisorError::Spawner)?,
            runtime_dir: runtime_dir(config)?,
            sockets: AtomicU64::new(0),
            inherited: inherited(&config.env_allow),
        })
    }
}

#[async_trait]
impl Processes for LocalProcesses {
    async fn start(&self, runner: &Runner, launch: &Launch, epoch: Epoch) -> io::Result<Box<dyn Body>> {
        let socket = self.sockets.fetch_add(1, Ordering::Relaxed);
        let notify = NotifySocket::open(self.runtime_dir.path(), socket)?;
        let program = program(runner, launch, epoch, &self.host, &self.inherited, notify.path())?;
        let input = match runner.delivery {
            Delivery::Stdin => Input::Pipe,
            Delivery::Env => Input::Empty,
        };
        let process = self.spawner.spawn(program, input).await?;
        let stdin = match process.stdin {
            Some(pipe) => Stdin::deliver(pipe, launch_document::render(launch, epoch, &self.host) + "\n")?,
            None => Stdin::Closed,
        };
        let output = Output::new(process.stdout, process.stderr)?;
        Ok(Box::new(LocalBody { process: Process::new(process.leader)?, stdin, output, notify }))
    }

    async fn close(&self) {
        self.spawner.join().await;
    }
}

struct LocalBody {
    process: Process,
    stdin: Stdin,
    output: Output,
    notify: NotifySocket,
}

#[async_trait]
impl Body for LocalBody {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    async fn sign(&mut self, source: &Source<'_>) -> Sign {
        loop {
            tokio::select! {
                () = self.process.ended() => return Sign::Ended,
                notice = self.notify.notice() => return Sign::Notice(notice),
                () = self.stdin.progress() => {}
                () = self.output.pump(source) => {}
            }
        }
    }

    fn was_ready(&self) -> bool {
        self.notify.was_ready()
    }

    fn terminate(&self) {
        self.process.terminate();
    }

    fn kill(&self) {
        self.process.kill();
    }

    async fn finish(self: Box<Self>, source: &Source<'_>) -> (Exit, String) {
        let Self { process, output, .. } = *self;
        let exit = process.reap().await;
        (exit, output.finish(source))
    }
}

/// The environment is what the host passes on, then what the operator wrote, then
/// what the contract says; the last of one name counts.
fn program(
    runner: &Runner,
    launch: &Launch,
    epoch: Epoch,
    host: &HostId,
    inherited: &[(OsString, OsString)],
    notify: &Path,
) -> io::Result<Program> {
    let mut env = BTreeMap::new();
    env.extend(inherited.iter().map(|(name, value)| (name.as_os_str(), Cow::from(value))));
    env.extend(runner.env.iter().map(|(name, value)| {
        let value = OsString::from(value.fill(launch, epoch, host));
        (OsStr::new(name), Cow::from(value))
    }));
    let AgentKey { guild, agent } = &launch.key;
    let epoch = OsString::from(epoch.to_string());
    env.extend([
        (OsStr::new("GUILDHALL_HOST_ID"), Cow::from(OsStr::new(host.as_str()))),
        (OsStr::new("GUILDHALL_GUILD_ID"), Cow::from(OsStr::new(guild.as_str()))),
        (OsStr::new("GUILDHALL_AGENT_ID"), Cow::from(OsStr::new(agent.as_str()))),
        (OsStr::new("GUILDHALL_EPOCH"), Cow::from(epoch)),
        (OsStr::new("NOTIFY_SOCKET"), Cow::from(notify.as_os_str())),
    ]);
    if let Some(watchdog) = runner.watchdog {
        // No WATCHDOG_PID: it is optional, and not known before the fork.
        let micros = OsString::from(watchdog.as_micros().to_string());
        env.insert(OsStr::new("WATCHDOG_USEC"), Cow::from(micros));
    }
    let env = env.iter().map(|(name, value)| (*name, value.as_ref()));
    Program::new(&runner.command, &runner.args, env)
}
