//! Writes under old epochs: tries them, and looks for those of others that were accepted.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use echo_runner::witness::Witness;
use futures::StreamExt;
use guildhall::{
    agent::{AgentEvent, AgentInfo},
    engine::{ExecutionEngine, GrpcEngine},
    ids::{AgentId, AgentKey, Epoch, GuildId},
    registry::{Registry, RegistryError},
};

use crate::workload::guilds;

/// Agents that are tried after one fault.
const TRIED_AT_ONCE: usize = 6;

#[derive(Debug, Default)]
struct Findings {
    /// The highest epoch that was seen of each agent.
    highest: BTreeMap<AgentKey, Epoch>,
    /// Stale writes that were tried, and refused as they must.
    refused: u64,
    /// Which were accepted, in words.
    accepted: BTreeSet<String>,
}

impl Findings {
    /// Takes in what the registry holds now. A record never goes back to an older epoch,
    /// unless somebody wrote under that.
    fn see(&mut self, agent: &AgentInfo) {
        let highest = self.highest.entry(agent.key.clone()).or_default();
        if agent.epoch < *highest {
            let found =
                format!("the record of {} went from epoch {highest} back to {}", agent.key, agent.epoch);
            self.accepted.insert(found);
        }
        *highest = (*highest).max(agent.epoch);
    }
}

/// Tries and watches.
#[derive(Clone, Debug)]
pub(crate) struct StaleWrites {
    registry: Arc<dyn Registry>,
    witness_dir: PathBuf,
    findings: Arc<Mutex<Findings>>,
}

impl StaleWrites {
    /// Watches the agents of the workload from now on.
    pub(crate) fn watch(registry: Arc<dyn Registry>, engine: &GrpcEngine, witness_dir: &Path) -> Self {
        let this = Self { registry, witness_dir: witness_dir.to_owned(), findings: Arc::default() };
        for guild in guilds() {
            let (mut events, findings) = (engine.watch(&guild), this.findings.clone());
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    let mut findings = locked(&findings);
                    match event {
                        AgentEvent::Snapshot(agents) => agents.iter().for_each(|agent| findings.see(agent)),
                        AgentEvent::Changed(agent) => findings.see(&agent),
                        _ => {}
                    }
                }
            });
        }
        this
    }

    /// Writes records of some agents under epochs that they had before.
    pub(crate) async fn try_some(&self) -> Result<()> {
        let mut tried = 0;
        for (key, epochs) in self.epochs()? {
            if tried == TRIED_AT_ONCE {
                break;
            }
            // A registry that is away has accepted nothing.
            let Ok(Some(current)) = self.registry.agent(&key).await else { continue };
            let Some(stale) = epochs.range(..current.agent.epoch).next_back() else { continue };
            tried += 1;
            let outcome = self.registry.update(&AgentInfo { epoch: *stale, ..current.agent.clone() }).await;
            let mut findings = locked(&self.findings);
            match outcome {
                Ok(()) => {
                    let epoch = current.agent.epoch;
                    findings
                        .accepted
                        .insert(format!("{key} has epoch {epoch}; a write under {stale} was accepted"));
                }
                Err(RegistryError::Fenced { .. }) => findings.refused += 1,
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Those that were accepted, in words.
    pub(crate) fn accepted(&self) -> Vec<String> {
        locked(&self.findings).accepted.iter().cloned().collect()
    }

    /// How many were refused.
    pub(crate) fn refused(&self) -> u64 {
        locked(&self.findings).refused
    }

    /// The epochs under which each agent has lived, by the names of its testimonies.
    fn epochs(&self) -> Result<BTreeMap<AgentKey, BTreeSet<Epoch>>> {
        let mut epochs: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for entry in std::fs::read_dir(&self.witness_dir)? {
            let name = entry?.file_name();
            let Some(witness) = name.to_str().and_then(Witness::of_file_name) else { continue };
            let key = AgentKey::new(GuildId::new(&witness.guild)?, AgentId::new(&witness.agent)?);
            epochs.entry(key).or_default().insert(Epoch(witness.epoch));
        }
        Ok(epochs)
    }
}

fn locked(findings: &Mutex<Findings>) -> MutexGuard<'_, Findings> {
    findings.lock().unwrap_or_else(PoisonError::into_inner)
}
