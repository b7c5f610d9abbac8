//! From a claim to a process that is ready, for the first time or again.

use std::{io, sync::Arc, time::Duration};

use guildhall::{
    agent::{AgentState, LastExit},
    ids::Epoch,
    registry::RegistryError,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    super::{
        Shared,
        claim::Refused,
        error::CreateError,
        incarnation::Incarnation,
        recorder::retry_waits,
        restart::{Failure, Verdict},
    },
    Agent, End, Ended, Event, Interrupt,
};

/// Hosts on which an agent is restarted in vain before it has failed.
const HOSTS_TRIED: usize = 2;

/// Why a process did not become ready.
enum Unready {
    Spawn(io::Error),
    Ended(Ended),
    TimedOut(Duration, Ended),
    Interrupted(End),
}

impl Agent {
    /// Takes over an agent from another host. Once it is claimed it is this host's to keep
    /// running; until then nothing of it is.
    pub(super) async fn adopt(&mut self, epoch: Epoch) -> Result<Incarnation, End> {
        let mut waits = retry_waits(self.shared.config.registry_retry);
        loop {
            match self.take_claim().await {
                Ok(()) => break,
                Err(Refused::By(holder)) => {
                    return Err(End::NotAdopted(CreateError::AlreadyRunning { holder }));
                }
                Err(Refused::Registry(RegistryError::Fenced { key, .. } | RegistryError::Forgotten { key, .. })) => {
                    return Err(End::NotAdopted(CreateError::NotAnOrphan { key, epoch }));
                }
                Err(Refused::Registry(error @ RegistryError::Settling { .. })) => {
                    return Err(End::NotAdopted(error.into()));
                }
                // The claim may have been made: then nobody else looks after the agent.
                Err(Refused::Registry(error)) => {
                    tracing::warn!(agent = %self.info.key, %error, "the adoption waits for the registry");
                    self.wait(waits.next().unwrap_or_default()).await?;
                }
            }
        }
        self.answer_start();
        let ended = match self.start_process().await {
            Ok(incarnation) => return Ok(incarnation),
            Err(Unready::Interrupted(end)) => return Err(end),
            Err(unready) => unready.into_end(),
        };
        self.start_again(ended).await
    }

    pub(super) async fn first_start(&mut self) -> Result<Incarnation, End> {
        match self.take_claim().await {
            Ok(()) => {}
            Err(Refused::By(holder)) => return Err(End::Undone(CreateError::AlreadyRunning { holder })),
            Err(Refused::Registry(error)) => return Err(End::Undone(error.into())),
        }
        self.start_process().await.map_err(|unready| match unready {
            Unready::Interrupted(end) => end,
            Unready::Ended(Ended { untenured: true, .. }) => End::Undone(CreateError::NoTenure),
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
        // One that nobody waits for waits for its turn.
        let _turn = match self.start {
            Some(_) => None,
            None => self.turn().await.map_err(Unready::Interrupted)?,
        };
        if !shared.tenure.is_held() {
            return Err(Unready::Ended(Ended::untenured("the host has no tenure".to_owned())));
        }
        self.started_in = self.term.borrow().number;
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
                Event::Notice(_) | Event::Written(_) | Event::Standing => {}
                Event::Interrupt(Interrupt::Untenured(standing)) => {
                    return Err(Unready::Ended(self.end_untenured(incarnation, standing).await));
                }
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
            if ended.untenured {
                self.info.state = AgentState::Restarting;
                self.record();
                self.wait_for_tenure().await?;
                match self.restart().await? {
                    Ok(incarnation) => return Ok(incarnation),
                    Err(again) => ended = again,
                }
                continue;
            }
            let delay = match self.restarts.ended(ended.success, ended.ready_for, rand::random()) {
                Verdict::Restart(delay) => delay,
                Verdict::Finished => {
                    self.info.state = AgentState::Finished;
                    return Err(End::Ended);
                }
                Verdict::Failed(failure @ Failure::LimitReached(_)) if self.may_go_elsewhere() => {
                    ended.exit.reason = format!("{failure} on {}; at last it {}", self.info.host, ended.exit.reason);
                    self.info.last_exit = Some(ended.exit);
                    self.info.failed_on.push(self.info.host.clone());
                    return Err(End::HandOver);
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
            match self.restart().await? {
                Ok(incarnation) => return Ok(incarnation),
                Err(again) => ended = again,
            }
        }
    }

    /// Starts it once more, under a new epoch. Answers with how it ended if it did not
    /// become ready.
    async fn restart(&mut self) -> Result<Result<Incarnation, Ended>, End> {
        self.info.restarts += 1;
        self.claim_again().await?;
        match self.start_process().await {
            Ok(incarnation) => Ok(Ok(incarnation)),
            Err(Unready::Interrupted(end)) => Err(end),
            Err(unready) => Ok(Err(unready.into_end())),
        }
    }

    /// Whether it may be tried on another host before it has failed for good.
    fn may_go_elsewhere(&self) -> bool {
        self.info.failed_on.len() < HOSTS_TRIED - 1
            && self.shared.elsewhere.get().is_some_and(|elsewhere| elsewhere.is_there())
    }

    /// Waits until the host may run agents.
    async fn wait_for_tenure(&mut self) -> Result<(), End> {
        while !self.shared.tenure.is_held() {
            match self.next(None, None).await {
                Event::Interrupt(interrupt) => return Err(self.interrupted(None, interrupt).await),
                Event::Ended | Event::Notice(_) | Event::Written(_) | Event::Standing | Event::Deadline => {}
            }
        }
        Ok(())
    }

    /// Waits for its turn to start, among those that nobody waits for.
    async fn turn(&mut self) -> Result<Option<OwnedSemaphorePermit>, End> {
        let turns = Arc::clone(&self.shared.restarts);
        let mut turn = std::pin::pin!(turns.acquire_owned());
        loop {
            tokio::select! {
                // It is never closed.
                turn = &mut turn => return Ok(turn.ok()),
                event = self.next(None, None) => if let Event::Interrupt(interrupt) = event {
                    return Err(self.interrupted(None, interrupt).await);
                },
            }
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
        let taken = self.claim.take(&self.info, &self.launch, self.succeeds, &**registry, lease);
        self.info.epoch = taken.await?;
        self.succeeds = None;
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
                Event::Ended | Event::Notice(_) | Event::Written(_) | Event::Standing => {}
            }
        }
    }
}

impl Unready {
    /// As the end of a process, for one that is started again all the same.
    fn into_end(self) -> Ended {
        match self {
            Self::Ended(ended) | Self::TimedOut(_, ended) => ended,
            Self::Spawn(error) => Ended {
                exit: LastExit {
                    reason: format!("could not be executed: {error}"),
                    ..LastExit::default()
                },
                success: false,
                ready_for: Duration::ZERO,
                untenured: false,
            },
            // Never asked for: an interrupt ends all starts.
            Self::Interrupted(_) => Ended::untenured(String::new()),
        }
    }
}
