//! What this process has one of: the runtime, and the sessions of those who need one.
//!
//! Sessions and the runtime are counted: the last who closes ends them, and no thread is
//! left. Who does not close is closed at exit.
//!
//! **Forks.** A child has none of its parent's threads, so nothing of the parent's can work
//! in it. The child forgets all of it ([`after_fork`]) and may open sessions of its own;
//! a connection from before says that it is of another process.
//! The table is locked only by threads that are attached to Python, which a thread that
//! forks is too: so it is never locked by somebody else at a fork.

use std::{
    collections::HashMap,
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pyo3::{PyResult, Python, pyfunction};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{errors, log, session::Slot, settings::Settings};

/// How long the runtime waits for its threads at the end. They have nothing to do then.
const END_WITHIN: Duration = Duration::from_secs(10);

/// More threads than this carry no more calls.
const MOST_THREADS: usize = 4;

static TABLE: Mutex<Option<Table>> = Mutex::new(None);

/// The runtime and its users, from the first one to the last.
struct Table {
    process: Arc<Process>,
    /// Connections that are open or closing.
    users: usize,
    sessions: HashMap<Settings, Shared>,
}

/// A session, and how many connections use it.
struct Shared {
    slot: Arc<Slot>,
    users: usize,
}

/// The runtime of one process. A forked child that drops it lets it be.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    runtime: Option<Runtime>,
}

impl Process {
    fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.min(MOST_THREADS))
            .thread_name("guildhall")
            .enable_all()
            .build()?;
        Ok(Self { pid: std::process::id(), runtime: Some(runtime) })
    }

    /// The process that it is of.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether this is another process, forked from it.
    pub(crate) fn is_parents(&self) -> bool {
        self.pid != std::process::id()
    }

    /// Where calls run.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.runtime.as_ref().map(Runtime::handle)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if self.is_parents() {
            mem::forget(runtime);
        } else {
            runtime.shutdown_timeout(END_WITHIN);
        }
    }
}

/// One connection's share of all this.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) process: Arc<Process>,
    pub(crate) slot: Arc<Slot>,
    settings: Settings,
}

fn table(_attached: Python<'_>) -> MutexGuard<'static, Option<Table>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters one more user of the session with these settings.
pub(crate) fn enter(py: Python<'_>, settings: Settings) -> PyResult<Membership> {
    // No Python runs under the lock: see `Connection::way`.
    enter_table(&mut table(py), settings).map_err(|error| errors::internal(py, &error.to_string()))
}

fn enter_table(table: &mut Option<Table>, settings: Settings) -> io::Result<Membership> {
    let table = match table {
        Some(table) => table,
        none => {
            log::begin();
            let process = Arc::new(Process::start()?);
            none.insert(Table { process, users: 0, sessions: HashMap::new() })
        }
    };
    table.users += 1;
    let shared = table
        .sessions
        .entry(settings.clone())
        .or_insert_with(|| Shared { slot: Arc::new(Slot::new(settings.clone())), users: 0 });
    shared.users += 1;
    Ok(Membership { process: Arc::clone(&table.process), slot: Arc::clone(&shared.slot), settings })
}

impl Membership {
    /// Leaves the session; answers whether it has no user left, and is to be ended.
    pub(crate) fn leave_session(&self, py: Python<'_>) -> bool {
        let mut table = table(py);
        let Some(table) = &mut *table else { return true };
        match table.sessions.get_mut(&self.settings) {
            Some(shared) if Arc::ptr_eq(&shared.slot, &self.slot) => {
                shared.users -= 1;
                let last = shared.users == 0;
                if last {
                    table.sessions.remove(&self.settings);
                }
                last
            }
            _ => false,
        }
    }

    /// Leaves the runtime, and ends it when nobody is left.
    pub(crate) fn leave_process(self, py: Python<'_>) {
        let process = {
            let mut table = table(py);
            let Some(users) = table.as_mut().map(|table| &mut table.users) else { return };
            *users = users.saturating_sub(1);
            if *users > 0 { None } else { table.take().map(|table| table.process) }
        };
        py.detach(|| {
            let last = process.is_some();
            drop((self, process));
            if last {
                guildhall::placement::rest();
            }
        });
    }
}

/// How many connections are open or closing in this process.
#[pyfunction]
pub(crate) fn open_connections(py: Python<'_>) -> usize {
    table(py).as_ref().map_or(0, |table| table.users)
}

/// Forgets everything of the process that this one was forked from.
#[pyfunction]
pub(crate) fn after_fork(py: Python<'_>) {
    guildhall::placement::forked();
    mem::forget(table(py).take());
}

/// Ends all sessions and the runtime, whoever uses them. For the end of the process.
#[pyfunction]
pub(crate) fn end_all(py: Python<'_>) {
    let Some(Table { process, sessions, .. }) = table(py).take() else { return };
    py.detach(|| {
        if let Some(runtime) = process.handle() {
            let ends = sessions.into_values().map(|shared| async move {
                if let Some(session) = shared.slot.made() {
                    session.end().await;
                }
            });
            runtime.block_on(futures::future::join_all(ends));
        }
        drop(process);
        guildhall::placement::rest();
    });
}
