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
//!
//! Here is the frame; [`start`] brings a process up, [`end`] sees to every end.

mod end;
mod start;

use std::{sync::Arc, time::Duration};

use guildhall::{
    agent::{AgentInfo, AgentState, LastExit},
    ids::Epoch,
    launch::Launch,
    registry::RegistryError,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    Handed, Shared,
    claim::{Claim, Predecessor},
    error::{CreateError, StopError},
    guild_specs::Holder,
    incarnation::{Incarnation, Sign},
    notify::Notice,
    output::Source,
    places::Place,
    recorder::{Recorder, Written},
    restart::Restarts,
    table::StartOutcome,
};
use crate::{
    runner::{Handoff, Runner},
    tenure::{Standing, Term},
};

/// What others ask of an agent's task.
#[derive(Debug)]
pub(super) enum Command {
    /// To stop the agent. `grace` is the caller's wish.
    Stop { grace: Option<Duration>, answer: StopAnswer },
    /// To end here and be handed over to any host that takes it. `at_most` bounds its
    /// grace.
    HandOver { at_most: Duration, answer: HandAnswer },
    /// To say what a successor needs, if one may start while the process goes on.
    Overlapping { answer: oneshot::Sender<Option<Handed>> },
    /// To end, for its incarnation of `epoch` has a successor on another host.
    Retire { epoch: Epoch, at_most: Duration, answer: HandAnswer },
    /// The registry refused to reassert the claim of `epoch`. The answer comes when
    /// that was the agent's end, and is dropped when it was not.
    Disowned { epoch: Epoch, error: RegistryError, answer: oneshot::Sender<()> },
}

pub(super) type StopAnswer = oneshot::Sender<Result<AgentInfo, StopError>>;
pub(super) type HandAnswer = oneshot::Sender<Result<Handed, StopError>>;

/// What an agent is made of.
pub(super) struct Agent {
    pub(super) shared: Arc<Shared>,
    pub(super) runner: Arc<Runner>,
    pub(super) launch: Arc<Launch>,
    /// Its share in the guild's spec.
    pub(super) _guild_spec: Option<Holder>,
    pub(super) info: AgentInfo,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Who waits for the first start; `None` when that is over.
    pub(super) start: Option<watch::Sender<StartOutcome>>,
    /// Its share of the host's capacity.
    pub(super) place: Option<Place>,
    pub(super) claim: Claim,
    pub(super) restarts: Restarts,
    pub(super) recorder: Recorder,
    /// What the host's tenure asks for.
    pub(super) term: watch::Receiver<Term>,
    /// The tenure in which its claim was made: under another the claim may be void, and
    /// nothing may be started by it.
    pub(super) claimed_in: u64,
    /// The tenure in which the present process was started.
    pub(super) started_in: u64,
    /// The incarnation on another host that the first claim succeeds.
    pub(super) succeeds: Option<Predecessor>,
    pub(super) stops: Vec<StopAnswer>,
    /// Who waits for it to be handed over.
    pub(super) handed: Vec<HandAnswer>,
    /// Whether a user asked for its end; nobody needs to hear of it then.
    pub(super) unwanted: bool,
    /// Whether it has a successor: its claim is void, and records would be refused.
    pub(super) retired: bool,
    pub(super) disowned: Option<oneshot::Sender<()>>,
}

/// What an agent's task can learn while it waits.
enum Event {
    Ended,
    Notice(Notice),
    Written(Written),
    Deadline,
    /// The standing of the host has changed, while there is no process.
    Standing,
    Interrupt(Interrupt),
}

/// What ends an agent, whatever it is doing.
enum Interrupt {
    Stop {
        grace: Duration,
    },
    Disowned(RegistryError),
    Abandoned,
    Closing,
    /// The host's tenure is about to end, or over.
    Untenured(Standing),
}

/// How an agent's life ended.
enum End {
    /// The first start came to nothing.
    Undone(CreateError),
    Stopped,
    /// It is to go on, on another host.
    HandOver,
    /// It was to be taken over from another host, and was not.
    NotAdopted(CreateError),
    /// Another host has it now, or it was stopped by way of the registry.
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
    /// It was made to end, for the host had no tenure: no fault of the agent's.
    untenured: bool,
}

/// Somebody claimed or released the agent, rather than the registry lost it.
pub(super) fn is_taken(error: &RegistryError) -> bool {
    !matches!(error, RegistryError::Forgotten { .. })
}

impl Agent {
    pub(super) async fn live(mut self) {
        let end = self.run().await;
        // Its process has ended by now, and everything of that is reaped.
        self.place = None;
        self.close(end).await;
    }

    async fn run(&mut self) -> End {
        let first = match self.succeeds {
            Some(predecessor) => self.adopt(predecessor.epoch).await,
            None => self.first_start().await,
        };
        let mut incarnation = match first {
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

    /// Waits for the end of a process that is ready.
    async fn watch_over(&mut self, mut incarnation: Incarnation) -> Result<Ended, End> {
        let watchdog = self.runner.watchdog;
        let mut deadline = watchdog.map(|within| Instant::now() + within);
        loop {
            match self.next(Some(&mut incarnation), deadline).await {
                Event::Written(_) => self.answer_start(),
                Event::Standing => {}
                Event::Interrupt(Interrupt::Untenured(standing)) => {
                    return Ok(self.end_untenured(incarnation, standing).await);
                }
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
                Event::Ended => {
                    let ended = self.finish(incarnation, None).await;
                    // The fence was first.
                    let untenured = !ended.success && !self.shared.tenure.is_held();
                    return Ok(Ended { untenured, ..ended });
                }
                Event::Interrupt(interrupt) => {
                    return Err(self.interrupted(Some(incarnation), interrupt).await);
                }
            }
        }
    }

    /// The one place where the task waits.
    async fn next(&mut self, mut incarnation: Option<&mut Incarnation>, deadline: Option<Instant>) -> Event {
        let has_process = incarnation.is_some();
        let ending = self.info.state == AgentState::Stopping;
        loop {
            let source = Source::Agent { key: &self.info.key, epoch: self.info.epoch };
            let interrupt = tokio::select! {
                Some(command) = self.commands.recv() => match command {
                    // Its successor is meant, on another host.
                    Command::Stop { answer, .. } if self.retired => {
                        let _ = answer.send(Err(StopError::NotFound { key: self.info.key.clone() }));
                        continue;
                    }
                    Command::Stop { grace, answer } => {
                        self.unwanted = true;
                        self.stops.push(answer);
                        Interrupt::Stop { grace: grace.unwrap_or_else(|| self.usual_grace()) }
                    }
                    Command::HandOver { at_most, answer } => {
                        self.handed.push(answer);
                        Interrupt::Stop { grace: self.usual_grace().min(at_most) }
                    }
                    Command::Overlapping { answer } => {
                        let _ = answer.send(self.overlapping());
                        continue;
                    }
                    Command::Retire { epoch, at_most, answer } if epoch == self.info.epoch => {
                        self.retire();
                        self.handed.push(answer);
                        Interrupt::Stop { grace: self.usual_grace().min(at_most) }
                    }
                    // It was started again since, and so has the identity.
                    Command::Retire { .. } => continue,
                    Command::Disowned { epoch, error, answer }
                        if epoch == self.info.epoch && !self.is_claim_in_doubt() =>
                    {
                        if !is_taken(&error) {
                            self.recorder.adopt(&self.info);
                            continue;
                        }
                        self.disowned = Some(answer);
                        Interrupt::Disowned(error)
                    }
                    // It has been claimed anew since, or perhaps has been.
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
                    Written::Adopted(claim, epoch) => {
                        self.adopted(claim, epoch);
                        continue;
                    }
                    Written::Fenced(error) => Interrupt::Disowned(error),
                    written => return Event::Written(written),
                },
                () = abandoned(self.start.as_ref()) => {
                    if !self.shared.table.begin_undo(&self.info.key) {
                        continue;
                    }
                    Interrupt::Abandoned
                }
                standing = untenured(&mut self.term, self.started_in, has_process, ending) => match standing {
                    Some(standing) => Interrupt::Untenured(standing),
                    None => return Event::Standing,
                },
                () = self.shared.closing.cancelled() => Interrupt::Closing,
                () = reached(deadline) => return Event::Deadline,
            };
            return Event::Interrupt(interrupt);
        }
    }

    fn usual_grace(&self) -> Duration {
        self.runner.stop_grace.unwrap_or(self.shared.config.stop_grace)
    }

    /// Whether there may be a newer claim of this host's own, which then is what the
    /// present one is fenced by.
    fn is_claim_in_doubt(&self) -> bool {
        matches!(self.claim, Claim::InDoubt { .. }) || self.recorder.is_adopting()
    }

    /// The registry had lost the record, and the agent has a new claim.
    fn adopted(&mut self, claim: Claim, epoch: Epoch) {
        tracing::warn!(agent = %self.info.key, old = %self.info.epoch, new = %epoch, "the registry had lost the record");
        self.claim = claim;
        self.info.epoch = epoch;
        self.record();
    }

    /// The first start succeeded: says so to those who wait for it.
    fn answer_start(&mut self) {
        if let Some(start) = self.start.take() {
            self.shared.table.started(&self.info.key);
            start.send_replace(Some(Ok(self.info.clone())));
        }
    }

    fn show(&self) {
        self.shared.table.show(&self.info);
    }

    /// Shows what the agent is now, and has it written.
    fn record(&mut self) {
        self.show();
        if !self.retired {
            self.recorder.put(&self.info);
        }
    }

    /// What a successor needs, if one may start while the process goes on.
    fn overlapping(&self) -> Option<Handed> {
        let may = self.runner.handoff == Handoff::Overlap && self.info.state == AgentState::Running;
        let is_sure = !self.is_claim_in_doubt();
        (may && is_sure).then(|| Handed { record: self.info.clone(), launch: Arc::clone(&self.launch) })
    }

    /// Another host has its identity from here on.
    fn retire(&mut self) {
        self.retired = true;
        self.claim = Claim::None;
        // A claim in doubt is void too.
        drop(self.recorder.abandon());
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

/// Waits until the tenure says that a process must end: `None` when there is none, and the
/// standing has changed. One that is `ending` is only told that time is up.
async fn untenured(
    term: &mut watch::Receiver<Term>,
    started_in: u64,
    has_process: bool,
    ending: bool,
) -> Option<Standing> {
    loop {
        let now = *term.borrow_and_update();
        if has_process {
            if now.standing == Standing::Over || now.number != started_in {
                return Some(Standing::Over);
            }
            if now.standing == Standing::Ending && !ending {
                return Some(Standing::Ending);
            }
        }
        if term.changed().await.is_err() {
            return std::future::pending().await;
        }
        if !has_process {
            return None;
        }
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
