//! The end of a process, and of an agent: what is told to whom, and what is kept.

use std::{sync::Arc, time::Duration};

use guildhall::{
    agent::{AgentInfo, AgentState, LastExit},
    registry::RegistryError,
};
use tokio::time::Instant;

use super::{
    super::{
        Handed,
        error::{CreateError, StopError},
        incarnation::Incarnation,
        local::Exit,
        output::Source,
        recorder::{Written, retry_waits},
    },
    Agent, Command, End, Ended, Event, Interrupt,
};
use crate::tenure::Standing;

const HANDED_OVER: &str = "handed over to another host";
const UNTENURED: &str = "the host could not renew its lease";

impl Ended {
    /// Made to end, or not started, because the host had no tenure.
    pub(super) fn untenured(reason: String) -> Self {
        let exit = LastExit { reason, ..LastExit::default() };
        Self { exit, success: false, ready_for: Duration::ZERO, untenured: true }
    }
}

impl Agent {
    /// Ends the process, if there is one, the way the interrupt asks for.
    pub(super) async fn interrupted(
        &mut self,
        incarnation: Option<Incarnation>,
        interrupt: Interrupt,
    ) -> End {
        if incarnation.is_none()
            && !self.unwanted
            && matches!(interrupt, Interrupt::Stop { .. } | Interrupt::Closing)
            && let Some(exit) = &mut self.info.last_exit
        {
            // It waits for a restart that will not come.
            exit.reason = format!("{HANDED_OVER} before a restart; at last it {}", exit.reason);
        }
        if let Some(incarnation) = incarnation {
            let ended = match &interrupt {
                Interrupt::Stop { grace } => self.terminate(incarnation, *grace).await,
                Interrupt::Disowned(_) => self.kill(incarnation, "another host has the agent").await,
                Interrupt::Abandoned => self.kill(incarnation, "nobody waited for its start").await,
                Interrupt::Closing => self.kill(incarnation, "the host ends").await,
                Interrupt::Untenured(_) => self.kill(incarnation, UNTENURED).await,
            };
            self.info.last_exit = Some(ended.exit);
            self.info.pid = None;
        }
        match interrupt {
            Interrupt::Stop { .. } if self.unwanted => End::Stopped,
            Interrupt::Stop { .. } => End::HandOver,
            // Only where there is no process, and then nothing has to end.
            Interrupt::Untenured(_) => End::HandOver,
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
                Event::Ended => return self.finish(incarnation, Some(self.why_stopped())).await,
                Event::Notice(_) | Event::Written(_) | Event::Standing => {}
                Event::Interrupt(Interrupt::Untenured(Standing::Held | Standing::Ending)) => {}
                Event::Interrupt(Interrupt::Stop { grace }) => {
                    deadline = deadline.min(Instant::now() + grace)
                }
                Event::Interrupt(Interrupt::Abandoned) => {}
                Event::Deadline
                | Event::Interrupt(
                    Interrupt::Disowned(_) | Interrupt::Closing | Interrupt::Untenured(Standing::Over),
                ) => {
                    let reason = format!("{}, by force after its grace", self.why_stopped());
                    return self.kill(incarnation, &reason).await;
                }
            }
        }
    }

    fn why_stopped(&self) -> &'static str {
        match (self.unwanted, self.handed.is_empty()) {
            (true, _) => "stopped",
            (false, false) => HANDED_OVER,
            (false, true) => UNTENURED,
        }
    }

    /// Ends the process because of the host's tenure: in peace while there is time.
    pub(super) async fn end_untenured(&mut self, incarnation: Incarnation, standing: Standing) -> Ended {
        let ended = match standing {
            Standing::Over => self.kill(incarnation, UNTENURED).await,
            // The end of the tenure cuts its grace short.
            Standing::Held | Standing::Ending => self.terminate(incarnation, self.usual_grace()).await,
        };
        self.info.pid = None;
        Ended { untenured: !self.unwanted && self.handed.is_empty(), ..ended }
    }

    pub(super) async fn kill(&mut self, incarnation: Incarnation, reason: &str) -> Ended {
        incarnation.kill();
        self.finish(incarnation, Some(reason)).await
    }

    /// Waits for the end of a process. `forced` says why it was made to end.
    pub(super) async fn finish(&mut self, incarnation: Incarnation, forced: Option<&str>) -> Ended {
        let ready_for = incarnation.ready_for();
        let source = Source::Agent { key: &self.info.key, epoch: self.info.epoch };
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
            untenured: false,
        }
    }

    /// Sees to what is left when the agent has no process any more.
    pub(super) async fn close(mut self, end: End) {
        let adopts = self.succeeds.is_some();
        match end {
            End::Undone(error) => self.give_up(error).await,
            End::Stopped => self.give_up(CreateError::Stopped).await,
            // A create that still waits is told, and nothing of it is kept.
            End::HandOver if self.start.is_some() => self.give_up(CreateError::Draining).await,
            End::HandOver => self.hand_over().await,
            End::NotAdopted(error) => self.leave(error),
            End::Disowned(error) => {
                tracing::warn!(agent = %self.info.key, %error, "the agent was taken over or released");
                self.leave(error.into());
            }
            End::Ended => self.keep_record().await,
            End::Closing => {
                if !self.shared.leave_claims() {
                    if self.start.is_none() {
                        self.info.state = AgentState::Waiting;
                        if let Err(error) = self.shared.registry.hand_over(&self.info).await {
                            tracing::warn!(agent = %self.info.key, %error, "the agent waits for the host's lease to end");
                        }
                        return self.leave(CreateError::ShuttingDown);
                    }
                    if adopts {
                        // Its claim, if there is one, ends with the host's lease.
                        return self.leave(CreateError::ShuttingDown);
                    }
                    let released = self.claim.release(&self.info, &*self.shared.registry).await;
                    if let Err(error) = released {
                        tracing::warn!(agent = %self.info.key, %error, "the claim ends with the host's lease");
                    }
                }
                self.leave(CreateError::ShuttingDown);
            }
        }
    }

    /// Gives the agent to whichever host takes it, however long the registry is away.
    /// Those who wait are told of the first failure.
    async fn hand_over(mut self) {
        if let Some(in_doubt) = self.recorder.clear() {
            self.claim = in_doubt;
        }
        self.info.state = AgentState::Waiting;
        self.info.pid = None;
        self.show();
        let mut waits = retry_waits(self.shared.config.registry_retry);
        loop {
            // A restart whose answer was lost may have given it another epoch.
            let source = match self.claim.pass_on(&self.info, &*self.shared.registry).await {
                Ok(Some(epoch)) => {
                    self.info.epoch = epoch;
                    break;
                }
                Ok(None) => {
                    let AgentInfo { key, epoch, .. } = self.info.clone();
                    tracing::warn!(agent = %key, "the agent is another's already");
                    return self.leave(CreateError::NotAnOrphan { key, epoch });
                }
                Err(error) => Arc::new(error),
            };
            tracing::warn!(agent = %self.info.key, error = %source, "the agent is handed over later");
            let failed = StopError::Registry { key: self.info.key.clone(), source };
            for answer in self.handed.drain(..) {
                drop(answer.send(Err(failed.clone())));
            }
            let until = Instant::now() + waits.next().unwrap_or_default();
            match self.next(None, Some(until)).await {
                Event::Interrupt(Interrupt::Closing) => return self.leave(CreateError::ShuttingDown),
                Event::Interrupt(Interrupt::Disowned(error)) => return self.leave(error.into()),
                Event::Interrupt(Interrupt::Stop { .. }) if self.unwanted => {
                    return self.give_up(CreateError::Stopped).await;
                }
                _ => {}
            }
        }
        tracing::info!(agent = %self.info.key, epoch = %self.info.epoch, "the agent waits for another host");
        let handed = Handed { record: self.info.clone(), launch: Arc::clone(&self.launch) };
        if self.handed.is_empty() {
            // It restarted in vain here. Who takes it is not this task's affair; one that
            // nobody takes is an orphan, which every host looks for.
            if let Some(elsewhere) = self.shared.elsewhere.get().cloned() {
                self.shared.tasks.spawn(async move { elsewhere.adopt(handed).await });
            }
        } else {
            for answer in self.handed.drain(..) {
                drop(answer.send(Ok(handed.clone())));
            }
        }
        self.leave(CreateError::Draining);
    }

    /// Gives the identity back, however long the registry is away. Those who wait
    /// are told of the first failure; the rest is this task's own affair.
    async fn give_up(mut self, error: CreateError) {
        if let Some(in_doubt) = self.recorder.abandon() {
            self.claim = in_doubt;
        }
        // An adoption that nobody waits for any more is given up; the agent is not.
        let passes_on = self.succeeds.is_some() && !self.unwanted;
        self.info.state = if passes_on { AgentState::Waiting } else { AgentState::Stopping };
        let mut waits = retry_waits(self.shared.config.registry_retry);
        loop {
            let registry = &*self.shared.registry;
            let given = match passes_on {
                true => self.claim.pass_on(&self.info, registry).await.map(drop),
                false => self.claim.release(&self.info, registry).await,
            };
            let Err(source) = given else { break };
            tracing::warn!(agent = %self.info.key, error = %source, "the claim is given back later");
            let failed = StopError::Registry { key: self.info.key.clone(), source: Arc::new(source) };
            // Whoever comes now has this tried again, and waits for that.
            self.shared.table.undo(&self.info.key);
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
        loop {
            match self.next(None, None).await {
                Event::Written(Written::Done) => break,
                Event::Written(Written::Later(source)) => {
                    let failed = StopError::Registry { key: self.info.key.clone(), source: Arc::new(source) };
                    for answer in self.stops.drain(..) {
                        drop(answer.send(Err(failed.clone())));
                    }
                }
                Event::Interrupt(Interrupt::Closing) => {
                    if !self.shared.leave_claims()
                        && let Err(error) = self.shared.registry.update(&self.info).await
                    {
                        tracing::warn!(agent = %self.info.key, %error, "the last record is not written");
                    }
                    break;
                }
                Event::Interrupt(Interrupt::Disowned(error)) => return self.leave(error.into()),
                Event::Interrupt(Interrupt::Stop { .. }) if self.unwanted => {
                    return self.give_up(CreateError::Stopped).await;
                }
                _ => {}
            }
        }
        for answer in self.stops.drain(..) {
            drop(answer.send(Ok(self.info.clone())));
        }
        for answer in self.handed.drain(..) {
            drop(answer.send(Err(StopError::NotFound { key: self.info.key.clone() })));
        }
        self.commands.close();
        self.shared.table.ended(&self.info);
    }

    /// Forgets the agent and answers everybody.
    fn leave(mut self, error: CreateError) {
        let goes_on = self.retired || is_elsewhere(&error);
        self.shared.table.remove(&self.info.key);
        self.refuse_start(error);
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Stop { answer, .. } => self.stops.push(answer),
                Command::HandOver { answer, .. } | Command::Retire { answer, .. } => self.handed.push(answer),
                Command::Disowned { .. } | Command::Overlapping { .. } => {}
            }
        }
        let not_found = || StopError::NotFound { key: self.info.key.clone() };
        for answer in self.stops.drain(..) {
            // Who wants it stopped is to ask the host that has it.
            drop(answer.send(if goes_on { Err(not_found()) } else { Ok(self.info.clone()) }));
        }
        for answer in self.handed.drain(..) {
            drop(answer.send(Err(not_found())));
        }
        if let Some(answer) = self.disowned.take() {
            let _ = answer.send(());
        }
    }

    fn refuse_start(&mut self, error: CreateError) {
        if let Some(start) = self.start.take() {
            start.send_replace(Some(Err(error)));
        }
    }
}

/// Whether another host has the agent now.
fn is_elsewhere(error: &CreateError) -> bool {
    match error {
        CreateError::AlreadyRunning { .. } | CreateError::NotAnOrphan { .. } => true,
        CreateError::Registry(error) => {
            matches!(&**error, RegistryError::Fenced { current: Some(_), .. })
        }
        _ => false,
    }
}
