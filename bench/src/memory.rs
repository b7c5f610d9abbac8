//! The memory of an `agent-host` process: idle, and for each agent it supervises.
//!
//! Measured from outside, in `/proc`. Idle is a host that has just begun to serve and
//! had to compile its policy, as one in a fresh container has to. An agent's share is
//! what a host with many agents has more than the same host with few, for each of
//! those between; the agents' own processes are not in it, nor is what the first
//! launch of all brings into memory.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use rustix::process::Pid;
use tokio::time::sleep;

use crate::{report::Row, stage::Stage, workload};

/// Agents that the host gets, first and in the end.
const FEW: usize = 100;
const MANY: usize = 500;

/// The host is left alone for this long before it is measured.
const REST: Duration = Duration::from_secs(1);

/// What an idle host may take, MB.
const IDLE_MB: f64 = 30.0;

/// What an agent may take of the host, KB.
const AGENT_KB: f64 = 20.0;

/// Memory of one process, bytes.
struct Memory {
    /// All that is in memory, shared pages in full.
    resident: f64,
    /// The same with each page divided by the number of processes that share it.
    proportional: f64,
}

/// Memory of a host without and with agents.
pub(crate) async fn take() -> Result<Vec<Row>> {
    let stage = Stage::start(MANY).await?;
    let host = stage.host_pid()?;
    sleep(REST).await;
    let idle = memory(host)?;
    let mut launches = workload::launches("memory", MANY)?;
    let more = launches.split_off(FEW);
    let mut agents = stage.run(launches).await?;
    sleep(REST).await;
    let few = memory(host)?;
    agents.extend(stage.run(more).await?);
    sleep(REST).await;
    let many = memory(host)?;
    stage.stop(agents).await?;
    stage.end().await?;
    let each = (many.resident - few.resident) / (MANY - FEW) as f64;
    Ok(vec![
        Row::new("memory: idle agent-host, resident", idle.resident / 1e6, "MB").below(IDLE_MB),
        Row::new("memory: idle agent-host, proportional", idle.proportional / 1e6, "MB"),
        Row::new(format!("memory: agent-host with {FEW} agents, resident"), few.resident / 1e6, "MB"),
        Row::new(format!("memory: agent-host with {MANY} agents, resident"), many.resident / 1e6, "MB"),
        Row::new("memory: of the host's for each agent", each / 1e3, "KB").below(AGENT_KB),
    ])
}

fn memory(process: Pid) -> Result<Memory> {
    let file = format!("/proc/{}/smaps_rollup", process.as_raw_pid());
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0).with_context(|| format!("{file} has no {name}"))
    };
    Ok(Memory { resident: field("Rss")?, proportional: field("Pss")? })
}
