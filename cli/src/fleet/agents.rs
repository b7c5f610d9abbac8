//! `guildhall agent`.

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use guildhall::{
    engine::ExecutionEngine,
    ids::{AgentId, AgentKey, GuildId, HostId},
};

use super::FleetArgs;

/// The agents of a fleet.
#[derive(clap::Subcommand)]
pub(crate) enum AgentCommand {
    /// List the agents of a guild.
    List {
        /// The guild.
        guild: GuildId,
        #[command(flatten)]
        fleet: FleetArgs,
    },
    /// Move an agent to another host: it ends on the old one before it starts on the new.
    Move {
        /// The guild.
        guild: GuildId,
        /// The agent.
        agent: AgentId,
        /// The host that is to have it. Unset: its present host's policy chooses.
        #[arg(long, value_name = "HOST")]
        to: Option<HostId>,
        #[command(flatten)]
        fleet: FleetArgs,
    },
}

impl AgentCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { guild, fleet } => {
                let agents = fleet.engine(async |engine| Ok(engine.get_agents_in_guild(&guild).await?))?;
                let mut table = Table::new();
                let columns = ["agent", "state", "host", "epoch", "restarts", "last exit"];
                table.load_style(UTF8_HORIZONTAL_ONLY).set_header(columns);
                for agent in agents {
                    table.add_row([
                        agent.key.agent.to_string(),
                        agent.state.to_string(),
                        agent.host.to_string(),
                        agent.epoch.to_string(),
                        agent.restarts.to_string(),
                        agent.last_exit.map(|exit| exit.reason).unwrap_or_default(),
                    ]);
                }
                println!("{table}");
            }
            Self::Move { guild, agent, to, fleet } => {
                let key = AgentKey::new(guild, agent);
                let moved = fleet.engine(async |engine| Ok(engine.move_agent(&key, to.as_ref()).await?))?;
                println!("{key} is on {} now, epoch {}", moved.host, moved.epoch);
            }
        }
        Ok(())
    }
}
