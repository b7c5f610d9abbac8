//! Chance without chance: a number that differs from agent to agent and is the same
//! for one agent everywhere.

use crate::Request;

/// FNV-1a over the agent's identity.
pub fn identity(request: &Request) -> u64 {
    agent_of(&request.guild, &request.agent)
}

/// The same, of a member of a guild.
pub fn agent_of(guild: &str, agent: &str) -> u64 {
    let bytes = guild.bytes().chain([0]).chain(agent.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
