//! Deciding about a create: whether it is new, a retry, or refused.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use guildhall::{
    agent::{AgentInfo, AgentState},
    ids::Epoch,
    launch::{InvalidLaunch, Launch},
    resources::Amounts,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Successor, Supervisor,
    agent::{Agent, Command},
    claim::{Claim, Predecessor},
    error::{CreateError, StopError},
    places::Place,
    recorder::Recorder,
    restart::Restarts,
    table::{Entry, NewEntry, StartOutcome},
};

/// Commands that wait for an agent's task at most; senders of more wait too.
const COMMANDS: usize = 4;

/// Longest request id, bytes.
const MAX_REQUEST_ID: usize = 256;

/// What a create finds.
enum Admission {
    /// A start to wait for.
    Wait(watch::Receiver<StartOutcome>),
    /// The answer.
    Answer(Box<Result<AgentInfo, CreateError>>),
    /// An agent that nobody wants any more and whose task is not yet done with it:
    /// the start is being undone, or the last record written. It is to be forgotten.
    Forget(mpsc::Sender<Command>),
}

impl Supervisor {
    /// Starts an agent and waits until it is ready. When the caller does not wait
    /// (the future is dropped), the start is undone. A create with the request id
    /// of an agent that is here is a retry of the one that made it: it joins the
    /// start, or gets its answer.
    ///
    /// # Errors
    /// [`CreateError`]; nothing of the agent is left then.
    pub async fn create(&self, launch: Launch, request_id: String) -> Result<AgentInfo, CreateError> {
        check(&launch, &request_id)?;
        if !self.shared.tenure.is_held() {
            return Err(CreateError::NoTenure);
        }
        self.admitted(launch, &request_id, None).await
    }

    /// Takes over an agent that was accepted and has no host any more, or whose host asks
    /// for it. Answers when it is
    /// claimed; from then on it is started under the restart rules, whoever waits.
    ///
    /// # Errors
    /// [`CreateError`]; the agent is left as it was then.
    pub async fn adopt(
        &self,
        launch: Launch,
        request_id: String,
        successor: Successor,
    ) -> Result<AgentInfo, CreateError> {
        check(&launch, &request_id)?;
        if !self.shared.tenure.is_held() {
            return Err(CreateError::NoTenure);
        }
        self.admitted(launch, &request_id, Some(successor)).await
    }

    async fn admitted(
        &self,
        launch: Launch,
        request_id: &str,
        successor: Option<Successor>,
    ) -> Result<AgentInfo, CreateError> {
        loop {
            match self.admit(&launch, request_id, successor.as_ref())? {
                Admission::Answer(answer) => return *answer,
                Admission::Wait(mut start) => {
                    // It ends without an answer only when the task was dropped.
                    let Ok(outcome) = start.wait_for(Option::is_some).await else {
                        return Err(CreateError::ShuttingDown);
                    };
                    return outcome.clone().unwrap_or(Err(CreateError::ShuttingDown));
                }
                Admission::Forget(commands) => forget(&commands).await?,
            }
        }
    }

    /// Decides about a create in one step, and begins it when it is a new one.
    fn admit(
        &self,
        launch: &Launch,
        request_id: &str,
        successor: Option<&Successor>,
    ) -> Result<Admission, CreateError> {
        let shared = &self.shared;
        let runner = Arc::clone(shared.runners.load().select(launch)?);
        let record = successor.map(|successor| &successor.record);
        let info = AgentInfo {
            key: launch.key.clone(),
            name: launch.name.clone(),
            class_name: launch.class_name.clone(),
            host: shared.config.host.clone(),
            pid: None,
            state: AgentState::Starting,
            epoch: Epoch::default(),
            created_at_ms: record.map_or_else(now_ms, |record| record.created_at_ms),
            start_ms: None,
            restarts: record.map_or(0, |record| record.restarts + 1),
            last_exit: record.and_then(|record| record.last_exit.clone()),
            request_id: request_id.to_owned(),
            placed_by: launch.placed_by.clone(),
            failed_on: record.map(|record| record.failed_on.clone()).unwrap_or_default(),
        };
        let mut begin = None;
        let admission = shared.table.enter(&launch.key, |entry| {
            if let Some(found) = entry.and_then(|entry| find(entry, request_id, successor.is_some())) {
                return (None, found);
            }
            let place = match self.reserve(launch) {
                Ok(place) => place,
                Err(error) => return (None, Admission::Answer(Box::new(Err(error)))),
            };
            let (commands, receiver) = mpsc::channel(COMMANDS);
            let (start, outcome) = watch::channel(None);
            begin = Some((place, receiver, start.clone()));
            (Some(NewEntry { info: info.clone(), commands, start }), Admission::Wait(outcome))
        });
        if let Some((place, commands, start)) = begin {
            let config = &shared.config;
            let mut launch = launch.clone();
            let guild_spec = shared.guild_specs.share(&launch.key.guild, &mut launch.guild_spec);
            let launch = Arc::new(launch);
            let agent = Agent {
                term: shared.tenure.term(),
                claimed_in: 0,
                started_in: 0,
                succeeds: successor.map(|successor| Predecessor {
                    epoch: successor.record.epoch,
                    overlaps: successor.overlaps,
                }),
                handed: Vec::new(),
                restarts: Restarts::new(runner.restart, config.restart),
                recorder: Recorder::new(
                    Arc::clone(&shared.registry),
                    shared.lease.clone(),
                    Arc::clone(&launch),
                    config.registry_retry,
                ),
                shared: Arc::clone(shared),
                runner,
                launch,
                _guild_spec: guild_spec,
                info,
                commands,
                start: Some(start),
                place: Some(place),
                claim: Claim::default(),
                stops: Vec::new(),
                unwanted: false,
                retired: false,
                disowned: None,
            };
            shared.tasks.spawn(agent.live());
        }
        Ok(admission)
    }

    fn reserve(&self, launch: &Launch) -> Result<Place, CreateError> {
        if self.shared.closing.is_cancelled() {
            return Err(CreateError::ShuttingDown);
        }
        if self.is_cordoned() {
            return Err(CreateError::Draining);
        }
        let places = &self.shared.places;
        let full = CreateError::CapacityExhausted { capacity: places.capacity() };
        places.take(Amounts::from(&launch.resources)).ok_or(full)
    }
}

/// What the entry that is there means for a create; `None` when it may be replaced.
fn find(entry: &Entry, request_id: &str, adopts: bool) -> Option<Admission> {
    let answer = |answer| Some(Admission::Answer(Box::new(answer)));
    let forget = || (!entry.commands.is_closed()).then(|| Admission::Forget(entry.commands.clone()));
    if entry.is_undoing() {
        return forget();
    }
    // What an earlier life of an adopted agent left here is no answer.
    if entry.info.request_id == request_id && (entry.info.state.is_live() || !adopts) {
        return match &entry.start {
            Some(start) => Some(Admission::Wait(start.subscribe())),
            None => answer(Ok(entry.info.clone())),
        };
    }
    if entry.info.state.is_live() {
        return answer(Err(CreateError::AlreadyRunning { holder: Box::new(entry.info.clone()) }));
    }
    forget()
}

/// Has a task give its agent's identity back at once. It is this task that is asked,
/// not whichever has the key by then, which may be a new agent's.
async fn forget(commands: &mpsc::Sender<Command>) -> Result<(), CreateError> {
    let (answer, answered) = oneshot::channel();
    let stop = Command::Stop { grace: None, answer };
    if commands.send(stop).await.is_err() {
        return Ok(());
    }
    match answered.await {
        Ok(Err(StopError::Registry { source, .. })) => Err(CreateError::Registry(source)),
        // It is gone, or its task was done before it came to this.
        Ok(Ok(_) | Err(StopError::NotFound { .. })) | Err(_) => Ok(()),
    }
}

fn check(launch: &Launch, request_id: &str) -> Result<(), InvalidLaunch> {
    launch.check()?;
    let reason = match request_id.len() {
        0 => "is empty".to_owned(),
        1..=MAX_REQUEST_ID => return Ok(()),
        bytes => format!("has {bytes} bytes; at most {MAX_REQUEST_ID} are allowed"),
    };
    Err(InvalidLaunch::Field { field: "request id", reason })
}

/// For people to read; nothing compares it.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
