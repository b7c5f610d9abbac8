//! The agents of the supervisor, as others see them.
//!
//! Each agent's task owns its agent; here is what it last said of it, under one
//! lock that is never held over an await. Changes are told to watchers under that
//! same lock, so that a snapshot and the changes after it fit together.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use guildhall::{
    agent::{AgentEvent, AgentInfo},
    ids::{AgentKey, Epoch, GuildId},
};
use tokio::sync::{broadcast, mpsc, watch};

use super::{agent::Command, error::CreateError};

/// Changes that wait for a watcher at most; one that is slower gets a new snapshot.
const WATCH_BUFFER: usize = 1024;

/// How the first start of an agent went; `None` while it goes on.
pub(super) type StartOutcome = Option<Result<AgentInfo, CreateError>>;

/// What the table knows of an agent.
pub(super) struct Entry {
    pub(super) info: AgentInfo,
    /// To the agent's task; closed when that has ended.
    pub(super) commands: mpsc::Sender<Command>,
    /// Until the first start is over: where to wait for it.
    pub(super) start: Option<watch::Sender<StartOutcome>>,
    /// Nobody waits for the start any more, and nobody can begin to.
    undoing: bool,
    /// Whether others see it, which is from its first claim on.
    shown: bool,
}

impl Entry {
    pub(super) fn is_undoing(&self) -> bool {
        self.undoing
    }
}

pub(super) struct Table {
    entries: Mutex<Entries>,
    ended_kept: usize,
}

struct Entries {
    agents: HashMap<AgentKey, Entry>,
    /// Ended agents, the oldest first. May name some that are gone.
    ended: VecDeque<(AgentKey, Epoch)>,
    /// `None` once the supervisor has ended.
    events: Option<broadcast::Sender<AgentEvent>>,
}

impl Entries {
    fn tell(&self, event: impl FnOnce() -> AgentEvent) {
        if let Some(events) = self.events.as_ref().filter(|events| events.receiver_count() > 0) {
            // Fails only when the last watcher has just left.
            let _ = events.send(event());
        }
    }

    fn remove(&mut self, key: &AgentKey) {
        if let Some(Entry { info, shown: true, .. }) = self.agents.remove(key) {
            self.tell(|| AgentEvent::Removed { key: info.key, epoch: info.epoch });
        }
    }

    fn remove_ended(&mut self, key: &AgentKey, epoch: Epoch) -> bool {
        let same = |entry: &Entry| entry.info.epoch == epoch && entry.commands.is_closed();
        let found = self.agents.get(key).is_some_and(same);
        if found {
            self.remove(key);
        }
        found
    }
}

impl Table {
    pub(super) fn new(ended_kept: usize) -> Self {
        let events = Some(broadcast::Sender::new(WATCH_BUFFER));
        let entries = Entries { agents: HashMap::new(), ended: VecDeque::new(), events };
        Self { entries: Mutex::new(entries), ended_kept }
    }

    // No code under the lock panics but by a failed allocation.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about a place for `key` in one step: `decide` sees the entry there
    /// is, and may answer with a new one to put in its place.
    pub(super) fn enter<T>(
        &self,
        key: &AgentKey,
        decide: impl FnOnce(Option<&Entry>) -> (Option<NewEntry>, T),
    ) -> T {
        let mut entries = self.entries();
        let (new, answer) = decide(entries.agents.get(key));
        if let Some(NewEntry { info, commands, start }) = new {
            let entry = Entry { info, commands, start: Some(start), undoing: false, shown: false };
            // One that has ended is no longer seen from here on.
            entries.remove(key);
            entries.agents.insert(key.clone(), entry);
        }
        answer
    }

    /// Shows what an agent is now.
    pub(super) fn show(&self, info: &AgentInfo) {
        let mut entries = self.entries();
        if let Some(entry) = entries.agents.get_mut(&info.key) {
            entry.info = info.clone();
            entry.shown = true;
            entries.tell(|| AgentEvent::Changed(info.clone()));
        }
    }

    /// Notes that an agent has ended for good and that its task has nothing left to
    /// do, and forgets the one of which that was so longest ago when there are too
    /// many. An entry whose task still works is never taken from it: the task acts on
    /// the entry by its key, and would meet that of a new agent.
    pub(super) fn ended(&self, info: &AgentInfo) {
        let mut entries = self.entries();
        entries.ended.push_back((info.key.clone(), info.epoch));
        while entries.ended.len() > self.ended_kept {
            let Some((key, epoch)) = entries.ended.pop_front() else { break };
            entries.remove_ended(&key, epoch);
        }
    }

    /// The first start is over: there is nothing more to wait for.
    pub(super) fn started(&self, key: &AgentKey) {
        if let Some(entry) = self.entries().agents.get_mut(key) {
            entry.start = None;
        }
    }

    /// Closes the start to newcomers, unless somebody waits for it.
    pub(super) fn begin_undo(&self, key: &AgentKey) -> bool {
        match self.entries().agents.get_mut(key) {
            Some(Entry { start: Some(start), .. }) if start.receiver_count() > 0 => false,
            Some(entry) => {
                entry.undoing = true;
                true
            }
            None => true,
        }
    }

    /// Closes the start to newcomers, also when somebody waits for it: it has failed.
    pub(super) fn undo(&self, key: &AgentKey) {
        if let Some(entry) = self.entries().agents.get_mut(key) {
            entry.undoing = true;
        }
    }

    /// Forgets an agent, as its own task does. An entry is never replaced while its
    /// task works, so it is the task's own.
    pub(super) fn remove(&self, key: &AgentKey) {
        self.entries().remove(key);
    }

    /// Forgets an agent that has ended. Answers whether it is still that one.
    pub(super) fn remove_ended(&self, key: &AgentKey, epoch: Epoch) -> bool {
        self.entries().remove_ended(key, epoch)
    }

    pub(super) fn get(&self, key: &AgentKey) -> Option<AgentInfo> {
        let entries = self.entries();
        entries.agents.get(key).filter(|entry| entry.shown).map(|entry| entry.info.clone())
    }

    /// The way to an agent's task, and what it last said, shown or not.
    pub(super) fn handle(&self, key: &AgentKey) -> Option<(mpsc::Sender<Command>, AgentInfo)> {
        self.entries().agents.get(key).map(|entry| (entry.commands.clone(), entry.info.clone()))
    }

    /// The agents that have not ended, shown or not.
    pub(super) fn live_keys(&self) -> Vec<AgentKey> {
        let entries = self.entries();
        let live = |entry: &&Entry| entry.info.state.is_live();
        entries.agents.values().filter(live).map(|entry| entry.info.key.clone()).collect()
    }

    /// Those others see, sorted by key.
    pub(super) fn list(&self, guild: Option<&GuildId>) -> Vec<AgentInfo> {
        list(&self.entries(), guild)
    }

    /// What is now, and the changes from now on. `None` when the supervisor has ended.
    pub(super) fn watch(&self) -> Option<(Vec<AgentInfo>, broadcast::Receiver<AgentEvent>)> {
        let entries = self.entries();
        let changes = entries.events.as_ref()?.subscribe();
        Some((list(&entries, None), changes))
    }

    /// Ends all watching.
    pub(super) fn close(&self) {
        self.entries().events = None;
    }
}

/// A place for an agent whose task is about to begin.
pub(super) struct NewEntry {
    pub(super) info: AgentInfo,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) start: watch::Sender<StartOutcome>,
}

fn list(entries: &Entries, guild: Option<&GuildId>) -> Vec<AgentInfo> {
    let wanted = |entry: &&Entry| entry.shown && guild.is_none_or(|guild| entry.info.key.guild == *guild);
    let mut agents: Vec<_> = entries.agents.values().filter(wanted).map(|entry| entry.info.clone()).collect();
    agents.sort_by(|a, b| a.key.cmp(&b.key));
    agents
}
