//! From a claim to a process that is ready, for the first time or again.

use std::{io, sync::Arc, time::Duration};

use guildhall::{
    agent::{AgentState, LastExit},
    registry::RegistryError,
};
use tokio::time::Instant;

use super::{
    super::{
        Shared, claim::Refused, error::CreateError, incarnation::Incarnation, recorder::retry_waits,
        restart::Verdict,
    },
    Agent, End, Ended, Event,
};

/// Why a process did not become ready.
enum Unready {
    Spawn(io::Error),
    Ended(Ended),
    TimedOut(Duration, Ended),
    Interrupted(End),
}

impl Agent {
    pub(super) async fn first_start(&mut self) -> Result<Incarnation, End> {
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

    /// Applies the restart rules to an end, again and again until a process is
    /// ready or the agent has ended.
    pub(super) async fn start_again(&mut self, mut ended: Ended) -> Result<Incarnation, End> {
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
                // It was stopped by way of the registry, or claimed in the meantime.
                Err(Refused::Registry(error @ RegistryError::Fenced { .. })) => {
                    return Err(End::Disowned(error));
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
        if let Some(in_doubt) = self.recorder.clear() {
            self.claim = in_doubt;
        }
        self.info.state = AgentState::Starting;
        let Shared { registry, lease, .. } = &*self.shared;
        self.info.epoch = self.claim.take(&self.info, &**registry, lease).await?;
        self.show();
        Ok(())
    }

    /// Waits without a process.
    pub(super) async fn wait(&mut self, delay: Duration) -> Result<(), End> {
        let until = Instant::now() + delay;
        loop {
            match self.next(None, Some(until)).await {
                Event::Deadline => return Ok(()),
                Event::Interrupt(interrupt) => return Err(self.interrupted(None, interrupt).await),
                Event::Ended | Event::Notice(_) | Event::Written(_) => {}
            }
        }
    }
}
