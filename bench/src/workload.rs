//! What is started: agents of guilds of an ordinary size.

use anyhow::Result;
use guildhall::{
    launch::{Launch, LaunchOptions},
    spec::GuildSpec,
};
use serde_json::json;

/// Agents in a guild. The launch document of each holds the spec of the whole guild.
const AGENTS_PER_GUILD: usize = 8;

/// Launches of `agents` agents, in guilds whose ids begin with `prefix`.
pub(crate) fn launches(prefix: &str, agents: usize) -> Result<Vec<Launch>> {
    let mut launches = Vec::with_capacity(agents);
    for guild in 0..agents.div_ceil(AGENTS_PER_GUILD) {
        let guild = guild_spec(&format!("{prefix}-{guild}"))?;
        launches
            .extend(guild.agents().iter().map(|agent| Launch::new(&guild, agent, &LaunchOptions::default())));
    }
    launches.truncate(agents);
    Ok(launches)
}

fn guild_spec(id: &str) -> Result<GuildSpec> {
    let agents: Vec<_> = (0..AGENTS_PER_GUILD)
        .map(|at| {
            json!({
                "id": format!("agent-{at}"),
                "name": format!("Agent {at}"),
                "description": "Answers pings, and waits for them most of the time.",
                "class_name": "examples.echo.EchoAgent",
                "additional_topics": ["echo"],
            })
        })
        .collect();
    let guild = json!({
        "id": id,
        "name": "Benchmark",
        "description": "Agents that are started, asked about and stopped.",
        "agents": agents,
    });
    Ok(GuildSpec::from_json(guild.to_string())?)
}
