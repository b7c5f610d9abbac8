//! The user of the fleet: an engine that launches, stops and launches again, and keeps a
//! book of what it was told.
//!
//! An agent whose last answer leaves open what is true, such as a stop that timed out, is
//! *in doubt*: its id is never used again, and it is not judged.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use echo_runner::witness;
use guildhall::{
    agent::AgentState,
    engine::{EngineError, ExecutionEngine, GrpcEngine},
    ids::{AgentId, AgentKey, GuildId},
    launch::Launch,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

use crate::history::Agent;

/// Guilds that the agents are in.
const GUILDS: usize = 3;
/// Agents that there are at most.
const AGENTS: usize = 18;
/// Time between two things that are done.
const EVERY: Duration = Duration::from_millis(200);
/// How long calls that are under way may take at the end; see the engine's timeouts.
const CALLS_END_WITHIN: Duration = Duration::from_secs(40);

/// What is known of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// It was never accepted, or it was stopped.
    Absent,
    /// It was accepted, and must not be lost.
    Accepted,
}

#[derive(Clone, Debug)]
struct Slot {
    key: AgentKey,
    status: Status,
    /// A call is under way.
    busy: bool,
}

/// How many calls came to what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Launches that were accepted.
    pub(crate) accepted: u64,
    /// Stops that were carried out.
    pub(crate) stopped: u64,
    /// Launches that no host took.
    pub(crate) refused: u64,
    /// Calls whose outcome is not known.
    pub(crate) in_doubt: u64,
}

#[derive(Debug, Default)]
struct Book {
    slots: Vec<Slot>,
    /// Agents in doubt.
    retired: Vec<AgentKey>,
    /// When a call for an agent began or ended.
    touched: Vec<(Agent, u64)>,
    counts: Counts,
    next_id: usize,
}

impl Book {
    fn fresh_key(&mut self) -> AgentKey {
        let id = self.next_id;
        self.next_id += 1;
        AgentKey::new(guild(id % GUILDS), AgentId::new(format!("a{id}")).expect("it is an id"))
    }

    fn touch(&mut self, key: &AgentKey) {
        self.touched.push((agent(key), witness::now()));
    }

    /// Puts a new agent in the place of one that is in doubt.
    fn retire(&mut self, slot: usize) {
        self.counts.in_doubt += 1;
        let key = self.fresh_key();
        let old = std::mem::replace(&mut self.slots[slot], Slot { key, status: Status::Absent, busy: false });
        self.retired.push(old.key);
    }
}

/// A guild of the workload.
fn guild(n: usize) -> GuildId {
    GuildId::new(format!("guild-{n}")).expect("it is an id")
}

/// The guilds that the agents are in.
pub(crate) fn guilds() -> impl Iterator<Item = GuildId> {
    (0..GUILDS).map(guild)
}

/// An identity, as testimonies spell it.
pub(crate) fn agent(key: &AgentKey) -> Agent {
    Agent { guild: key.guild.to_string(), id: key.agent.to_string() }
}

/// What one call is to do.
#[derive(Clone, Copy, Debug)]
enum Act {
    Launch,
    Stop,
}

/// The workload while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    engine: Arc<GrpcEngine>,
    book: Arc<Mutex<Book>>,
    finished: Arc<AtomicBool>,
}

impl Workload {
    /// Begins, in the background, with agents for all slots.
    pub(crate) fn start(engine: Arc<GrpcEngine>, seed: u64) -> Self {
        let mut book = Book::default();
        for _ in 0..AGENTS {
            let key = book.fresh_key();
            book.slots.push(Slot { key, status: Status::Absent, busy: false });
        }
        let workload = Self { engine, book: Arc::new(Mutex::new(book)), finished: Arc::default() };
        (0..AGENTS).for_each(|slot| workload.begin(slot, Act::Launch));
        tokio::spawn(workload.clone().go_on(seed));
        workload
    }

    /// Does nothing more, and waits for the calls that are under way.
    pub(crate) async fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
        let until = Instant::now() + CALLS_END_WITHIN;
        while self.book().slots.iter().any(|slot| slot.busy) && Instant::now() < until {
            sleep(Duration::from_millis(50)).await;
        }
        // What a call that did not end in time did is not known.
        let mut book = self.book();
        for slot in 0..book.slots.len() {
            if book.slots[slot].busy {
                book.retire(slot);
            }
        }
    }

    /// The agents that must be there now: accepted, not stopped, and not in doubt.
    pub(crate) fn accepted(&self) -> Vec<AgentKey> {
        let book = self.book();
        let there = book.slots.iter().filter(|slot| slot.status == Status::Accepted && !slot.busy);
        there.map(|slot| slot.key.clone()).collect()
    }

    /// The agents that must not be there now: stopped, or never taken by a host.
    pub(crate) fn absent(&self) -> Vec<AgentKey> {
        let book = self.book();
        let gone = book.slots.iter().filter(|slot| slot.status == Status::Absent && !slot.busy);
        gone.map(|slot| slot.key.clone()).collect()
    }

    /// How many calls came to what.
    pub(crate) fn counts(&self) -> Counts {
        self.book().counts
    }

    /// When agents were launched or stopped.
    pub(crate) fn touched(&self) -> Vec<(Agent, u64)> {
        self.book().touched.clone()
    }

    /// Waits until all accepted agents are said to run, or are recorded as ended, but not
    /// for longer than this. Answers whether it came to that.
    pub(crate) async fn until_running(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        loop {
            if self.all_run().await.unwrap_or(false) {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Lets go of the agents that are recorded as ended: that record is in the registry
    /// alone, which is about to lose its data. Answers whether all others run.
    pub(crate) async fn forget_ended(&self) -> Result<bool> {
        let states = self.states().await?;
        let mut book = self.book();
        for slot in &mut book.slots {
            if matches!(states.get(&slot.key), Some(AgentState::Failed | AgentState::Finished)) && !slot.busy
            {
                slot.status = Status::Absent;
            }
        }
        drop(book);
        let runs = |key| states.get(key) == Some(&AgentState::Running);
        Ok(self.accepted().iter().all(runs))
    }

    async fn all_run(&self) -> Result<bool> {
        let states = self.states().await?;
        let accepted = self.accepted();
        Ok(!accepted.is_empty()
            && accepted.iter().all(|key| {
                matches!(
                    states.get(key),
                    Some(AgentState::Running | AgentState::Failed | AgentState::Finished)
                )
            }))
    }

    async fn states(&self) -> Result<BTreeMap<AgentKey, AgentState>> {
        let mut states = BTreeMap::new();
        for guild in guilds() {
            let agents = self.engine.get_agents_in_guild(&guild).await?;
            states.extend(agents.into_iter().map(|agent| (agent.key, agent.state)));
        }
        Ok(states)
    }

    async fn go_on(self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        while !self.finished.load(Ordering::Relaxed) {
            sleep(EVERY).await;
            let slot = random.random_range(0..AGENTS);
            let chance: f64 = random.random();
            let (status, busy) = {
                let book = self.book();
                (book.slots[slot].status, book.slots[slot].busy)
            };
            match status {
                _ if busy => {}
                Status::Absent if chance < 0.6 => self.begin(slot, Act::Launch),
                Status::Accepted if chance < 0.15 => self.begin(slot, Act::Stop),
                // It runs, so this must not start it twice.
                Status::Accepted if chance < 0.22 => self.begin(slot, Act::Launch),
                _ => {}
            }
            if chance > 0.95 {
                self.clear_up();
            }
        }
    }

    /// Stops agents that are in doubt, so that they do not become ever more.
    fn clear_up(&self) {
        let (engine, book) = (self.engine.clone(), self.book.clone());
        let Some(key) = self.book().retired.first().cloned() else { return };
        tokio::spawn(async move {
            if matches!(engine.stop_agent(&key).await, Ok(_) | Err(EngineError::NotFound { .. })) {
                locked(&book).retired.retain(|retired| *retired != key);
            }
        });
    }

    fn begin(&self, slot: usize, act: Act) {
        let key = {
            let mut book = self.book();
            book.slots[slot].busy = true;
            let key = book.slots[slot].key.clone();
            book.touch(&key);
            key
        };
        let workload = self.clone();
        tokio::spawn(async move {
            match act {
                Act::Launch => workload.launch(slot, &key).await,
                Act::Stop => workload.stop(slot, &key).await,
            }
        });
    }

    async fn launch(&self, slot: usize, key: &AgentKey) {
        let answer = self.engine.run_agent(launch(key)).await;
        let mut book = self.book();
        let Some(status) = current(&mut book, slot, key) else { return };
        match answer {
            Ok(_) => {
                book.counts.accepted += 1;
                book.slots[slot].status = Status::Accepted;
            }
            Err(EngineError::NoHost { .. }) => book.counts.refused += 1,
            // It runs already, or the launch failed in some way that does not touch it.
            Err(_) if status == Status::Accepted => {}
            Err(error) => {
                tracing::debug!(%key, %error, "a launch is in doubt");
                book.retire(slot);
            }
        }
    }

    async fn stop(&self, slot: usize, key: &AgentKey) {
        let answer = self.engine.stop_agent(key).await;
        let mut book = self.book();
        let Some(_) = current(&mut book, slot, key) else { return };
        match answer {
            Ok(_) => {
                book.counts.stopped += 1;
                book.slots[slot].status = Status::Absent;
            }
            // It was accepted, so it must come back: its record may be missing for a moment
            // when Redis has lost it. If it does not, it will be found lost.
            Err(EngineError::NotFound { .. }) => {
                tracing::info!(%key, "an accepted agent is said not to be there");
            }
            Err(error) => {
                tracing::debug!(%key, %error, "a stop is in doubt");
                book.retire(slot);
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }
}

/// The end of a call, if the slot is still that agent's.
fn current(book: &mut Book, slot: usize, key: &AgentKey) -> Option<Status> {
    book.touch(key);
    if book.slots[slot].key != *key {
        return None;
    }
    book.slots[slot].busy = false;
    Some(book.slots[slot].status)
}

fn launch(key: &AgentKey) -> Launch {
    let AgentKey { guild, agent } = key;
    let spec = format!(
        r#"{{"id":"{agent}","name":"Agent {agent}","description":"Lives through faults.","class_name":"chaos.Echo"}}"#
    );
    Launch::from_agent_spec(guild.clone(), spec.as_bytes()).expect("it is a launch")
}

fn locked(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
