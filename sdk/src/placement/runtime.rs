//! The WebAssembly engine of this process, and the clock that interrupts policies.
//!
//! One engine serves all services: compiled policies belong to it. A policy runs
//! on its caller's thread, so someone else has to stop one that never returns:
//! the ticker, a thread that advances the engine's epoch every [`TICK`] while
//! policies run, and sleeps when none has for a while. A program that must leave no
//! thread behind ends it ([`rest`]); the next policy that runs starts it again.

use std::{
    io, mem,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tracing::error;
use wasmtime::{Config, Engine};

use super::error::LoadError;

/// How often a running policy is asked how long it has been at it.
const TICK: Duration = Duration::from_millis(10);

/// Ticks without a running policy after which the ticker sleeps. Waking it costs
/// a decision a few microseconds, so it does not sleep between busy decisions.
const TICKS_AWAKE: u32 = 100;

/// Stack a policy may use, bytes, out of the 2 MiB that a Rust thread has by default.
const STACK_BYTES: usize = 256 << 10;

pub(super) struct Runtime {
    pub(super) engine: Engine,
    /// `None` when it was ended.
    ticker: Mutex<Option<JoinHandle<()>>>,
}

static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// Whether there is no ticker, or one that sleeps.
static ASLEEP: AtomicBool = AtomicBool::new(false);
/// Tells the ticker to end.
static ENDING: AtomicBool = AtomicBool::new(false);

/// The runtime of this process, made at the first call.
pub(super) fn runtime() -> Result<&'static Runtime, LoadError> {
    RUNTIME.get_or_init(start).as_ref().map_err(|message| LoadError::NoRuntime { message: message.clone() })
}

fn start() -> Result<Runtime, String> {
    let engine = Engine::new(&config()).map_err(|error| format!("{error:#}"))?;
    let ticker = start_ticker(&engine)
        .map_err(|error| format!("cannot start the thread that interrupts policies: {error}"))?;
    Ok(Runtime { engine, ticker: Mutex::new(Some(ticker)) })
}

fn start_ticker(engine: &Engine) -> io::Result<JoinHandle<()>> {
    let ticking = engine.clone();
    thread::Builder::new().name("policy-ticker".to_owned()).stack_size(64 << 10).spawn(move || tick(&ticking))
}

/// Ends the thread that interrupts policies, and waits until it has. It comes back with
/// the next policy that runs; until then the program has no thread of this module.
pub fn rest() {
    let Some(Ok(runtime)) = RUNTIME.get() else { return };
    let mut ticker = runtime.ticker();
    let Some(thread) = ticker.take() else { return };
    ENDING.store(true, SeqCst);
    thread.thread().unpark();
    // It does not panic, and would be as gone if it did.
    let _ = thread.join();
    ENDING.store(false, SeqCst);
    ASLEEP.store(true, SeqCst);
    drop(ticker);
    // As in `tick`: a policy that began to run meanwhile took it for awake.
    if RUNNING.load(SeqCst) > 0 && ASLEEP.swap(false, SeqCst) {
        runtime.wake();
    }
}

/// To be called in the child of a fork, before a policy runs there: the thread that
/// interrupts policies is the parent's alone.
pub fn forked() {
    let Some(Ok(runtime)) = RUNTIME.get() else { return };
    // The parent's other threads are not here, nor is what they were at.
    mem::forget(runtime.ticker().take());
    RUNNING.store(0, SeqCst);
    ASLEEP.store(true, SeqCst);
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        // The same policy gives the same answer on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // Nothing here runs two calls of one instance at once.
        .concurrency_support(false)
        .wasm_memory64(false)
        // A trap's backtrace means nothing to an operator, and costs to collect.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false);
    config
}

fn tick(engine: &Engine) {
    let mut idle = 0;
    while !ENDING.load(SeqCst) {
        thread::sleep(TICK);
        engine.increment_epoch();
        idle = if RUNNING.load(SeqCst) == 0 { idle + 1 } else { 0 };
        if idle > TICKS_AWAKE {
            ASLEEP.store(true, SeqCst);
            // `run` counts itself before it looks at ASLEEP, and this looks at the
            // count after setting it: one of the two sees the other.
            while ASLEEP.load(SeqCst) && RUNNING.load(SeqCst) == 0 && !ENDING.load(SeqCst) {
                thread::park();
            }
            ASLEEP.store(false, SeqCst);
            idle = 0;
        }
    }
}

impl Runtime {
    /// Runs `call` with the ticker awake.
    pub(super) fn run<T>(&self, call: impl FnOnce() -> T) -> T {
        let _running = Running::new(self);
        call()
    }

    fn ticker(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.ticker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let mut ticker = self.ticker();
        match &*ticker {
            Some(ticker) => ticker.thread().unpark(),
            None => match start_ticker(&self.engine) {
                Ok(started) => *ticker = Some(started),
                Err(error) => {
                    error!(%error, "this policy is not interrupted: there is no thread for it");
                    ASLEEP.store(true, SeqCst);
                }
            },
        }
    }
}

/// Counts a running policy for as long as it lives, also when the call panics.
struct Running;

impl Running {
    fn new(runtime: &Runtime) -> Self {
        RUNNING.fetch_add(1, SeqCst);
        if ASLEEP.load(SeqCst) && ASLEEP.swap(false, SeqCst) {
            runtime.wake();
        }
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wasmtime::{Instance, Module, Store, Trap};

    use super::*;

    #[test]
    fn a_ticker_that_sleeps_or_has_ended_comes_back_for_a_policy_that_never_returns() {
        let runtime = runtime().unwrap();
        let patience = Instant::now();
        while !ASLEEP.load(SeqCst) {
            assert!(patience.elapsed() < Duration::from_secs(60), "the ticker never sleeps");
            thread::sleep(TICK);
        }
        assert_interrupted(runtime);
        rest();
        assert!(runtime.ticker().is_none());
        assert_interrupted(runtime);
    }

    fn assert_interrupted(runtime: &Runtime) {
        let spin = wat::parse_str(r#"(module (func (export "spin") (loop $l (br $l))))"#).unwrap();
        let module = Module::new(&runtime.engine, spin).unwrap();
        let mut store = Store::new(&runtime.engine, ());
        store.set_epoch_deadline(2);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let spin = instance.get_typed_func::<(), ()>(&mut store, "spin").unwrap();
        let error = runtime.run(|| spin.call(&mut store, ())).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    }
}
