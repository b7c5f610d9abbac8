//! What is true, by the one clock that all simulated machines are in: which process lives
//! from when to when, and what clients were promised. The product never reads it.

use std::collections::{BTreeMap, BTreeSet};

use guildhall::ids::{AgentKey, Epoch};
use tokio::time::Instant;

/// Whether a client counts on an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It was told that the agent runs.
    Accepted,
    /// It was told that the agent was stopped.
    Stopped,
    /// An answer was lost, or was an error.
    InDoubt,
}

#[derive(Debug)]
struct Life {
    epoch: Epoch,
    machine: usize,
    since: Instant,
}

#[derive(Debug, Default)]
struct Agent {
    /// By process id.
    live: BTreeMap<u64, Life>,
    highest: Epoch,
    last_machine: Option<usize>,
}

/// The book of one run.
#[derive(Debug)]
pub(super) struct Book {
    start: Instant,
    agents: BTreeMap<AgentKey, Agent>,
    words: BTreeMap<AgentKey, Word>,
    /// How often each thing happened that a good set of seeds makes happen.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// What was promised and not kept.
    pub(super) violations: Vec<String>,
    /// A digest of all that was written, to tell two runs apart.
    pub(super) digest: u64,
    /// Whether to print what happens.
    pub(super) aloud: bool,
}

impl Book {
    pub(super) fn new(aloud: bool) -> Self {
        Self {
            start: Instant::now(),
            agents: BTreeMap::new(),
            words: BTreeMap::new(),
            counts: BTreeMap::new(),
            violations: Vec::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            aloud,
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn note(&mut self, what: &str) {
        let line = format!("{:>9.3} {what}", self.start.elapsed().as_secs_f64());
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.aloud {
            println!("{line}");
        }
    }

    fn violated(&mut self, what: String) {
        let line = format!("{:.3} s: {what}", self.start.elapsed().as_secs_f64());
        self.note(&format!("VIOLATED {what}"));
        self.violations.push(line);
    }

    /// A process begins.
    pub(super) fn begin(&mut self, key: &AgentKey, pid: u64, epoch: Epoch, machine: usize) {
        self.note(&format!("h{machine} starts {key} as {pid}, epoch {epoch}"));
        let agent = self.agents.entry(key.clone()).or_default();
        let (before, last) = (agent.highest, agent.last_machine);
        let others: Vec<_> =
            agent.live.values().map(|it| (it.machine, it.epoch, it.since.elapsed())).collect();
        agent.highest = epoch.max(before);
        agent.last_machine = Some(machine);
        agent.live.insert(pid, Life { epoch, machine, since: Instant::now() });
        for (other, its, age) in others {
            self.violated(format!(
                "{key} runs on h{machine} (epoch {epoch}) and, for {age:?}, on h{other} (epoch {its})"
            ));
        }
        if epoch <= before {
            self.violated(format!("{key} started under epoch {epoch} after {before}"));
        }
        if last.is_some_and(|last| last != machine) {
            self.count("takeovers");
        }
        self.count("starts");
    }

    /// A process has ended.
    pub(super) fn end(&mut self, key: &AgentKey, pid: u64, why: &str) {
        self.note(&format!("{key} {pid} ended: {why}"));
        if let Some(agent) = self.agents.get_mut(key) {
            agent.live.remove(&pid);
        }
    }

    pub(super) fn told(&mut self, key: &AgentKey, word: Word) {
        self.note(&format!("{key} is {word:?}"));
        self.words.insert(key.clone(), word);
    }

    /// Those a client counts on.
    pub(super) fn accepted(&self) -> Vec<AgentKey> {
        self.words.iter().filter(|(_, word)| **word == Word::Accepted).map(|(key, _)| key.clone()).collect()
    }

    /// Whether a process of the agent lives.
    pub(super) fn is_live(&self, key: &AgentKey) -> bool {
        self.agents.get(key).is_some_and(|agent| !agent.live.is_empty())
    }

    /// When everything is healed and settled: what was accepted and does not run, and what
    /// was stopped and does.
    pub(super) fn judge(&mut self, excused: &BTreeSet<AgentKey>) {
        for (key, word) in self.words.clone() {
            match (word, self.is_live(&key)) {
                (Word::Accepted, false) if !excused.contains(&key) => {
                    self.violated(format!("{key} was accepted and does not run"));
                }
                (Word::Stopped, true) => self.violated(format!("{key} was stopped and runs")),
                _ => {}
            }
        }
    }
}
