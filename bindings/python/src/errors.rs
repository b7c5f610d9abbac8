//! Which exception an error becomes. The classes are Python's (`guildhall/errors.py`);
//! the messages are the SDK's.

use guildhall::{
    engine::{EngineError, Tried},
    ids::InvalidId,
    launch::InvalidLaunch,
    registry::RegistryError,
    spec::SpecError,
};
use pyo3::{
    Bound, PyAny, PyErr, PyResult, Python,
    types::{PyAnyMethods, PyModule},
};

use crate::session::ConnectError;

/// An exception of this class, with these attributes.
fn raise(
    py: Python<'_>,
    class: &str,
    message: &str,
    attributes: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<()>,
) -> PyErr {
    let made = PyModule::import(py, "guildhall.errors").and_then(|module| {
        let exception = module.getattr(class)?.call1((message,))?;
        attributes(&exception)?;
        Ok(PyErr::from_value(exception))
    });
    made.unwrap_or_else(|error| error)
}

fn plain(py: Python<'_>, class: &str, error: &impl ToString) -> PyErr {
    raise(py, class, &error.to_string(), |_| Ok(()))
}

/// Something that should not be.
pub(crate) fn internal(py: Python<'_>, message: &str) -> PyErr {
    plain(py, "GuildhallError", &message)
}

/// What a caller gets wrong about settings.
pub(crate) fn settings(py: Python<'_>, message: &str) -> PyErr {
    plain(py, "SettingsError", &message)
}

/// A launch, a spec or an id that cannot be used.
pub(crate) fn invalid(py: Python<'_>, message: &impl ToString) -> PyErr {
    plain(py, "InvalidLaunchError", message)
}

/// A connection that was closed.
pub(crate) fn closed(py: Python<'_>) -> PyErr {
    plain(py, "EngineClosedError", &"the engine is shut down")
}

/// A connection that was made before a fork.
pub(crate) fn forked(py: Python<'_>, pid: u32) -> PyErr {
    let message = format!(
        "this engine is of process {pid}, from which this one ({}) was forked, and works only there: \
         make an engine of your own after a fork",
        std::process::id()
    );
    plain(py, "ForkedError", &message)
}

pub(crate) fn invalid_id(py: Python<'_>, error: &InvalidId) -> PyErr {
    invalid(py, error)
}

pub(crate) fn invalid_launch(py: Python<'_>, error: &InvalidLaunch) -> PyErr {
    invalid(py, error)
}

pub(crate) fn spec(py: Python<'_>, error: &SpecError) -> PyErr {
    invalid(py, error)
}

pub(crate) fn registry(py: Python<'_>, error: &RegistryError) -> PyErr {
    match error {
        RegistryError::Address { .. } | RegistryError::Options { .. } => settings(py, &error.to_string()),
        _ => plain(py, "RegistryError", error),
    }
}

pub(crate) fn connect(py: Python<'_>, error: &ConnectError) -> PyErr {
    match error {
        ConnectError::Settings(message) => settings(py, message),
        ConnectError::Runners(_) | ConnectError::Tls(_) => plain(py, "SettingsError", error),
        ConnectError::Registry(error) => registry(py, error),
        ConnectError::Engine(error) => engine(py, error),
        _ => plain(py, "GuildhallError", error),
    }
}

pub(crate) fn engine(py: Python<'_>, error: &EngineError) -> PyErr {
    let message = error.to_string();
    match error {
        EngineError::InvalidLaunch(_) | EngineError::InvalidId(_) => invalid(py, &message),
        EngineError::NoHost { tried, .. } => raise(py, "NoHostError", &message, |exception| {
            let tried: Vec<_> = tried.iter().map(told).collect();
            exception.setattr("tried", tried)
        }),
        EngineError::GuildNotPlaced { .. } => plain(py, "NoHostError", &message),
        EngineError::AlreadyRunning { holder, .. } => {
            raise(py, "AlreadyRunningError", &message, |exception| {
                exception.setattr("host", holder.host.as_str())?;
                exception.setattr("epoch", holder.epoch.0)
            })
        }
        EngineError::NotStarted { host, fault, .. } => raise(py, "AgentStartError", &message, |exception| {
            exception.setattr("host", host.as_str())?;
            exception.setattr("reason", fault.reason.as_str())?;
            let stderr = fault.details.get("stderr").map_or("", |lines| lines.trim_end());
            exception.setattr("stderr", stderr)?;
            if !stderr.is_empty() {
                // Shown below the traceback.
                exception.call_method1("add_note", (format!("Its last words:\n{stderr}"),))?;
            }
            Ok(())
        }),
        EngineError::NotFound { .. } => plain(py, "AgentNotFoundError", &message),
        EngineError::Host { host, fault } => raise(py, "HostError", &message, |exception| {
            exception.setattr("host", host.as_str())?;
            exception.setattr("reason", fault.reason.as_str())
        }),
        EngineError::Timeout { .. } => plain(py, "CallTimeoutError", &message),
        EngineError::Registry(error) => registry(py, error),
        EngineError::Policy(_) | EngineError::LoadPolicy(_) | EngineError::ConfigurePolicy(_) => {
            plain(py, "PolicyError", &message)
        }
        EngineError::ShutDown => closed(py),
        _ => plain(py, "GuildhallError", &message),
    }
}

/// A host that was asked in vain: its id, the reason for programs, the words for people.
fn told(tried: &Tried) -> (&str, &str, &str) {
    (tried.host.as_str(), tried.fault.reason.as_str(), &tried.fault.message)
}
