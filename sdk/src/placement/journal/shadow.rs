//! A policy that decides beside the one in charge: it changes nothing, and it is seen where
//! it would have decided otherwise.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use super::replay::{Comparison, Replay};
use crate::placement::{
    cache::CompiledCache,
    journal::{Journal, Next},
    limits::PolicyLimits,
    policy::Policy,
    types::PolicyIdentity,
};

/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// A policy in the shadow of another. It has a thread and an instance of its own: the
/// decisions of the policy in charge take as long as without it. It knows of the fleet what
/// that one knows, and counts on each host what it has itself chosen, until the host reports.
#[derive(Debug)]
pub struct Shadow {
    policy: Arc<PolicyIdentity>,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    comparison: Comparison,
    ended: Option<String>,
    ending: bool,
}

impl Shadow {
    pub(in crate::placement) fn follow(
        policy: Policy,
        settings: serde_json::Value,
        limits: PolicyLimits,
        journal: Journal,
    ) -> std::io::Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let mut follower = Follower {
            replay: Replay::new(CompiledCache::off(), limits).by(policy.clone(), settings),
            journal,
            state: Arc::clone(&state),
        };
        let thread =
            std::thread::Builder::new().name("shadow-policy".to_owned()).spawn(move || follower.run())?;
        Ok(Self { policy: Arc::clone(policy.identity()), state, thread: Some(thread) })
    }

    /// Which policy it is.
    pub fn policy(&self) -> &Arc<PolicyIdentity> {
        &self.policy
    }

    /// Where it differs so far.
    pub fn comparison(&self) -> Comparison {
        lock(&self.state).comparison.clone()
    }

    /// Why it no longer follows: it could not keep up, or could not be started.
    pub fn ended(&self) -> Option<String> {
        lock(&self.state).ended.clone()
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        lock(&self.state).ending = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Follower {
    replay: Replay,
    journal: Journal,
    state: Arc<Mutex<State>>,
}

impl Follower {
    fn run(&mut self) {
        let ended = loop {
            if lock(&self.state).ending {
                return;
            }
            if self.journal.is_left_behind() {
                break "it could not keep up with the decisions".to_owned();
            }
            match self.journal.next(LOOK) {
                Next::Nothing => {}
                Next::End { .. } => return,
                Next::Entry(entry) => {
                    if let Err(error) = self.replay.take(entry) {
                        break error.to_string();
                    }
                    let mut state = lock(&self.state);
                    if state.comparison.decisions != self.replay.comparison().decisions {
                        state.comparison.clone_from(self.replay.comparison());
                    }
                }
            }
        };
        tracing::warn!(reason = ended, "the shadow policy no longer follows");
        lock(&self.state).ended = Some(ended);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Each change of it is one assignment.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
