//! The threads that start processes.
//!
//! The parent-death signal follows the *thread* that forked: on a runtime's worker
//! a process would be killed whenever its worker ends. So every fork is made on a
//! thread that lives exactly as long as the supervisor, and dies with the host.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::{
    process::{Enrolment, Input, Spawned},
    vfork::Program,
};
use crate::fence::Fence;

struct Job {
    program: Program,
    input: Input,
    enrolment: Enrolment,
    answer: oneshot::Sender<io::Result<Spawned>>,
}

struct Running {
    /// Not bounded by itself: there is at most one job for each place of the host.
    jobs: mpsc::Sender<Job>,
    threads: Vec<JoinHandle<()>>,
}

/// A thread is held while its child borrows the host's memory, about as long as the
/// kernel takes to execute a program. More of them than this find no core.
const MOST_THREADS: usize = 4;

/// The threads, and the way to give them work.
pub(super) struct Spawner(Mutex<Option<Running>>);

impl Spawner {
    pub(super) fn start(fence: &Arc<Fence>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let thread = |_| {
            let (queue, fence) = (Arc::clone(&queue), Arc::clone(fence));
            thread::Builder::new().name("spawner".to_owned()).spawn(move || work(&queue, &fence))
        };
        let threads = (0..cores.min(MOST_THREADS)).map(thread).collect::<io::Result<_>>()?;
        Ok(Self(Mutex::new(Some(Running { jobs, threads }))))
    }

    /// Starts a process. It lives while its owner holds it.
    pub(super) async fn spawn(
        &self,
        program: Program,
        input: Input,
        enrolment: Enrolment,
    ) -> io::Result<Spawned> {
        let (answer, spawned) = oneshot::channel();
        let job = Job { program, input, enrolment, answer };
        let sent = match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(running) => running.jobs.send(job).is_ok(),
            None => false,
        };
        let gone = || io::Error::other("the spawner threads have ended");
        if sent { spawned.await.map_err(|_| gone())? } else { Err(gone()) }
    }

    /// Ends the threads and waits for them; processes they started are killed by that.
    pub(super) async fn join(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { jobs, threads }) = running {
            drop(jobs);
            // Each has at most one fork to finish, yet a join may block.
            let join = || threads.into_iter().for_each(|thread| drop(thread.join()));
            let _ = tokio::task::spawn_blocking(join).await;
        }
    }
}

/// One thread's life: a job after another, until nobody can give it any.
fn work(queue: &Mutex<mpsc::Receiver<Job>>, fence: &Arc<Fence>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { program, input, enrolment, answer }) = job else { return };
        // When nobody waits any more, dropping the process ends it.
        drop(answer.send(Spawned::start(&program, input, enrolment, fence)));
    }
}
