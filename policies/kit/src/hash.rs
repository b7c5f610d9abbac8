//! Chance without chance: a number that differs from agent to agent and is the same
//! for one agent everywhere.

use crate::Request;

/// FNV-1a over the agent's identity.
pub fn identity(request: &Request) -> u64 {
    agent_of(&request.guild, &request.agent)
}

/// The same, of an agent of a guild.
pub fn agent_of(guild: &str, agent: &str) -> u64 {
    members_of(guild)(agent)
}

/// The same, for many agents of one guild.
pub fn members_of(guild: &str) -> impl Fn(&str) -> u64 {
    let guild = add(0xcbf2_9ce4_8422_2325, guild.bytes().chain([0]));
    move |agent| add(guild, agent.bytes())
}

fn add(hash: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
