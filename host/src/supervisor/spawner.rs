//! The one thread that starts processes.
//!
//! The parent-death signal follows the *thread* that forked: on a runtime's worker
//! a process would be killed whenever its worker ends. So every fork is made on a
//! thread that lives exactly as long as the supervisor, and dies with the host.

use std::{
    io,
    sync::{Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::{
    process::{Input, Spawned},
    vfork::Program,
};

struct Job {
    program: Program,
    input: Input,
    answer: oneshot::Sender<io::Result<Spawned>>,
}

struct Running {
    /// Not bounded by itself: there is at most one job for each place of the host.
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

/// The thread, and the way to give it work.
pub(super) struct Spawner(Mutex<Option<Running>>);

impl Spawner {
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for Job { program, input, answer } in queue {
                // When nobody waits any more, dropping the process ends it.
                drop(answer.send(Spawned::start(&program, input)));
            }
        })?;
        Ok(Self(Mutex::new(Some(Running { jobs, thread }))))
    }

    /// Starts a process. It lives while its owner holds it.
    pub(super) async fn spawn(&self, program: Program, input: Input) -> io::Result<Spawned> {
        let (answer, spawned) = oneshot::channel();
        let job = Job { program, input, answer };
        let sent = match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(running) => running.jobs.send(job).is_ok(),
            None => false,
        };
        let gone = || io::Error::other("the spawner thread has ended");
        if sent { spawned.await.map_err(|_| gone())? } else { Err(gone()) }
    }

    /// Ends the thread and waits for it; processes it started are killed by that.
    pub(super) async fn join(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { jobs, thread }) = running {
            drop(jobs);
            // It has at most one fork to finish, yet a join may block.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}
