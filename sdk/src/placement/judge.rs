//! Whether what a policy answered can be meant: hosts that are there and open, numbers
//! that are numbers, as many answers as questions.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::ids::{HostId, MAX_ID_BYTES};

use super::{
    error::{Call, PolicyError},
    guild::{GuildDecision, GuildMode, GuildRequest, Move, Placed},
    instance::readable,
    table::Table,
    types::{Choice, PlacementRequest, PolicyIdentity, Refusal, Rejection, Standing},
    wit::{GuildAnswer, WireChoice, WireMove},
};

/// Hosts that a decision names at most.
const MAX_CHOICES: usize = 16;

/// What is kept of a refusal's rejections, for people to read: so many, with so many hosts.
const REJECTIONS_KEPT: usize = 64;
const HOSTS_KEPT: usize = 16;

/// Longest time that a policy can have an agent wait before it is asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Looks whether what a policy answered can be meant.
pub(super) struct Judge<'a> {
    pub(super) policy: &'a PolicyIdentity,
    pub(super) fleet: &'a Table,
}

impl Judge<'_> {
    /// The hosts that the policy chose, the best one apart.
    pub(super) fn choices(
        &self,
        request: &PlacementRequest,
        choices: Vec<WireChoice>,
    ) -> Result<(Choice, Vec<Choice>), PolicyError> {
        let nonsense = |problem: String| self.nonsense(Call::Place, problem);
        if choices.len() > MAX_CHOICES {
            return Err(nonsense(format!("{} hosts, of {MAX_CHOICES} at most", choices.len())));
        }
        let known = |choice: WireChoice| {
            if choice.score.is_nan() {
                return Err(nonsense("a score of NaN".to_owned()));
            }
            let host = self.known(&request.excluded, &choice.host)?;
            Ok(Choice { host, score: choice.score, reason: readable(choice.reason) })
        };
        let mut known = choices.into_iter().map(known).collect::<Result<Vec<_>, _>>()?.into_iter();
        let first = known.next().ok_or_else(|| nonsense("neither a host nor a refusal".to_owned()))?;
        Ok((first, known.collect()))
    }

    fn nonsense(&self, call: Call, problem: String) -> PolicyError {
        PolicyError::Nonsense { policy: self.policy.name.clone(), call, problem }
    }

    /// The host that the policy named, if it may be chosen.
    fn known(&self, excluded: &[HostId], host: &str) -> Result<HostId, PolicyError> {
        let policy = || self.policy.name.clone();
        let Some(candidate) = self.fleet.get(host) else {
            let cut = host.floor_char_boundary(MAX_ID_BYTES);
            return Err(PolicyError::UnknownHost { policy: policy(), host: host[..cut].to_owned() });
        };
        let id = &candidate.id;
        if candidate.standing != Standing::Open {
            return Err(PolicyError::ClosedHost { policy: policy(), host: id.clone() });
        }
        match excluded.contains(id) {
            true => Err(PolicyError::ExcludedHost { policy: policy(), host: id.clone() }),
            false => Ok(id.clone()),
        }
    }

    pub(super) fn guild(
        &self,
        request: &GuildRequest,
        answer: GuildAnswer,
    ) -> Result<GuildDecision, PolicyError> {
        let nonsense = |problem: String| self.nonsense(Call::PlaceGuild, problem);
        let (members, wanted) = (answer.members.len(), request.members.len());
        if members != wanted {
            return Err(nonsense(format!("{members} hosts for {wanted} agents")));
        }
        if answer.hosts.len() > wanted {
            return Err(nonsense(format!("{} hosts, of {wanted} at most", answer.hosts.len())));
        }
        let known: Vec<HostId> =
            answer.hosts.iter().map(|host| self.known(&request.excluded, host)).collect::<Result<_, _>>()?;
        let host = |at: Option<u32>| {
            let found = at.map(|at| known.get(at as usize).cloned().ok_or(at));
            found.transpose().map_err(|at| nonsense(format!("there is no host {at} in its answer")))
        };
        let hosts: Vec<_> = answer.members.into_iter().map(host).collect::<Result<_, _>>()?;
        let placed = hosts.iter().flatten().count();
        if placed < wanted && answer.refusal.is_none() {
            return Err(nonsense(format!("it left out {} agents and does not say why", wanted - placed)));
        }
        if (1..wanted).contains(&placed) && request.mode == GuildMode::AllOrNothing {
            return Err(nonsense(format!("hosts for {placed} of {wanted} agents, which want all or none")));
        }
        let policy = Arc::new(self.policy.clone());
        Ok(GuildDecision { hosts, reason: readable(answer.reason), refusal: answer.refusal, policy })
    }

    pub(super) fn moves(
        &self,
        placed: &[Placed],
        moves: Vec<WireMove>,
        most: usize,
    ) -> Result<Vec<Move>, PolicyError> {
        let nonsense = |problem: String| self.nonsense(Call::ProposeMoves, problem);
        if moves.len() > most {
            return Err(nonsense(format!("{} moves, of {most} at most", moves.len())));
        }
        let mut moved = BTreeSet::new();
        let known = |one: WireMove| {
            let agent = one.agent as usize;
            let Some(from) = placed.get(agent) else {
                return Err(nonsense(format!("there is no agent {agent} in the question")));
            };
            let to = self.known(&from.request.excluded, &one.to)?;
            if to == from.host || !moved.insert(agent) {
                return Err(nonsense(format!("it moves agent {agent} twice, or to where it is")));
            }
            Ok(Move { agent, to, reason: readable(one.reason) })
        };
        moves.into_iter().map(known).collect()
    }
}

/// What is kept of a refusal.
pub(super) fn bounded(refusal: Refusal) -> Refusal {
    let rejection = |one: Rejection| Rejection {
        reason: readable(one.reason),
        count: one.count,
        hosts: one.hosts.into_iter().take(HOSTS_KEPT).map(readable).collect(),
    };
    Refusal {
        reason: readable(refusal.reason),
        rejections: refusal.rejections.into_iter().take(REJECTIONS_KEPT).map(rejection).collect(),
        retry_after: refusal.retry_after.map(|wait| wait.min(LONGEST_WAIT)),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        ids::{AgentId, AgentKey, GuildId},
        placement::{digest::Sha256Digest, guild::Kind, types::Candidate},
    };

    fn host(id: &str) -> HostId {
        HostId::new(id).unwrap()
    }

    /// `a`, `b` and `c`, of which `c` is closed.
    fn fleet() -> Table {
        let mut fleet = Table::default();
        for (id, standing) in [("a", Standing::Open), ("b", Standing::Open), ("c", Standing::Draining)] {
            fleet.insert(Arc::new(Candidate { standing, ..Candidate::new(host(id), 9) }));
        }
        fleet
    }

    fn policy() -> PolicyIdentity {
        PolicyIdentity { name: "odd".to_owned(), sha256: Sha256Digest::of(b"odd") }
    }

    fn guild(agents: usize, mode: GuildMode) -> GuildRequest {
        let mut guild = GuildRequest::new(GuildId::new("g").unwrap(), mode);
        for at in 0..agents {
            guild.add(AgentId::new(format!("a{at}")).unwrap(), "", Kind::default());
        }
        guild
    }

    fn placed(agents: usize) -> Vec<Placed> {
        let agent = |at: usize| {
            let key = AgentKey::new(GuildId::new("g").unwrap(), AgentId::new(format!("a{at}")).unwrap());
            Placed { request: PlacementRequest::new(key), host: host("a") }
        };
        (0..agents).map(agent).collect()
    }

    #[test]
    fn what_cannot_be_meant_of_a_guild_is_told() {
        let (policy, fleet) = (policy(), fleet());
        let judge = Judge { policy: &policy, fleet: &fleet };
        let none = || Some(Refusal::default());
        for (hosts, members, refusal, mode, wanted) in [
            (vec!["a"], vec![Some(0)], none(), GuildMode::BestEffort, "1 hosts for 2 agents"),
            (
                vec!["a", "b", "a"],
                vec![Some(0), Some(1)],
                None,
                GuildMode::BestEffort,
                "3 hosts, of 2 at most",
            ),
            (
                vec!["a"],
                vec![Some(0), Some(1)],
                None,
                GuildMode::BestEffort,
                "there is no host 1 in its answer",
            ),
            (
                vec!["a"],
                vec![Some(0), None],
                None,
                GuildMode::BestEffort,
                "it left out 1 agents and does not say why",
            ),
            (
                vec!["a"],
                vec![Some(0), None],
                none(),
                GuildMode::AllOrNothing,
                "hosts for 1 of 2 agents, which want all or none",
            ),
        ] {
            let hosts = hosts.into_iter().map(str::to_owned).collect();
            let answer = GuildAnswer { hosts, members, reason: String::new(), refusal };
            let error = judge.guild(&guild(2, mode), answer).unwrap_err().to_string();
            assert_eq!(error, format!("policy odd answered nonsense in place-guild: {wanted}"));
        }
    }

    #[test]
    fn what_cannot_be_meant_of_moves_is_told() {
        let (policy, fleet) = (policy(), fleet());
        let judge = Judge { policy: &policy, fleet: &fleet };
        let moves = |moves: &[(u32, &str)]| {
            let one =
                |&(agent, to): &(u32, &str)| WireMove { agent, to: to.to_owned(), reason: String::new() };
            judge.moves(&placed(2), moves.iter().map(one).collect(), 2).map_err(|error| error.to_string())
        };
        assert_eq!(moves(&[(0, "b"), (1, "b")]).unwrap().len(), 2);
        let nonsense = "policy odd answered nonsense in propose-moves: ";
        for (said, wanted) in [
            (&[(0, "b"), (1, "b"), (1, "b")][..], format!("{nonsense}3 moves, of 2 at most")),
            (&[(2, "b")], format!("{nonsense}there is no agent 2 in the question")),
            (&[(0, "a")], format!("{nonsense}it moves agent 0 twice, or to where it is")),
            (&[(0, "b"), (0, "b")], format!("{nonsense}it moves agent 0 twice, or to where it is")),
            (&[(0, "c")], "policy odd chose the host c, which takes no agents".to_owned()),
            (&[(0, "d")], "policy odd chose the host \"d\", which is not in the fleet".to_owned()),
        ] {
            assert_eq!(moves(said).unwrap_err(), wanted);
        }
    }

    proptest! {
        /// Whatever comes, what is let through can be done.
        #[test]
        fn what_is_let_through_can_be_done(
            hosts in prop::collection::vec("[a-d]", 0..4),
            members in prop::collection::vec(prop::option::of(0..4_u32), 0..4),
            refused: bool,
            all: bool,
            agents in 0..4_usize,
            moves in prop::collection::vec((0..4_u32, "[a-d]"), 0..4),
            most in any::<Option<NonZeroU8>>(),
        ) {
            let (policy, fleet) = (policy(), fleet());
            let judge = Judge { policy: &policy, fleet: &fleet };
            let mode = if all { GuildMode::AllOrNothing } else { GuildMode::BestEffort };
            let refusal = refused.then(Refusal::default);
            let answer = GuildAnswer { hosts, members, reason: String::new(), refusal };
            if let Ok(decision) = judge.guild(&guild(agents, mode), answer) {
                prop_assert_eq!(decision.hosts.len(), agents);
                prop_assert!(decision.hosts.iter().flatten().all(|one| [host("a"), host("b")].contains(one)));
                let placed = decision.hosts.iter().flatten().count();
                prop_assert!(mode == GuildMode::BestEffort || placed == 0 || placed == agents);
            }
            let most = most.map_or(0, |most| usize::from(most.get()) % 4);
            let moves = moves.into_iter().map(|(agent, to)| WireMove { agent, to, reason: String::new() }).collect();
            if let Ok(moves) = judge.moves(&placed(agents), moves, most) {
                prop_assert!(moves.len() <= most && moves.iter().all(|one| one.agent < agents && one.to == host("b")));
            }
        }
    }
}
