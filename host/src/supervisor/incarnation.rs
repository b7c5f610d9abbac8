//! One process of an agent with everything the host holds of it.

use std::{collections::BTreeMap, io, time::Duration};

use async_trait::async_trait;
use guildhall::{ids::Epoch, launch::Launch};
use tokio::time::Instant;

use super::{Shared, local::Exit, notify::Notice, output::Source};
use crate::runner::{Runner, RunnerTable};

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

    /// Has processes wait, ahead of need, for agents of these runners and of no others.
    fn prepare(&self, _: &RunnerTable) {}

    /// How many processes wait, by the classes that they have been taken for of late.
    fn warm(&self) -> BTreeMap<String, u32> {
        BTreeMap::new()
    }

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
