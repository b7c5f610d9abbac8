//! The SDK's engine, method by method. Each answers with a [`Call`].

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, future::try_join_all, stream::BoxStream};
use guildhall::{
    agent,
    engine::{AgentOutcome, EngineError, ExecutionEngine},
    ids::{AgentId, AgentKey, GuildId},
    launch::Launch,
    spec::GuildSpec,
};
use pyo3::{IntoPyObjectExt, Py, PyAny, PyResult, Python, pyclass, pymethods};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    call::{Call, Outcome, failed},
    errors,
    launch::Options,
    process::{self, Membership},
    records::{AgentEvent, AgentInfo, HostInfo},
    session::{Session, Slot},
    settings::Settings,
};

/// A way to a fleet. Connections with equal settings share an engine and, when it is
/// embedded, the fleet; each must be closed.
#[pyclass(frozen, module = "guildhall._guildhall")]
pub(crate) struct Connection {
    state: Mutex<State>,
    /// Told to the calls under way when this connection is closed.
    closing: CancellationToken,
}

enum State {
    Open(Membership),
    /// Its calls have been told to end, and the session ends if nobody else uses it.
    Closing(Membership),
    Closed,
}

/// Where calls run, and what they ask.
struct Way {
    pid: u32,
    runtime: Handle,
    slot: Arc<Slot>,
}

/// What a call of the engine answers.
type Answer<T> = Result<T, EngineError>;

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the session, unless it is closed or another process's.
    fn way(&self, py: Python<'_>) -> PyResult<Way> {
        // No Python runs under the lock: it may let another thread come, which would wait
        // for the lock and never let this one go on.
        let way = match &*self.state() {
            State::Open(membership) => Some((
                membership.process.pid(),
                membership.process.handle().cloned(),
                Arc::clone(&membership.slot),
            )),
            State::Closing(_) | State::Closed => None,
        };
        match way {
            Some((pid, ..)) if pid != std::process::id() => Err(errors::forked(py, pid)),
            Some((pid, Some(runtime), slot)) => Ok(Way { pid, runtime, slot }),
            _ => Err(errors::closed(py)),
        }
    }

    /// Starts a call on the session, which is made if this is the first one.
    fn call<T, F, Fut, R, P>(&self, py: Python<'_>, ask: F, show: R) -> PyResult<Call>
    where
        T: Send + 'static,
        F: FnOnce(&Session) -> Fut + Send + 'static,
        Fut: Future<Output = Answer<T>> + Send,
        R: FnOnce(Python<'_>, T) -> PyResult<P> + Send + 'static,
        P: for<'py> IntoPyObjectExt<'py>,
    {
        let Way { runtime, slot, .. } = self.way(py)?;
        let closing = self.closing.clone();
        let asked = async move {
            let session = match slot.session().await {
                Ok(session) => session,
                Err(error) => return failed(move |py| errors::connect(py, &error)),
            };
            match ask(session).await {
                Ok(answer) => Box::new(move |py: Python<'_>| show(py, answer)?.into_py_any(py)) as Outcome,
                Err(error) => failed(move |py| errors::engine(py, &error)),
            }
        };
        Ok(Call::start(&runtime, async move {
            let outcome = closing.run_until_cancelled(asked).await;
            outcome.unwrap_or_else(|| failed(errors::closed))
        }))
    }
}

fn key(py: Python<'_>, guild: &str, agent: &str) -> PyResult<AgentKey> {
    let agent = AgentId::new(agent).map_err(|error| errors::invalid_id(py, &error))?;
    Ok(AgentKey::new(guild_id(py, guild)?, agent))
}

fn guild_id(py: Python<'_>, guild: &str) -> PyResult<GuildId> {
    GuildId::new(guild).map_err(|error| errors::invalid_id(py, &error))
}

/// For each agent its id, and the agent or an exception.
fn outcomes(py: Python<'_>, outcomes: Vec<AgentOutcome>) -> PyResult<Vec<(String, Py<PyAny>)>> {
    let told = outcomes.into_iter().map(|outcome| {
        let result = match &outcome.result {
            Ok(agent) => AgentInfo::new(py, agent)?.into_py_any(py)?,
            Err(error) => errors::engine(py, error).into_value(py).into_any(),
        };
        Ok((outcome.key.agent.to_string(), result))
    });
    told.collect()
}

fn info(py: Python<'_>, agent: agent::AgentInfo) -> PyResult<AgentInfo> {
    AgentInfo::new(py, &agent)
}

fn infos(py: Python<'_>, agents: Vec<agent::AgentInfo>) -> PyResult<Vec<AgentInfo>> {
    AgentInfo::list(py, &agents)
}

#[pymethods]
impl Connection {
    /// Opens a connection. Nothing is connected to before the first call.
    #[new]
    fn open(py: Python<'_>, settings: Settings) -> PyResult<Self> {
        settings.place().map_err(|reason| errors::settings(py, &reason))?;
        let membership = process::enter(py, settings)?;
        Ok(Self { state: Mutex::new(State::Open(membership)), closing: CancellationToken::new() })
    }

    /// Answers when the engine is there.
    fn ready(&self, py: Python<'_>) -> PyResult<Call> {
        self.call(py, |_| async { Ok(()) }, |_, ()| Ok(()))
    }

    /// Waits until the engine knows of so many hosts.
    fn wait_for_hosts(&self, py: Python<'_>, count: usize, within: f64) -> PyResult<Call> {
        let within = Duration::try_from_secs_f64(within)
            .map_err(|error| errors::settings(py, &format!("within: {error}")))?;
        self.call(
            py,
            move |session| {
                let engine = session.engine.clone();
                async move { engine.wait_for_hosts(count, within).await }
            },
            |_, ()| Ok(()),
        )
    }

    /// The hosts that the engine knows of.
    fn hosts(&self, py: Python<'_>) -> PyResult<Call> {
        self.call(
            py,
            |session| {
                let hosts = session.engine.hosts();
                async move { Ok(hosts) }
            },
            |_, hosts| Ok(hosts.iter().map(HostInfo::from).collect::<Vec<_>>()),
        )
    }

    /// The policy that the engine decides with, by name and version.
    fn policy(&self, py: Python<'_>) -> PyResult<Call> {
        self.call(
            py,
            |session| {
                let policy = session.engine.policy();
                async move { Ok(policy) }
            },
            |_, policy| Ok(policy.to_string()),
        )
    }

    /// Starts an agent; answers when it is ready.
    fn run_agent(
        &self,
        py: Python<'_>,
        guild: &str,
        agent_spec: &str,
        guild_spec: &str,
        options: Options,
    ) -> PyResult<Call> {
        let launch = options
            .of_agent(guild_id(py, guild)?, agent_spec, guild_spec)
            .map_err(|error| errors::invalid_launch(py, &error))?;
        self.call(
            py,
            move |session| {
                let engine = session.engine.clone();
                async move { engine.run_agent(launch).await }
            },
            info,
        )
    }

    /// Starts all agents of a guild: YAML or JSON, or with `is_path` the path of either.
    fn run_guild(&self, py: Python<'_>, spec: &str, is_path: bool, options: Options) -> PyResult<Call> {
        let guild = py.detach(|| match is_path {
            true => GuildSpec::from_path(spec),
            false => GuildSpec::from_yaml(spec),
        });
        let guild = guild.map_err(|error| errors::spec(py, &error))?;
        let options = options.of_guild().map_err(|error| errors::invalid_launch(py, &error))?;
        self.call(
            py,
            move |session| {
                let engine = session.engine.clone();
                async move { Ok((guild.id().to_string(), engine.run_guild(&guild, &options).await)) }
            },
            |py, (guild, started)| Ok((guild, outcomes(py, started)?)),
        )
    }

    /// Stops an agent; answers when its process is gone.
    fn stop_agent(&self, py: Python<'_>, guild: &str, agent: &str) -> PyResult<Call> {
        let key = key(py, guild, agent)?;
        self.call(
            py,
            move |session| {
                let engine = session.engine.clone();
                async move { engine.stop_agent(&key).await }
            },
            info,
        )
    }

    /// Stops all agents of a guild.
    fn stop_guild(&self, py: Python<'_>, guild: &str) -> PyResult<Call> {
        let guild = guild_id(py, guild)?;
        self.call(
            py,
            move |session| {
                let engine = session.engine.clone();
                async move { engine.stop_guild(&guild).await }
            },
            outcomes,
        )
    }

    /// One agent, or None.
    fn get_agent(&self, py: Python<'_>, guild: &str, agent: &str) -> PyResult<Call> {
        let key = key(py, guild, agent)?;
        self.call(
            py,
            move |session| {
                let engine = session.engine.clone();
                async move { engine.get_agent(&key).await }
            },
            |py, agent| agent.map(|agent| info(py, agent)).transpose(),
        )
    }

    /// All agents of a guild, sorted by id.
    fn get_agents_in_guild(&self, py: Python<'_>, guild: &str) -> PyResult<Call> {
        let guild = guild_id(py, guild)?;
        self.call(
            py,
            move |session| {
                let engine = session.engine.clone();
                async move { engine.get_agents_in_guild(&guild).await }
            },
            infos,
        )
    }

    /// The agents of a guild that have this name.
    fn find_agents_by_name(&self, py: Python<'_>, guild: &str, name: String) -> PyResult<Call> {
        let guild = guild_id(py, guild)?;
        self.call(
            py,
            move |session| {
                let engine = session.engine.clone();
                async move { engine.find_agents_by_name(&guild, &name).await }
            },
            infos,
        )
    }

    /// Whether the agent's process is there and ready.
    fn is_agent_running(&self, py: Python<'_>, guild: &str, agent: &str) -> PyResult<Call> {
        let key = key(py, guild, agent)?;
        self.call(
            py,
            move |session| {
                let engine = session.engine.clone();
                async move { engine.is_agent_running(&key).await }
            },
            |_, running| Ok(running),
        )
    }

    /// The specs, in JSON, that these agents were launched with; None for those that were
    /// stopped or started again since they were listed.
    fn launched_specs(&self, py: Python<'_>, agents: Vec<Py<AgentInfo>>) -> PyResult<Call> {
        let agents: Vec<_> = agents.iter().map(|agent| agent.get().record.clone()).collect();
        self.call(
            py,
            move |session| {
                let engine = session.engine.clone();
                async move { try_join_all(agents.iter().map(|agent| engine.launch(agent))).await }
            },
            |_, launches| {
                let spec =
                    |launch: Option<Launch>| launch.map(|launch| launch.agent_spec.as_str().to_owned());
                Ok(launches.into_iter().map(spec).collect::<Vec<_>>())
            },
        )
    }

    /// The agents of a guild: a snapshot, then changes.
    fn watch(&self, py: Python<'_>, guild: &str) -> PyResult<Call> {
        let guild = guild_id(py, guild)?;
        let Way { pid, runtime, .. } = self.way(py)?;
        let closing = self.closing.clone();
        self.call(
            py,
            move |session| {
                let events = session.engine.watch(&guild);
                async move { Ok(events.take_until(closing.cancelled_owned()).boxed()) }
            },
            move |_, events| Ok(Events { events: Arc::new(tokio::sync::Mutex::new(events)), runtime, pid }),
        )
    }

    /// Closes the connection: calls under way end, and the session does if nobody else
    /// uses it. To be followed by `finish` when it is done.
    fn close(&self, py: Python<'_>) -> PyResult<Option<Call>> {
        let mut state = self.state();
        let membership = match std::mem::replace(&mut *state, State::Closed) {
            State::Open(membership) => membership,
            other => {
                *state = other;
                return Ok(None);
            }
        };
        if membership.process.is_parents() {
            return Ok(None);
        }
        self.closing.cancel();
        let last = membership.leave_session(py);
        let Some(runtime) = membership.process.handle() else { return Ok(None) };
        let slot = Arc::clone(&membership.slot);
        let ended = async move {
            if last && let Some(session) = slot.made() {
                session.end().await;
            }
            Box::new(|py: Python<'_>| Ok(py.None())) as Outcome
        };
        let call = Call::start_unstoppable(runtime, ended);
        *state = State::Closing(membership);
        Ok(Some(call))
    }

    /// Lets the runtime go, after `close` is done; the last one ends it and its threads.
    fn finish(&self, py: Python<'_>) {
        let state = std::mem::replace(&mut *self.state(), State::Closed);
        match state {
            State::Closing(membership) => membership.leave_process(py),
            other => *self.state() = other,
        }
    }
}

/// The changes of a guild's agents, one by one.
#[pyclass(frozen, module = "guildhall._guildhall")]
pub(crate) struct Events {
    events: Arc<tokio::sync::Mutex<BoxStream<'static, agent::AgentEvent>>>,
    runtime: Handle,
    pid: u32,
}

#[pymethods]
impl Events {
    /// The next event, or None at the end.
    fn next(&self, py: Python<'_>) -> PyResult<Call> {
        if self.pid != std::process::id() {
            return Err(errors::forked(py, self.pid));
        }
        let events = Arc::clone(&self.events);
        Ok(Call::start(&self.runtime, async move {
            let event = events.lock().await.next().await;
            Box::new(move |py: Python<'_>| match event {
                Some(event) => AgentEvent::new(py, &event)?.into_py_any(py),
                None => Ok(py.None()),
            }) as Outcome
        }))
    }
}
