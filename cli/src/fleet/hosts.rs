//! `guildhall host`.

use std::time::Duration;

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use futures::StreamExt;
use guildhall::ids::HostId;

use super::FleetArgs;

/// The hosts of a fleet: who is there, and what they should do.
#[derive(clap::Subcommand)]
pub(crate) enum HostCommand {
    /// List the hosts, those included whose lease is overdue.
    List {
        #[command(flatten)]
        fleet: FleetArgs,
    },
    /// Have a host take no new agents; those it has stay.
    Cordon {
        /// The host.
        host: HostId,
        #[command(flatten)]
        fleet: FleetArgs,
    },
    /// Have a host take new agents again.
    Uncordon {
        /// The host.
        host: HostId,
        #[command(flatten)]
        fleet: FleetArgs,
    },
    /// Cordon a host and move all its agents to others.
    Drain {
        /// The host.
        host: HostId,
        /// After how many seconds agents that have not moved stay. Unset: as the host is told.
        #[arg(long, value_name = "SECONDS")]
        within: Option<u64>,
        #[command(flatten)]
        fleet: FleetArgs,
    },
    /// Say that a host that is overdue is gone for good, so that its agents may start
    /// elsewhere at once. If it is not, they run twice.
    Bury {
        /// The host.
        host: HostId,
        /// Its machine is off, or has booted since: nothing of it runs.
        #[arg(long, required = true)]
        i_know_that_it_is_dead: bool,
        #[command(flatten)]
        fleet: FleetArgs,
    },
}

impl HostCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { fleet } => list(&fleet),
            Self::Cordon { host, fleet } => {
                fleet.engine(async |engine| Ok(engine.cordon(&host).await?))?;
                println!("{host} takes no new agents");
                Ok(())
            }
            Self::Uncordon { host, fleet } => {
                fleet.engine(async |engine| Ok(engine.uncordon(&host).await?))?;
                println!("{host} takes new agents");
                Ok(())
            }
            Self::Drain { host, within, fleet } => drain(&fleet, &host, within),
            Self::Bury { host, fleet, .. } => bury(&fleet, &host),
        }
    }
}

fn list(fleet: &FleetArgs) -> anyhow::Result<()> {
    let (hosts, overdue) =
        fleet.registry(async |registry| Ok((registry.hosts().await?, registry.overdue().await?)))?;
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(["host", "agents", "capacity", "state", "endpoint"]);
    for host in hosts {
        let state = if host.info.draining { "cordoned" } else { "open" };
        let (running, capacity) = (host.info.load.running.to_string(), host.info.capacity.to_string());
        table.add_row([host.info.id.to_string(), running, capacity, state.to_owned(), host.info.endpoint]);
    }
    for gone in overdue {
        let state = format!("overdue for {} s", gone.since.as_secs());
        let (running, capacity) = (gone.host.load.running.to_string(), gone.host.capacity.to_string());
        table.add_row([gone.host.id.to_string(), running, capacity, state, gone.host.endpoint]);
    }
    println!("{table}");
    Ok(())
}

fn drain(fleet: &FleetArgs, host: &HostId, within: Option<u64>) -> anyhow::Result<()> {
    fleet.engine(async |engine| {
        let mut progress = engine.drain(host, within.map(Duration::from_secs)).await?;
        while let Some(step) = progress.next().await {
            let step = step?;
            println!("{} of {} moved, {} wait for a host", step.moved, step.total, step.waiting);
            if step.done && step.moved + step.waiting < step.total {
                anyhow::bail!("{} agents are still on {host}", step.total - step.moved - step.waiting);
            }
        }
        Ok(())
    })
}

fn bury(fleet: &FleetArgs, host: &HostId) -> anyhow::Result<()> {
    fleet.registry(async |registry| {
        let overdue: Vec<_> =
            registry.overdue().await?.into_iter().filter(|overdue| overdue.host.id == *host).collect();
        if overdue.is_empty() {
            anyhow::bail!("no lease of host {host} is overdue: it is alive, or its agents are free already");
        }
        for gone in overdue {
            registry.leave(host, &gone.lease).await?;
        }
        println!("{host} is buried; its agents start elsewhere");
        Ok(())
    })
}
