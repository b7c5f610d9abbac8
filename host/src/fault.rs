//! What the supervisor and the engine say, as the faults that callers are told.

use std::time::Duration;

use guildhall::{
    engine::EngineError,
    fault::{Fault, FaultReason, Holder, RETRY_AFTER_MS},
    placement::PlaceError,
    registry::RegistryError,
};

use crate::{
    moving::MoveError,
    supervisor::{CreateError, StopError},
};

/// Why an agent was not created.
pub(crate) fn of_create(error: CreateError) -> Fault {
    let reason = match &error {
        CreateError::InvalidLaunch(_) => FaultReason::InvalidLaunch,
        CreateError::UnknownRunner { .. } => FaultReason::UnknownRunner,
        CreateError::NoRunnerForClass { .. } => FaultReason::NoRunnerForClass,
        CreateError::CapacityExhausted { .. } => FaultReason::CapacityExhausted,
        CreateError::Draining | CreateError::ShuttingDown => FaultReason::Draining,
        CreateError::AlreadyRunning { .. } => FaultReason::AlreadyRunning,
        CreateError::Spawn { .. } | CreateError::StartFailed { .. } => FaultReason::StartFailed,
        CreateError::StartTimeout { .. } => FaultReason::StartTimeout,
        CreateError::Stopped | CreateError::Abandoned => FaultReason::StartCancelled,
        CreateError::NotAnOrphan { .. } => FaultReason::AgentNotFound,
        CreateError::Registry(error) if settles_in(error).is_some() => FaultReason::NotSettled,
        CreateError::NoTenure | CreateError::Registry(_) => FaultReason::RegistryUnavailable,
    };
    let fault = Fault::new(reason, error.to_string());
    match error {
        CreateError::Registry(error) => match settles_in(&error) {
            Some(remaining) => fault.with(RETRY_AFTER_MS, remaining.as_millis()),
            None => fault,
        },
        CreateError::AlreadyRunning { holder } => fault.with("state", holder.state).with_holder(&Holder {
            host: holder.host,
            epoch: holder.epoch,
            request_id: holder.request_id,
        }),
        CreateError::StartTimeout { stderr, .. } => fault.with("stderr", stderr),
        CreateError::StartFailed { exit } => {
            let fault = fault.with("stderr", exit.stderr);
            let fault = exit.code.into_iter().fold(fault, |fault, code| fault.with("exit_code", code));
            exit.signal.into_iter().fold(fault, |fault, signal| fault.with("signal", signal))
        }
        _ => fault,
    }
}

fn settles_in(error: &RegistryError) -> Option<Duration> {
    match error {
        RegistryError::Settling { remaining, .. } => Some(*remaining),
        _ => None,
    }
}

/// Why an agent was not stopped.
pub(crate) fn of_stop(error: StopError) -> Fault {
    let reason = match &error {
        StopError::NotFound { .. } => FaultReason::AgentNotFound,
        StopError::Registry { .. } => FaultReason::RegistryUnavailable,
    };
    Fault::new(reason, error.to_string())
}

/// Why an agent was not moved.
pub(crate) fn of_move(error: MoveError) -> Fault {
    let message = error.to_string();
    match error {
        MoveError::Stop(error) => of_stop(error),
        MoveError::AlreadyThere { .. } => Fault::new(FaultReason::InvalidLaunch, message),
        MoveError::NoSuchHost { .. } => Fault::new(FaultReason::HostUnreachable, message),
        MoveError::Waiting { source, .. } => Fault { message, ..of_run(*source) },
    }
}

/// Why an agent was not run somewhere.
pub(crate) fn of_run(error: EngineError) -> Fault {
    let message = error.to_string();
    let reason = match error {
        EngineError::GuildNotPlaced { .. } => FaultReason::PlacementRefused,
        EngineError::NotStarted { fault, .. } | EngineError::Host { fault, .. } => {
            return Fault { message, ..fault };
        }
        EngineError::AlreadyRunning { holder, .. } => {
            return Fault::new(FaultReason::AlreadyRunning, message).with_holder(&holder);
        }
        EngineError::InvalidLaunch(_) | EngineError::InvalidId(_) => FaultReason::InvalidLaunch,
        EngineError::NoHost { .. } | EngineError::Policy(PlaceError::Refused { .. }) => {
            FaultReason::PlacementRefused
        }
        EngineError::Policy(_) => FaultReason::PolicyFailed,
        EngineError::Timeout { .. } => FaultReason::TimedOut,
        EngineError::Registry(_) => FaultReason::RegistryUnavailable,
        EngineError::NotFound { .. } => FaultReason::AgentNotFound,
        EngineError::ShutDown => FaultReason::Draining,
        _ => FaultReason::Internal,
    };
    Fault::new(reason, message)
}
