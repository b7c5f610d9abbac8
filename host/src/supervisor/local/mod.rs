//! The processes of this machine: how they come to be, wait, become an agent and end.
//!
//! Each is in the end one that waits on its standard input for a launch document. It may
//! be started when that is there, or ahead of need (`pool.rs`), by executing a program
//! (`spawner.rs`, `vfork.rs`) or by having one that has prepared itself forked
//! (`zygote.rs`). Whatever way: it is a child of the host, leads a process group of its
//! own, dies with the host, and the fence knows it before it learns whose it is.
//!
//! Read next: `process.rs`, one process and its group.

mod body;
mod environment;
mod pool;
mod process;
mod spawner;
mod stdin;
mod vfork;
mod zygote;

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    io,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use guildhall::{
    ids::{Epoch, HostId},
    launch::Launch,
};
use tempfile::TempDir;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

pub(crate) use self::process::Exit;
use self::{
    body::{Idle, LocalBody},
    environment::inherited,
    pool::Pool,
    process::{Enrolment, Input, Process},
    spawner::Spawner,
    stdin::Stdin,
};
use super::{
    SupervisorConfig, SupervisorError,
    incarnation::{Body, Processes},
    notify::NotifySocket,
    output::Output,
};
use crate::{
    fence::Fence,
    launch_document,
    runner::{Delivery, Runner, RunnerTable},
};

/// Longest name of a Unix socket, bytes, and what a socket's name takes of that
/// after the runtime directory: two separators, the directory's own name, a number.
const MAX_SOCKET_PATH: usize = 107;
const SOCKET_NAME: usize = 24;

/// What all processes of a host need to be started.
struct Base {
    host: HostId,
    fence: Arc<Fence>,
    spawner: Spawner,
    runtime_dir: TempDir,
    sockets: AtomicU64,
    /// The part of the host's environment that agents inherit.
    inherited: Vec<(OsString, OsString)>,
}

impl Base {
    fn notify_socket(&self) -> io::Result<NotifySocket> {
        NotifySocket::open(self.runtime_dir.path(), self.sockets.fetch_add(1, Ordering::Relaxed))
    }

    /// Executes a runner that waits for a launch.
    async fn spawn_ahead(&self, runner: &Runner) -> io::Result<Idle> {
        let notify = self.notify_socket()?;
        let program = environment::ahead(self, runner, notify.path()).program(runner, &[])?;
        let process = self.spawner.spawn(program, Input::Pipe, Enrolment::Later).await?;
        let stdin = process.stdin.ok_or_else(|| io::Error::other("it has no standard input"))?;
        Idle::new(process.leader, stdin, Output::new(process.stdout, process.stderr)?, notify)
    }

    /// Executes a runner for one launch.
    async fn spawn(&self, runner: &Runner, launch: &Launch, epoch: Epoch) -> io::Result<LocalBody> {
        let notify = self.notify_socket()?;
        let program =
            environment::of_launch(self, runner, launch, epoch, notify.path()).program(runner, &[])?;
        let input = match runner.delivery {
            Delivery::Stdin => Input::Pipe,
            Delivery::Env => Input::Empty,
        };
        let process = self.spawner.spawn(program, input, Enrolment::AtOnce).await?;
        let stdin = match process.stdin {
            Some(pipe) => Stdin::deliver(pipe, launch_document::render(launch, epoch, &self.host) + "\n")?,
            None => Stdin::Closed,
        };
        let mut output = Output::new(process.stdout, process.stderr)?;
        if let Some(text) = &runner.ready_output {
            output.look_for(text);
        }
        Ok(LocalBody { process: Process::new(process.leader)?, stdin, output, notify })
    }
}

/// Starts the processes of one host. Dropping it ends those that wait, in the background.
pub(super) struct LocalProcesses {
    base: Arc<Base>,
    /// By the runner's name.
    pools: Mutex<HashMap<String, Arc<Pool>>>,
    tasks: TaskTracker,
    closing: CancellationToken,
    _last: DropGuard,
}

impl LocalProcesses {
    /// Makes the spawner threads, and a directory for the sockets of agents.
    pub(super) fn new(config: &SupervisorConfig, fence: &Arc<Fence>) -> Result<Self, SupervisorError> {
        let base = Base {
            host: config.host.clone(),
            fence: Arc::clone(fence),
            spawner: Spawner::start(fence).map_err(SupervisorError::Spawner)?,
            runtime_dir: runtime_dir(config)?,
            sockets: AtomicU64::new(0),
            inherited: inherited(&config.env_allow),
        };
        let closing = CancellationToken::new();
        Ok(Self {
            base: Arc::new(base),
            pools: Mutex::default(),
            tasks: TaskTracker::new(),
            _last: closing.clone().drop_guard(),
            closing,
        })
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<String, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool of a runner as it is now. An agent that was launched with an earlier form
    /// of it has none.
    fn pool(&self, runner: &Runner) -> Option<Arc<Pool>> {
        self.pools().get(&runner.name).filter(|pool| pool.runner() == runner).cloned()
    }
}

#[async_trait]
impl Processes for LocalProcesses {
    async fn start(&self, runner: &Runner, launch: &Launch, epoch: Epoch) -> io::Result<Box<dyn Body>> {
        let idle = match self.pool(runner) {
            Some(pool) => pool.take(&launch.class_name).await,
            None => None,
        };
        Ok(Box::new(match idle {
            Some(idle) => idle.launch(launch_document::render(launch, epoch, &self.base.host) + "\n").await?,
            None => self.base.spawn(runner, launch, epoch).await?,
        }))
    }

    fn prepare(&self, runners: &RunnerTable) {
        let mut pools = self.pools();
        let mut before = std::mem::take(&mut *pools);
        for runner in runners.iter().filter(|runner| runner.starts_ahead()) {
            let same = before.remove(&runner.name).filter(|pool| pool.runner() == runner);
            let pool = same.unwrap_or_else(|| {
                Pool::start(runner.clone(), Arc::clone(&self.base), &self.tasks, self.closing.child_token())
            });
            pools.insert(runner.name.clone(), pool);
        }
        before.values().for_each(|pool| pool.close());
    }

    fn warm(&self) -> BTreeMap<String, u32> {
        let mut warm = BTreeMap::new();
        for pool in self.pools().values() {
            pool.count_ready(&mut warm);
        }
        warm
    }

    async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.base.spawner.join().await;
    }
}

/// A directory of the supervisor's own that nobody else may enter.
fn runtime_dir(config: &SupervisorConfig) -> Result<TempDir, SupervisorError> {
    let path = &config.runtime_dir;
    let error = |source| SupervisorError::RuntimeDir { path: path.clone(), source };
    if path.as_os_str().len() + SOCKET_NAME > MAX_SOCKET_PATH {
        return Err(error(std::io::Error::other(format!(
            "it has {} bytes; at most {} fit into the name of a socket",
            path.as_os_str().len(),
            MAX_SOCKET_PATH - SOCKET_NAME
        ))));
    }
    tempfile::Builder::new()
        .prefix("gh-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(path)
        .map_err(error)
}
