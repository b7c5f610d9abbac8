//! One agent's question: what the rules come to, given the agent and where the other
//! agents of its guild are.

use alloc::vec::Vec;

use guildhall_policy::{Fleet, Peer, Request};

use crate::{
    counts::Counts,
    group::Group,
    groups::Groups,
    rules::{About, PeerRule, Relation, Rules, Test, Topology},
    values::NONE,
};

/// What the rules come to for one agent.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// For each rule.
    terms: Vec<Term>,
    /// What all rules weigh that are preferred and matter.
    weights: f32,
    /// Hosts with other agents of the guild, by position, when a rule tells hosts apart.
    pub(crate) told_apart: Counts,
}

/// What a rule comes to.
#[derive(Clone, Debug)]
enum Term {
    /// It does not matter to this agent.
    Nothing,
    /// The group says whether it holds.
    Known,
    /// The host's value in this column has to be this.
    Value(usize, u32),
    /// The agents that matter, and the fewest of them in any place where this one could go.
    Agents(Counts, u32),
}

/// A host does not satisfy a rule that is required: which one, or which label it lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Obstacle {
    Rule(usize),
    Unlabelled(usize),
}

impl Question {
    pub(crate) fn new(rules: &Rules, groups: &Groups, fleet: &Fleet, request: &Request) -> Self {
        let mut question = Self { terms: Vec::new(), weights: 0.0, told_apart: Counts::default() };
        let mut peers: Option<Vec<(&Peer, usize)>> = None;
        for rule in &rules.all {
            let term = match &rule.about {
                About::Label(label) => match label.test {
                    Test::SameAsAgent(column) => match request.label(&label.key) {
                        Some(value) => Term::Value(column, groups.value(value)),
                        None => Term::Nothing,
                    },
                    _ => Term::Known,
                },
                About::Peers(about) => {
                    let peers = peers.get_or_insert_with(|| with_positions(groups, fleet, request));
                    let mut counts = Counts::default();
                    for (peer, at) in peers.iter() {
                        if about.concerns(request, peer, rule.weight.is_none())
                            && let Ok(place) = place(about.topology, groups.of(*at), *at as u32)
                        {
                            counts.add(place);
                        }
                    }
                    question.term(rules, groups, about, request, counts)
                }
            };
            let matters = !matches!(term, Term::Nothing);
            if let About::Peers(PeerRule { topology: Topology::Host, .. }) = rule.about
                && matters
                && question.told_apart.all == 0
            {
                peers.iter().flatten().for_each(|(_, at)| question.told_apart.add(*at as u32));
            }
            question.weights += rule.weight.filter(|_| matters).unwrap_or(0.0);
            question.terms.push(term);
        }
        question
    }

    fn term(
        &self,
        rules: &Rules,
        groups: &Groups,
        about: &PeerRule,
        request: &Request,
        counts: Counts,
    ) -> Term {
        match about.relation {
            Relation::Even(_) => {
                let fewest = self.fewest(rules, groups, about.topology, &counts);
                Term::Agents(counts, fewest)
            }
            // One that must be apart from this agent matters though the rule is not for it.
            _ if counts.all > 0 || about.applies_to(&request.class_name) => Term::Agents(counts, 0),
            _ => Term::Nothing,
        }
    }

    /// Whether any rule is preferred, and not required.
    pub(crate) fn prefers(&self) -> bool {
        self.weights > 0.0
    }

    /// How much of what is preferred the host at this position has, from 0 to 1. It stands
    /// for all of its group that have no agent of the guild when it has none.
    ///
    /// # Errors
    /// The first rule that is required and that the host does not satisfy.
    pub(crate) fn judge(&self, rules: &Rules, group: &Group, at: u32) -> Result<f32, Obstacle> {
        let mut preferred = 0.0;
        for (nth, (rule, term)) in rules.all.iter().zip(&self.terms).enumerate() {
            let mut obstacle = Obstacle::Rule(nth);
            let part = match (term, &rule.about) {
                (Term::Nothing, _) => continue,
                (Term::Agents(counts, fewest), About::Peers(about)) => {
                    match place(about.topology, group, at) {
                        Ok(place) => about.part(counts.at(place), counts.all, *fewest, rule.weight.is_none()),
                        Err(column) => {
                            obstacle = Obstacle::Unlabelled(column);
                            0.0
                        }
                    }
                }
                (term, _) => f32::from(u8::from(term.holds(group, nth))),
            };
            match rule.weight {
                Some(weight) => preferred += weight * part,
                None if part > 0.0 => {}
                None => return Err(obstacle),
            }
        }
        Ok(if self.prefers() { preferred / self.weights } else { 1.0 })
    }

    /// The fewest agents in any place where the agent could go by the rules on labels: these
    /// come first, so that what they come to is known.
    fn fewest(&self, rules: &Rules, groups: &Groups, topology: Topology, counts: &Counts) -> u32 {
        let may_go = |group: &Group| {
            let mut terms = rules.all.iter().zip(&self.terms).enumerate();
            group.open > 0 && terms.all(|(nth, (rule, term))| rule.weight.is_some() || term.holds(group, nth))
        };
        // Hosts where the agent could go: all, and those with agents.
        let (mut hosts, mut with) = (0, 0);
        let mut fewest = u32::MAX;
        for group in groups.iter().filter(|group| may_go(group)) {
            hosts += group.open;
            if let Topology::Column(column) = topology
                && group.value(column) != NONE
            {
                fewest = fewest.min(counts.at(group.value(column)));
            }
        }
        if topology == Topology::Host {
            for &(at, agents) in counts.places() {
                if groups.is_open(at as usize) && may_go(groups.of(at as usize)) {
                    with += 1;
                    fewest = fewest.min(agents);
                }
            }
        }
        match topology {
            Topology::Host if hosts > with => 0,
            _ if fewest == u32::MAX => 0,
            _ => fewest,
        }
    }
}

impl Term {
    /// Whether hosts of the group satisfy the rule in this place, as far as their labels say.
    fn holds(&self, group: &Group, nth: usize) -> bool {
        match self {
            Self::Known => group.holds(nth),
            Self::Value(column, value) => group.value(*column) == *value,
            Self::Nothing | Self::Agents(..) => true,
        }
    }
}

/// The place that a host of the group is in: when hosts are places, its position. The error
/// is the column in which it has no value.
fn place(topology: Topology, group: &Group, at: u32) -> Result<u32, usize> {
    match topology {
        Topology::Host => Ok(at),
        Topology::Column(column) if group.value(column) == NONE => Err(column),
        Topology::Column(column) => Ok(group.value(column)),
    }
}

fn with_positions<'a>(groups: &Groups, fleet: &Fleet, request: &'a Request) -> Vec<(&'a Peer, usize)> {
    let mut peers = Vec::with_capacity(request.peers.len());
    for peer in &request.peers {
        if let Some(at) = groups.position(fleet, &peer.host) {
            peers.push((peer, at));
        }
    }
    peers
}
