//! Processes that are entries in a book, and the fence that ends them.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use guildhall::{
    ids::{AgentKey, Epoch},
    launch::Launch,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::world::{Gate, Planted, World};
use crate::{
    clock::Clock,
    runner::Runner,
    supervisor::{Body, Exit, Processes, Sign, Source, notify::Notice},
    tenure::{Standing, Tenure},
};

const KILLED: Exit = Exit { code: None, signal: Some(9) };
const FAILED: Exit = Exit { code: Some(1), signal: None };

/// The processes of one host.
pub(super) struct Machine {
    pub(super) world: Arc<World>,
    pub(super) machine: usize,
    pub(super) gate: Gate,
    pub(super) dead: CancellationToken,
    pub(super) clock: Clock,
    pub(super) tenure: Arc<Tenure>,
    pub(super) live: Mutex<BTreeMap<u64, Arc<Process>>>,
}

/// One that was started.
pub(super) struct Process {
    world: Arc<World>,
    tenure: Arc<Tenure>,
    key: AgentKey,
    pid: u64,
    exit: watch::Sender<Option<Exit>>,
    ready: AtomicBool,
}

impl Process {
    fn end(&self, exit: Exit, why: &str) {
        let ended = self.exit.send_if_modified(|now| {
            let lives = now.is_none();
            now.get_or_insert(exit);
            lives
        });
        if ended {
            self.world.book().end(&self.key, self.pid, why);
        }
    }
}

impl Machine {
    fn live(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Process>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_processes(&self) -> bool {
        self.live().values().any(|process| process.exit.borrow().is_none())
    }

    /// The machine has no power any more, or the kernel ends what has lost its parent.
    pub(super) fn end_all(&self, why: &str) {
        for process in std::mem::take(&mut *self.live()).into_values() {
            process.end(KILLED, why);
        }
    }

    /// Ends all processes at the end of the tenure, whether the host makes progress or not.
    pub(super) async fn fence(self: Arc<Self>) {
        let mut until = self.tenure.until();
        loop {
            let end = *until.borrow_and_update();
            let left = end.saturating_duration_since(self.clock.now());
            if left.is_zero() {
                // The kernel needs a moment.
                sleep(self.world.millis(0, 50)).await;
                if self.has_processes() && self.clock.now() >= *self.tenure.until().borrow() {
                    self.world.book().count("fenced");
                    self.end_all("by the fence");
                }
            }
            let waits = if left.is_zero() { Duration::from_secs(3600) } else { left };
            let _ = timeout(waits, until.changed()).await;
        }
    }
}

#[async_trait]
impl Processes for Machine {
    async fn start(&self, _: &Runner, launch: &Launch, epoch: Epoch) -> io::Result<Box<dyn Body>> {
        let world = &self.world;
        self.gate.pass().await;
        // A host may be held between its last look at the tenure and this.
        sleep(world.millis(0, 30)).await;
        self.gate.pass().await;
        if self.dead.is_cancelled() {
            return Err(io::Error::other("the host has crashed"));
        }
        let key = launch.key.clone();
        let pid = world.between(1, u64::from(u32::MAX));
        let process = Arc::new(Process {
            world: Arc::clone(world),
            tenure: Arc::clone(&self.tenure),
            key: key.clone(),
            pid,
            exit: watch::Sender::new(None),
            ready: AtomicBool::new(false),
        });
        let fenced = world.planted != Planted::NoFence && self.clock.now() >= *self.tenure.until().borrow();
        if fenced {
            // It enrols before it executes its program, which it never comes to.
            process.exit.send_replace(Some(KILLED));
            world.book().count("fenced at birth");
        } else {
            world.book().begin(&key, pid, epoch, self.machine);
            let mut live = self.live();
            live.retain(|_, process| process.exit.borrow().is_none());
            live.insert(pid, Arc::clone(&process));
        }
        if world.permille(150) {
            let (fails, after) = (Arc::clone(&process), world.millis(50, 90_000));
            let failing = world.failing.subscribe();
            tokio::spawn(async move {
                sleep(after).await;
                if *failing.borrow() {
                    fails.end(FAILED, "by itself");
                }
            });
        }
        Ok(Box::new(SimulatedBody { process, gate: self.gate.clone(), ready_in: world.millis(1, 300) }))
    }

    async fn close(&self) {}
}

struct SimulatedBody {
    process: Arc<Process>,
    gate: Gate,
    ready_in: Duration,
}

impl SimulatedBody {
    async fn ended(&self) -> Exit {
        let mut exit = self.process.exit.subscribe();
        // The sender is at hand.
        let ended = exit.wait_for(Option::is_some).await;
        ended.ok().and_then(|exit| *exit).unwrap_or(KILLED)
    }
}

#[async_trait]
impl Body for SimulatedBody {
    fn pid(&self) -> u32 {
        u32::try_from(self.process.pid).unwrap_or_default()
    }

    async fn sign(&mut self, _: &Source<'_>) -> Sign {
        let becomes_ready = async {
            match self.process.ready.load(Ordering::Relaxed) {
                true => std::future::pending().await,
                false => sleep(self.ready_in).await,
            }
        };
        let ended = tokio::select! {
            biased;
            _ = self.ended() => true,
            () = becomes_ready => false,
        };
        self.gate.pass().await;
        if ended {
            return Sign::Ended;
        }
        self.process.ready.store(true, Ordering::Relaxed);
        Sign::Notice(Notice { ready: true, ..Notice::default() })
    }

    fn was_ready(&self) -> bool {
        self.process.ready.load(Ordering::Relaxed)
    }

    fn terminate(&self) {
        // Some heed it at once, some late, and some never.
        let after = self.process.world.millis(0, 2500);
        if after < Duration::from_millis(2000) {
            let process = Arc::clone(&self.process);
            tokio::spawn(async move {
                sleep(after).await;
                process.end(Exit { code: Some(0), signal: None }, "by SIGTERM");
            });
        }
    }

    fn kill(&self) {
        if self.process.exit.borrow().is_none() && self.process.tenure.now() == Standing::Over {
            self.process.world.book().count("killed by their host");
        }
        self.process.end(KILLED, "by SIGKILL");
    }

    async fn finish(self: Box<Self>, _: &Source<'_>) -> (Exit, String) {
        let exit = self.ended().await;
        self.gate.pass().await;
        (exit, String::new())
    }
}

impl Drop for SimulatedBody {
    fn drop(&mut self) {
        self.process.end(KILLED, "its task is gone");
    }
}
