//! Rules on where the other agents of the guild are.

use alloc::{string::String, vec::Vec};

use guildhall_policy::{InvalidSettings, Peer, Request, Settings, text};

use super::{
    Rules, Topology,
    read::{listed, one_of, topology, whole},
};

/// Where an agent has to be, seen from other agents.
#[derive(Clone, Debug)]
pub(crate) struct PeerRule {
    pub(crate) relation: Relation,
    of: Of,
    /// Classes or names; none: the agent's own.
    values: Vec<String>,
    pub(crate) topology: Topology,
    /// Classes that the rule is for; none: all.
    applies_to: Vec<String>,
}

/// How an agent stands to other agents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Relation {
    Near,
    Apart,
    /// No more of them in its place, with itself, than so many above the emptiest place.
    Even(u32),
}

/// Which agents of the guild.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    Guild,
    Class,
    Name,
}

const OF: [Of; 3] = [Of::Guild, Of::Class, Of::Name];

/// More agents than a guild has.
const MOST_SKEW: u32 = 1_000_000;

impl PeerRule {
    pub(super) fn read(
        rule: &mut Settings<'_>,
        rules: &mut Rules,
        spread: bool,
    ) -> Result<Self, InvalidSettings> {
        let relation = match spread {
            true => match whole(rule, "max_skew", MOST_SKEW)? {
                Some(skew) => Relation::Even(skew),
                None => return Err(rule.invalid("max_skew", "is missing")),
            },
            false if one_of(rule, "kind", &["affinity", "anti-affinity"])? == 0 => Relation::Near,
            false => Relation::Apart,
        };
        let of =
            OF[one_of(rule, "of", if spread { &["guild", "class"] } else { &["guild", "class", "name"] })?];
        let topology = topology(rule, rules)?;
        let mut read = Self { relation, of, values: Vec::new(), topology, applies_to: Vec::new() };
        if !spread {
            read.values = rule.texts("values")?;
            read.applies_to = rule.texts("applies_to")?;
        }
        match of == Of::Guild && !read.values.is_empty() {
            true => Err(rule.invalid("values", "are for class and name only")),
            false => Ok(read),
        }
    }

    /// Whether the rule is for agents of this class.
    pub(crate) fn applies_to(&self, class: &str) -> bool {
        self.applies_to.is_empty() || self.applies_to.iter().any(|other| other == class)
    }

    /// Whether the peer is one that the rule is about. Whom an agent must be apart from
    /// must not come near the agent either: when `required`, that holds both ways.
    pub(crate) fn concerns(&self, request: &Request, peer: &Peer, required: bool) -> bool {
        let agent = (request.class_name.as_str(), request.name.as_str());
        let peer = (peer.class_name.as_str(), peer.name.as_str());
        self.is_about(agent, peer)
            || required && self.relation == Relation::Apart && self.is_about(peer, agent)
    }

    /// Whether the rule is for the agent `one`, and about the agent `other`: each a class
    /// and a name.
    fn is_about(&self, one: (&str, &str), other: (&str, &str)) -> bool {
        let (own, others) = match self.of {
            Of::Guild => ("", ""),
            Of::Class => (one.0, other.0),
            Of::Name => (one.1, other.1),
        };
        let meant = match self.values.is_empty() {
            true => own == others,
            false => self.values.iter().any(|value| value == others),
        };
        meant && self.applies_to(one.0)
    }

    /// What a place is worth, from 0 to 1, where `here` of `all` those agents are; 0 when it
    /// is required to be better. `fewest` are in the emptiest place.
    pub(crate) fn part(&self, here: u32, all: u32, fewest: u32, required: bool) -> f32 {
        let more = here.saturating_sub(fewest);
        let share = |agents: u32| agents as f32 / all as f32;
        match self.relation {
            Relation::Even(most) if required => f32::from(u8::from(more < most)),
            // The first of its kind may go anywhere.
            _ if all == 0 => 1.0,
            Relation::Near => share(here),
            Relation::Apart if required => f32::from(u8::from(here == 0)),
            Relation::Apart => 1.0 - share(here),
            Relation::Even(_) => 1.0 - share(more),
        }
    }

    /// What is wrong with a host that does not satisfy the rule.
    pub(super) fn broken(&self, place: &str) -> String {
        let no = match self.relation {
            Relation::Even(_) => return text!("would skew ", place),
            Relation::Near => "no ",
            Relation::Apart => "",
        };
        let whom = match (self.of, self.values.is_empty()) {
            (Of::Guild, _) => "of its guild",
            (Of::Class, true) => "of its class",
            (Of::Class, false) => "of class ",
            (Of::Name, true) => "of its name",
            (Of::Name, false) => "named ",
        };
        let values = listed(self.values.iter().map(String::as_str));
        let at = if self.topology == Topology::Host { "on" } else { "in" };
        text!(no, "agents ", whom, values, " ", at, " the same ", place)
    }
}
