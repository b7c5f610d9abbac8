//! Placing all agents of a guild at once.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AgentId, AgentKey, GuildId, HostId},
    resources::Amounts,
};

use super::types::{Peer, PlacementRequest, PolicyIdentity, Refusal};

/// What agents of one kind have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kind {
    /// The class that implements them.
    pub class_name: String,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
    /// What each needs of its host.
    pub resources: Amounts,
}

/// One agent of the guild.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub agent: AgentId,
    /// Its name, as people know it.
    pub name: String,
    /// Which of the request's kinds it is.
    pub kind: u32,
}

/// What to do when some agents of a guild find no host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuildMode {
    /// Either every agent gets a host, or none does.
    AllOrNothing,
    /// Agents that find no host are left out.
    #[default]
    BestEffort,
}

/// A guild whose agents need hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuildRequest {
    /// The guild.
    pub guild: GuildId,
    /// The kinds of agents there are.
    pub kinds: Vec<Kind>,
    /// The agents.
    pub members: Vec<Member>,
    /// What to do when some find no host.
    pub mode: GuildMode,
    /// Agents of the guild that have a host already, when the policy asked for them.
    pub peers: Vec<Peer>,
    /// Hosts that must not be chosen.
    pub excluded: Vec<HostId>,
    /// The first of as many numbers from the counter that all engines share as there are
    /// members, when the policy asked for them.
    pub first_ticket: Option<u64>,
}

impl GuildRequest {
    /// A request for no agents yet.
    pub fn new(guild: GuildId, mode: GuildMode) -> Self {
        Self {
            guild,
            kinds: Vec::new(),
            members: Vec::new(),
            mode,
            peers: Vec::new(),
            excluded: Vec::new(),
            first_ticket: None,
        }
    }

    /// Adds an agent. Agents that are alike are kept, and told to the policy, as one kind.
    pub fn add(&mut self, agent: AgentId, name: impl Into<String>, kind: Kind) {
        // Most agents are like the one before.
        let found = self.kinds.iter().rposition(|known| *known == kind);
        let kind = found.unwrap_or_else(|| {
            self.kinds.push(kind);
            self.kinds.len() - 1
        });
        let kind = u32::try_from(kind).unwrap_or(u32::MAX);
        self.members.push(Member { agent, name: name.into(), kind });
    }

    /// The request that the member at this place would make alone.
    pub(super) fn single(&self, at: usize) -> PlacementRequest {
        let member = &self.members[at];
        let Kind { class_name, labels, resources } =
            self.kinds.get(member.kind as usize).cloned().unwrap_or_default();
        PlacementRequest {
            name: member.name.clone(),
            class_name,
            labels,
            resources,
            guild_size: u32::try_from(self.members.len() + self.peers.len()).unwrap_or(u32::MAX),
            peers: self.peers.clone(),
            excluded: self.excluded.clone(),
            ticket: self.first_ticket.map(|first| first.wrapping_add(at as u64)),
            ..PlacementRequest::new(AgentKey::new(self.guild.clone(), member.agent.clone()))
        }
    }
}

/// Where the agents of a guild go.
#[derive(Clone, Debug, PartialEq)]
pub struct GuildDecision {
    /// For each member of the request, in their order, its host.
    pub hosts: Vec<Option<HostId>>,
    /// Why, in the policy's words.
    pub reason: String,
    /// Why some were left out, when some were.
    pub refusal: Option<Refusal>,
    /// Which policy decided.
    pub policy: Arc<PolicyIdentity>,
}

/// An agent that has a host, and may be moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// The agent, as it would ask for a host.
    pub request: PlacementRequest,
    /// The host it is on.
    pub host: HostId,
}

/// One agent's move, as a policy proposes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which of the agents that were asked about.
    pub agent: usize,
    /// The host it should go to: open, and not the one it is on.
    pub to: HostId,
    /// Why, in the policy's words.
    pub reason: String,
}
