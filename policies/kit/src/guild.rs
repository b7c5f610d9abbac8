//! Placing all agents of a guild at once.

use alloc::{string::String, vec::Vec};

use crate::{Decision, Fleet, Label, Peer, Refusal, Request, Resources, text};

/// What agents of one kind have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kind {
    /// The class that implements them.
    pub class_name: String,
    /// Their labels.
    pub labels: Vec<Label>,
    /// What each needs of its host.
    pub resources: Resources,
}

/// One agent of the guild.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub agent: String,
    /// Which of the request's kinds it is.
    pub kind: u32,
}

/// What to do when some agents find no host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Either every agent gets a host, or none does.
    AllOrNothing,
    /// Agents that find no host are left out.
    #[default]
    BestEffort,
}

#[cfg(target_arch = "wasm32")]
impl Mode {
    /// As `placement.wit` numbers them.
    #[doc(hidden)]
    pub fn _lift(number: u8) -> Self {
        match number {
            0 => Self::AllOrNothing,
            _ => Self::BestEffort,
        }
    }
}

/// A guild whose agents need hosts.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GuildRequest {
    /// The guild.
    pub guild: String,
    /// The kinds of agents there are.
    pub kinds: Vec<Kind>,
    /// The agents.
    pub members: Vec<Member>,
    /// What to do when some find no host.
    pub mode: Mode,
    /// Agents of the guild that have a host already.
    pub peers: Vec<Peer>,
    /// Hosts that must not be chosen.
    pub excluded: Vec<String>,
    /// The first of as many tickets as there are members.
    pub first_ticket: Option<u64>,
}

impl GuildRequest {
    /// A request for agents of the class `""` that need nothing in particular.
    pub fn new(guild: impl Into<String>, agents: impl IntoIterator<Item = String>) -> Self {
        let members = agents.into_iter().map(|agent| Member { agent, ..Member::default() }).collect();
        Self { guild: guild.into(), kinds: [Kind::default()].into(), members, ..Self::default() }
    }
}

/// Where the agents of a guild go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuildDecision {
    /// For each member, in their order, the position of its host in the fleet.
    pub hosts: Vec<Option<usize>>,
    /// Why, for people to read.
    pub reason: String,
    /// Why some were left out, when some were.
    pub refusal: Option<Refusal>,
}

impl GuildDecision {
    /// No agent gets a host.
    pub fn nothing(request: &GuildRequest, refusal: Refusal) -> Self {
        let hosts = request.members.iter().map(|_| None).collect();
        Self { hosts, reason: String::new(), refusal: Some(refusal) }
    }
}

/// Places the members of a guild one after another: what a policy does by default, and
/// what it does with a way of its own to place one, which answers a host's position.
/// `tell_peers` has each learn where those before it are.
pub fn one_by_one(
    request: &GuildRequest,
    fleet: &Fleet,
    tell_peers: bool,
    mut place: impl FnMut(&Request) -> Result<usize, Refusal>,
) -> GuildDecision {
    let mut one = Request {
        guild: request.guild.clone(),
        guild_size: u32::try_from(request.members.len() + request.peers.len()).unwrap_or(u32::MAX),
        peers: request.peers.clone(),
        excluded: request.excluded.clone(),
        ..Request::default()
    };
    let mut decision =
        GuildDecision { hosts: Vec::with_capacity(request.members.len()), ..GuildDecision::default() };
    let mut kind = u32::MAX;
    for (member, nth) in request.members.iter().zip(0..) {
        if member.kind != kind {
            kind = member.kind;
            let Kind { class_name, labels, resources } =
                request.kinds.get(kind as usize).cloned().unwrap_or_default();
            one = Request { class_name, labels, resources, ..one };
        }
        one.agent.clone_from(&member.agent);
        one.ticket = request.first_ticket.map(|first| first.wrapping_add(nth));
        match place(&one) {
            Ok(at) => {
                decision.hosts.push(Some(at));
                if tell_peers {
                    one.peers.push(Peer {
                        agent: member.agent.clone(),
                        name: String::new(),
                        class_name: one.class_name.clone(),
                        host: fleet[at].id.clone(),
                    });
                }
            }
            Err(refusal) if request.mode == Mode::AllOrNothing => {
                return GuildDecision::nothing(request, refusal);
            }
            Err(refusal) => {
                decision.hosts.push(None);
                decision.refusal.get_or_insert(refusal);
            }
        }
    }
    let placed = decision.hosts.iter().flatten().count();
    decision.reason = text!(placed, " of ", decision.hosts.len(), " agents, one by one");
    decision
}

/// The position that a decision means.
pub(crate) fn position(fleet: &Fleet, decision: &Decision) -> Result<usize, Refusal> {
    fleet.position(&decision.host).ok_or_else(|| Refusal::new("the policy chose an unknown host"))
}
