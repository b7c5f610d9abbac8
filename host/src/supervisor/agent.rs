//! The task of one agent: its whole life, from its first claim to its last record.
//!
//! ```text
//!          claim, spawn           READY=1
//! (create) ───────────▶ Starting ─────────▶ Running
//!                        ▲    │               │ the process ends
//!            claim, spawn│    ▼               ▼
//!                        └─ Restarting ◀── (restart rules) ──▶ Finished, Failed
//! ```
//!
//! A stop, a lost claim or the end of the supervisor leads out of every state. There
//! is one place that waits, [`Agent::next`], so nothing can be missed in any of them.
//! A first start that fails is undone as if it had never been; every later end is
//! either followed by a restart or kept as the agent's last record.

use std::{io, sync::Arc, time::Duration};

use guildhall::{
    agent::{AgentInfo, AgentState, LastExit},
    ids::Epoch,
    launch::Launch,
    registry::RegistryError,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    Shared,
    claim::{Claim, Refused},
    error::{CreateError, StopError},
    guild_specs::Holder,
    incarnation::{Incarnation, Sign},
    notify::Notice,
    output::Source,
    process::Exit,
    recorder::{Recorder, Written, retry_waits},
    restart::{Restarts, Verdict},
    table::StartOutcome,
};
use crate::runner::Runner;

/// What others ask of an agent's task.
#[derive(Debug)]
pub(super) enum Command {
    /// To stop the agent. `grace` is the caller's wish, `at_most` a bound on whatever
    /// grace it gets.
    Stop { grace: Option<Duration>, at_most: Duration, answer: StopAnswer },
    /// The registry refused to reassert the claim of `epoch`.
    Disowned { epoch: Epoch, error: RegistryError },
}

pub(super) type StopAnswer = oneshot::Sender<Result<AgentInfo, StopError>>;

/// What an agent is made of.
pub(super) struct Agent {
    pub(super) shared: Arc<Shared>,
    pub(super) runner: Arc<Runner>,
    pub(super) launch: Launch,
    /// Its share in the guild's spec.
    pub(super) _guild_spec: Option<Holder>,
    pub(super) info: AgentInfo,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Who waits for the first start; `None` when that is over.
    pub(super) start: Option<watch::Sender<StartOutcome>>,
    /// Its share of the host's capacity.
    pub(super) place: Option<OwnedSemaphorePermit>,
    pub(super) claim: Claim,
    pub(super) restarts: Restarts,
    pub(super) recorder: Recorder,
    pub(super) stops: Vec<StopAnswer>,
}

/// What an agent's task can learn while it waits.
enum Event {
    Ended,
    Notice(Notice),
    Written(Written),
    Deadline,
    Interrupt(Interrupt),
}

/// What ends an agent, whatever it is doing.
enum Interrupt {
    Stop { grace: Duration },
    Disowned(RegistryError),
    Abandoned,
    Closing,
}

/// How an agent's life ended.
enum End {
    /// The first start came to nothing.
    Undone(CreateError),
    Stopped,
    /// Another host has it now.
    Disowned(RegistryError),
    /// It will not be started again; its state says how it went.
    Ended,
    /// The supervisor ends.
    Closing,
}

/// How a process ended.
struct Ended {
    exit: LastExit,
    success: bool,
    ready_for: Duration,
}

/// Why a process did not become ready.
enum Unready {
    Spawn(io::Error),
    Ended(Ended),
    TimedOut(Duration, Ended),
    Interrupted(End),
}

/// An agent's own epoch is not the registry's any more.
fn is_taken(error: &RegistryError) -> bool {
    !matches!(error, RegistryError::Fenced { current: None, .. })
}

impl Agent {
    pub(super) async fn live(mut self) {
        let end = self.run().await;
        // Its process has ended by now, and everything of that is reaped.
        self.place = None;
        self.close(end).await;
    }

    async fn run(&mut self) -> End {
        let mut incarnation = match self.first_start().await {
            Ok(incarnation) => incarnation,
            Err(end) => return end,
        };
        loop {
            let ended = match self.watch_over(incarnation).await {
                Ok(ended) => ended,
                Err(end) => return end,
            };
            incarnation = match self.start_again(ended).await {
                Ok(incarnation) => incarnation,
                Err(end) => return end,
            };
        }
    }

    async fn first_start(&mut self) -> Result<Incarnation, End> {
        match self.take_claim().await {
            Ok(()) => {}
            Err(Refused::By(holder)) => return Err(End::Undone(CreateError::AlreadyRunning { holder })),
            Err(Refused::Registry(error)) => return Err(End::Undone(error.into())),
        }
        self.start_process().await.map_err(|unready| match unready {
            Unready::Interrupted(end) => end,
            Unready::Ended(ended) => End::Undone(CreateError::StartFailed { exit: ended.exit }),
            Unready::TimedOut(after, ended) => {
                End::Undone(CreateError::StartTimeout { after, stderr: ended.exit.stderr })
            }
            Unready::Spawn(source) => End::Undone(CreateError::Spawn {
                runner: self.runner.name.clone(),
                command: self.runner.command.clone(),
                source: Arc::new(source),
            }),
        })
    }

    /// Starts a process under the present claim and waits until it is ready.
    #[tracing::instrument(level = "debug", skip_all, fields(agent = %self.info.key, epoch = %self.info.epoch))]
    async fn start_process(&mut self) -> Result<Incarnation, Unready> {
        let shared = Arc::clone(&self.shared);
        let _in_flight = shared.start_in_flight();
        let timeout = self.runner.ready_timeout.unwrap_or(shared.config.ready_timeout);
        let deadline = Instant::now() + timeout;
        let mut incarnation = Incarnation::start(&shared, &self.runner, &self.launch, self.info.epoch)
            .await
            .map_err(Unready::Spawn)?;
        self.info.pid = Some(incarnation.pid());
        self.show();
        loop {
            match self.next(Some(&mut incarnation), Some(deadline)).await {
                Event::Notice(notice) if notice.ready => break,
                Event::Ended if incarnation.was_ready() => break,
                Event::Notice(_) | Event::Written(_) => {}
                Event::Ended => return Err(Unready::Ended(self.finish(incarnation, None).await)),
                Event::Deadline => {
                    let reason = format!("not ready after {timeout:?}");
                    let ended = self.kill(incarnation, &reason).await;
                    return Err(Unready::TimedOut(timeout, ended));
                }
                Event::Interrupt(interrupt) => {
                    return Err(Unready::Interrupted(self.interrupted(Some(incarnation), interrupt).await));
                }
            }
        }
        let took = incarnation.set_ready();
        self.info.start_ms = Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.info.state = AgentState::Running;
        self.record();
        Ok(incarnation)
    }

    /// Waits for the end of a process that is ready.
    async fn watch_over(&mut self, mut incarnation: Incarnation) -> Result<Ended, End> {
        let watchdog = self.runner.watchdog;
        let mut deadline = watchdog.map(|within| Instant::now() + within);
        loop {
            match self.next(Some(&mut incarnation), deadline).await {
                Event::Written(_) => self.answer_start(),
                Event::Notice(notice) if notice.trigger => {
                    return Ok(self.kill(incarnation, "watchdog: the agent asked for its end").await);
                }
                Event::Notice(notice) => {
                    if notice.alive {
                        deadline = watchdog.map(|within| Instant::now() + within);
                    }
                }
                Event::Deadline => {
                    let reason = format!("watchdog: no sign of life for {:?}", watchdog.unwrap_or_default());
                    return Ok(self.kill(incarnation, &reason).await);
                }
                Event::Ended => return Ok(self.finish(incarnation, None).await),
                Event::Interrupt(interrupt) => {
                    return Err(self.interrupted(Some(incarnation), interrupt).await);
                }
            }
        }
    }

    /// Applies the restart rules to an end, again and again until a process is
    /// ready or the agent has ended.
    async fn start_again(&mut self, mut ended: Ended) -> Result<Incarnation, End> {
        loop {
            self.answer_start();
            self.info.pid = None;
            self.info.last_exit = Some(ended.exit.clone());
            let delay = match self.restarts.ended(ended.success, ended.ready_for, rand::random()) {
                Verdict::Restart(delay) => delay,
                Verdict::Finished => {
                    self.info.state = AgentState::Finished;
                    return Err(End::Ended);
                }
                Verdict::Failed(failure) => {
                    self.info.state = AgentState::Failed;
                    ended.exit.reason = format!("{failure}; at last it {}", ended.exit.reason);
                    self.info.last_exit = Some(ended.exit);
                    return Err(End::Ended);
                }
            };
            self.info.state = AgentState::Restarting;
            self.log_end(delay);
            self.record();
            self.wait(delay).await?;
            self.info.restarts += 1;
            self.claim_again().await?;
            ended = match self.start_process().await {
                Ok(incarnation) => return Ok(incarnation),
                Err(Unready::Interrupted(end)) => return Err(end),
                Err(Unready::Ended(ended) | Unready::TimedOut(_, ended)) => ended,
                Err(Unready::Spawn(error)) => Ended {
                    exit: LastExit {
                        reason: format!("could not be executed: {error}"),
                        ..LastExit::default()
                    },
                    success: false,
                    ready_for: Duration::ZERO,
                },
            };
        }
    }

    /// Claims a new epoch, however long the registry is away.
    async fn claim_again(&mut self) -> Result<(), End> {
        let mut waits = retry_waits(self.shared.config.registry_retry);
        loop {
            match self.take_claim().await {
                Ok(()) => return Ok(()),
                Err(Refused::By(holder)) => {
                    return Err(End::Disowned(RegistryError::Fenced {
                        key: self.info.key.clone(),
                        epoch: self.info.epoch,
                        current: Some(holder.epoch),
                    }));
                }
                Err(Refused::Registry(error)) => {
                    tracing::warn!(agent = %self.info.key, %error, "the restart waits for the registry");
                    self.info.state = AgentState::Restarting;
                    self.show();
                    self.wait(waits.next().unwrap_or_default()).await?;
                }
            }
        }
    }

    #[tracing::instrument(level = "debug", skip_all, fields(agent = %self.info.key))]
    async fn take_claim(&mut self) -> Result<(), Refused> {
        // The claim writes the record too, under an epoch that fences older writes.
        self.recorder.clear();
        self.info.state = AgentState::Starting;
        let Shared { registry, lease, .. } = &*self.shared;
        self.info.epoch = self.claim.take(&self.info, &**registry, lease).await?;
        self.show();
        Ok(())
    }

    /// Waits without a process.
    async fn wait(&mut self, delay: Duration) -> Result<(), End> {
        let until = Instant::now() + delay;
        loop {
            match self.next(None, Some(until)).await {
                Event::Deadline => return Ok(()),
                Event::Interrupt(interrupt) => return Err(self.interrupted(None, interrupt).await),
                Event::Ended | Event::Notice(_) | Event::Written(_) => {}
            }
        }
    }

    /// The one place where the task waits.
    async fn next(&mut self, mut incarnation: Option<&mut Incarnation>, deadline: Option<Instant>) -> Event {
        loop {
            let source = Source { key: &self.info.key, epoch: self.info.epoch };
            let interrupt = tokio::select! {
                Some(command) = self.commands.recv() => match command {
                    Command::Stop { grace, at_most, answer } => {
                        self.stops.push(answer);
                        let usual = self.runner.stop_grace.unwrap_or(self.shared.config.stop_grace);
                        Interrupt::Stop { grace: grace.unwrap_or(usual).min(at_most) }
                    }
                    Command::Disowned { epoch, error } if epoch == self.info.epoch => Interrupt::Disowned(error),
                    // It has been claimed anew since.
                    Command::Disowned { .. } => continue,
                },
                sign = sign(incarnation.as_deref_mut(), &source) => match sign {
                    Sign::Ended => return Event::Ended,
                    Sign::Notice(notice) => {
                        self.log_notice(&notice);
                        return Event::Notice(notice);
                    }
                },
                written = self.recorder.drive() => match written {
                    Written::Fenced(error) => Interrupt::Disowned(error),
                    written => return Event::Written(written),
                },
                () = abandoned(self.start.as_ref()) => {
                    if !self.shared.table.begin_undo(&self.info.key) {
                        continue;
                    }
                    Interrupt::Abandoned
                }
                () = self.shared.closing.cancelled() => Interrupt::Closing,
                () = reached(deadline) => return Event::Deadline,
            };
            match interrupt {
                Interrupt::Disowned(error) if !is_taken(&error) => match self.adopt().await {
                    Ok(()) => {}
                    Err(error) => return Event::Interrupt(Interrupt::Disowned(error)),
                },
                interrupt => return Event::Interrupt(interrupt),
            }
        }
    }

    /// The registry has lost the record, as one does that comes back without its
    /// data. Nobody else has the agent, so it goes on under a new claim; its process
    /// keeps the epoch that it was started with.
    async fn adopt(&mut self) -> Result<(), RegistryError> {
        let Shared { registry, lease, .. } = &*self.shared;
        self.recorder.clear();
        self.claim = Claim::None;
        match self.claim.take(&self.info, &**registry, lease).await {
            Ok(epoch) => {
                tracing::warn!(agent = %self.info.key, old = %self.info.epoch, new = %epoch, "the registry had lost the record");
                self.info.epoch = epoch;
                self.show();
            }
            Err(Refused::By(holder)) => {
                return Err(RegistryError::Fenced {
                    key: self.info.key.clone(),
                    epoch: self.info.epoch,
                    current: Some(holder.epoch),
                });
            }
            // The next write finds out again.
            Err(Refused::Registry(_)) => {
                self.recorder.put(&self.info);
                self.recorder.fail();
            }
        }
        Ok(())
    }

    /// Ends the process, if there is one, the way the interrupt asks for.
    async fn interrupted(&mut self, incarnation: Option<Incarnation>, interrupt: Interrupt) -> End {
        if let Some(incarnation) = incarnation {
            let ended = match &interrupt {
                Interrupt::Stop { grace } => self.terminate(incarnation, *grace).await,
                Interrupt::Disowned(_) => self.kill(incarnation, "another host has the agent").await,
                Interrupt::Abandoned => self.kill(incarnation, "nobody waited for its start").await,
                Interrupt::Closing => self.kill(incarnation, "the host ends").await,
            };
            self.info.last_exit = Some(ended.exit);
            self.info.pid = None;
        }
        match interrupt {
            Interrupt::Stop { .. } => End::Stopped,
            Interrupt::Disowned(error) => End::Disowned(error),
            Interrupt::Abandoned => End::Undone(CreateError::Abandoned),
            Interrupt::Closing => End::Closing,
        }
    }

    /// SIGTERM, and SIGKILL after the grace or when there is no more time.
    async fn terminate(&mut self, mut incarnation: Incarnation, grace: Duration) -> Ended {
        self.info.state = AgentState::Stopping;
        self.record();
        incarnation.terminate();
        let mut deadline = Instant::now() + grace;
        loop {
            match self.next(Some(&mut incarnation), Some(deadline)).await {
                Event::Ended => return self.finish(incarnation, Some("stopped")).await,
                Event::Notice(_) | Event::Written(_) => {}
                Event::Interrupt(Interrupt::Stop { grace }) => {
                    deadline = deadline.min(Instant::now() + grace)
                }
                Event::Interrupt(Interrupt::Abandoned) => {}
                Event::Deadline | Event::Interrupt(Interrupt::Disowned(_) | Interrupt::Closing) => {
                    return self.kill(incarnation, "stopped, by force after its grace").await;
                }
            }
        }
    }

    async fn kill(&mut self, incarnation: Incarnation, reason: &str) -> Ended {
        incarnation.kill();
        self.finish(incarnation, Some(reason)).await
    }

    /// Waits for the end of a process. `forced` says why it was made to end.
    async fn finish(&mut self, incarnation: Incarnation, forced: Option<&str>) -> Ended {
        let ready_for = incarnation.ready_for();
        let source = Source { key: &self.info.key, epoch: self.info.epoch };
        let (exit, stderr) = incarnation.finish(&source).await;
        let reason = match forced {
            Some(forced) => format!("{forced}: {}", exit.describe()),
            None => exit.describe(),
        };
        let Exit { code, signal } = exit;
        Ended {
            exit: LastExit { code, signal, reason, stderr },
            success: forced.is_none() && exit.is_success(),
            ready_for,
        }
    }

    /// Sees to what is left when the agent has no process any more.
    async fn close(mut self, end: End) {
        match end {
            End::Undone(error) => self.give_up(error).await,
            End::Stopped => self.give_up(CreateError::Stopped).await,
            End::Disowned(error) => {
                tracing::warn!(agent = %self.info.key, %error, "the agent was taken over");
                self.leave(error.into());
            }
            End::Ended => self.keep_record().await,
            End::Closing => {
                if !self.shared.leave_claims() {
                    let released = self.claim.release(&self.info, &*self.shared.registry).await;
                    if let Err(error) = released {
                        tracing::warn!(agent = %self.info.key, %error, "the claim ends with the host's lease");
                    }
                }
                self.leave(CreateError::ShuttingDown);
            }
        }
    }

    /// Gives the identity back, however long the registry is away. Those who wait
    /// are told of the first failure; the rest is this task's own affair.
    async fn give_up(mut self, error: CreateError) {
        self.recorder.clear();
        self.info.state = AgentState::Stopping;
        let mut waits = retry_waits(self.shared.config.registry_retry);
        while let Err(source) = self.claim.release(&self.info, &*self.shared.registry).await {
            tracing::warn!(agent = %self.info.key, error = %source, "the record is removed later");
            let failed = StopError::Registry { key: self.info.key.clone(), source: Arc::new(source) };
            // Whoever comes now must wait for the end of this one.
            self.shared.table.begin_undo(&self.info.key);
            self.refuse_start(error.clone());
            for answer in self.stops.drain(..) {
                drop(answer.send(Err(failed.clone())));
            }
            let until = Instant::now() + waits.next().unwrap_or_default();
            // Anything else, such as another stop, is a reason to try at once.
            let event = self.next(None, Some(until)).await;
            if matches!(event, Event::Interrupt(Interrupt::Closing | Interrupt::Disowned(_))) {
                break;
            }
        }
        self.leave(error);
    }

    /// Keeps the last record of an agent that has ended, until it is written.
    async fn keep_record(mut self) {
        let Some(exit) = self.info.last_exit.as_ref() else { return self.leave(CreateError::Stopped) };
        let AgentInfo { key, state, epoch, .. } = &self.info;
        tracing::warn!(agent = %key, %state, %epoch, reason = exit.reason, "the agent has ended");
        self.record();
        self.shared.table.ended(&self.info);
        loop {
            match self.next(None, None).await {
                Event::Written(Written::Done) | Event::Interrupt(Interrupt::Closing) => return,
                Event::Interrupt(Interrupt::Disowned(error)) => return self.leave(error.into()),
                Event::Interrupt(Interrupt::Stop { .. }) => return self.give_up(CreateError::Stopped).await,
                _ => {}
            }
        }
    }

    /// Forgets the agent and answers everybody.
    fn leave(mut self, error: CreateError) {
        self.shared.table.remove(&self.info.key);
        self.refuse_start(error);
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Stop { answer, .. } = command {
                self.stops.push(answer);
            }
        }
        for answer in self.stops.drain(..) {
            drop(answer.send(Ok(self.info.clone())));
        }
    }

    /// The first start succeeded: says so to those who wait for it.
    fn answer_start(&mut self) {
        if let Some(start) = self.start.take() {
            self.shared.table.started(&self.info.key);
            start.send_replace(Some(Ok(self.info.clone())));
        }
    }

    fn refuse_start(&mut self, error: CreateError) {
        if let Some(start) = self.start.take() {
            start.send_replace(Some(Err(error)));
        }
    }

    fn show(&self) {
        self.shared.table.show(&self.info);
    }

    /// Shows what the agent is now, and has it written.
    fn record(&mut self) {
        self.show();
        self.recorder.put(&self.info);
    }

    fn log_end(&self, restart_in: Duration) {
        let AgentInfo { key, epoch, last_exit, restarts, .. } = &self.info;
        let reason = last_exit.as_ref().map(|exit| exit.reason.as_str());
        tracing::info!(guild = %key.guild, agent = %key.agent, %epoch, restarts, reason, ?restart_in, "the process ended");
    }

    fn log_notice(&self, notice: &Notice) {
        let AgentInfo { key, epoch, .. } = &self.info;
        if let Some(status) = &notice.status {
            tracing::debug!(guild = %key.guild, agent = %key.agent, %epoch, status, "status");
        }
        if notice.stopping {
            tracing::debug!(guild = %key.guild, agent = %key.agent, %epoch, "the agent is about to end");
        }
        if notice.ignored > 0 {
            let lines = notice.ignored;
            tracing::debug!(guild = %key.guild, agent = %key.agent, %epoch, lines, "notification not understood");
        }
    }
}

async fn sign(incarnation: Option<&mut Incarnation>, source: &Source<'_>) -> Sign {
    match incarnation {
        Some(incarnation) => incarnation.sign(source).await,
        None => std::future::pending().await,
    }
}

async fn abandoned(start: Option<&watch::Sender<StartOutcome>>) {
    match start {
        Some(start) => start.closed().await,
        None => std::future::pending().await,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
