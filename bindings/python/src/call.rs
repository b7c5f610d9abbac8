//! One call under way.
//!
//! It runs on the runtime's threads, which know nothing of Python. What comes of it is
//! made a Python value by whoever takes it: a thread that waits, or an event loop that was
//! woken.

use std::{
    future::Future,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pyo3::{Py, PyAny, PyErr, PyResult, Python, pyclass, pymethods};
use tokio::{
    runtime::Handle,
    task::{AbortHandle, spawn_blocking},
};

use crate::errors;

/// How often a thread that waits lets Python see to signals, such as Ctrl-C.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// What came of a call, to be made a Python value.
pub(crate) type Outcome = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

enum State {
    /// Not there yet; whom to tell.
    Running(Vec<Py<PyAny>>),
    Done(Outcome),
    Taken,
}

struct Shared {
    state: Mutex<State>,
    done: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the outcome, unless there is one, and answers whom to tell.
    fn finish(&self, outcome: Outcome) -> Vec<Py<PyAny>> {
        let mut state = self.state();
        let State::Running(_) = *state else { return Vec::new() };
        let State::Running(waiting) = mem::replace(&mut *state, State::Done(outcome)) else {
            return Vec::new();
        };
        drop(state);
        self.done.notify_all();
        waiting
    }
}

/// Sees to it that a call ends, whatever way its task does.
struct Ending(Arc<Shared>);

impl Ending {
    fn with(&self, outcome: Outcome) {
        let waiting = self.0.finish(outcome);
        if !waiting.is_empty() {
            // Python may be busy, and the runtime's workers have more to do than to wait for it.
            drop(spawn_blocking(move || tell(waiting)));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.with(Box::new(|py| Err(errors::internal(py, "the call was given up"))));
    }
}

/// Calls those who wait, unless Python is at its end.
fn tell(waiting: Vec<Py<PyAny>>) {
    Python::try_attach(|py| {
        for callback in waiting {
            if let Err(error) = callback.call0(py) {
                error.write_unraisable(py, None);
            }
        }
    });
}

/// A call under way. Ends also when nobody waits for it any more.
#[pyclass(frozen, module = "guildhall._guildhall")]
pub(crate) struct Call {
    shared: Arc<Shared>,
    task: AbortHandle,
    /// Goes on when it is dropped or given up.
    keeps_on: bool,
}

impl Call {
    /// Starts a call that ends when nobody waits for it any more.
    pub(crate) fn start(runtime: &Handle, call: impl Future<Output = Outcome> + Send + 'static) -> Self {
        let shared = Arc::new(Shared { state: Mutex::new(State::Running(Vec::new())), done: Condvar::new() });
        let ending = Ending(Arc::clone(&shared));
        let task = runtime.spawn(async move {
            let outcome = call.await;
            ending.with(outcome);
        });
        Self { shared, task: task.abort_handle(), keeps_on: false }
    }

    /// Starts a call that goes on when nobody waits for it any more.
    pub(crate) fn start_unstoppable(
        runtime: &Handle,
        call: impl Future<Output = Outcome> + Send + 'static,
    ) -> Self {
        let mut started = Self::start(runtime, call);
        started.keeps_on = true;
        started
    }

    fn is_done(&self) -> bool {
        !matches!(*self.shared.state(), State::Running(_))
    }

    fn give_up(&self) {
        if !self.keeps_on {
            self.task.abort();
        }
    }
}

#[pymethods]
impl Call {
    /// Waits for the call and answers what came of it. Other Python threads go on
    /// meanwhile, and signals are seen to: after Ctrl-C the call is given up.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        while !self.is_done() {
            py.detach(|| {
                let running = |state: &mut State| matches!(state, State::Running(_));
                drop(self.shared.done.wait_timeout_while(self.shared.state(), SIGNALS_EVERY, running));
            });
            if let Err(interrupt) = py.check_signals() {
                self.give_up();
                return Err(interrupt);
            }
        }
        self.result(py)
    }

    /// What came of the call, once; it must be done.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut state = self.shared.state();
        match mem::replace(&mut *state, State::Taken) {
            State::Done(outcome) => {
                drop(state);
                outcome(py)
            }
            other => {
                *state = other;
                drop(state);
                Err(errors::internal(py, "there is no result to take"))
            }
        }
    }

    /// Has `callback` called from some thread when the call is done, or now when it is.
    fn on_done(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let late = match &mut *self.shared.state() {
            State::Running(waiting) => {
                waiting.push(callback);
                return Ok(());
            }
            State::Done(_) | State::Taken => callback,
        };
        late.call0(py).map(drop)
    }

    /// Gives the call up.
    fn cancel(&self) {
        self.give_up();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The outcome that is this error.
pub(crate) fn failed(error: impl FnOnce(Python<'_>) -> PyErr + Send + 'static) -> Outcome {
    Box::new(|py| Err(error(py)))
}
