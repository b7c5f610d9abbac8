//! The host that the rules allow and prefer: near some agents, apart from others.
//!
//! Use it where it matters on which hosts agents run, and which of them run together: in
//! the zone they ask for, not two of a class on one host, evenly over zones. The rules are
//! those that Kubernetes has for pods. There are three lists, each may be left out:
//!
//! - `hosts`, on the labels of hosts, as node affinity:
//!   `{"key": "zone", "operator": "in", "values": ["a", "b"]}`. Operators are `in`,
//!   `not-in`, `exists`, `not-exists`, and `same-as-agent`: as the agent's own label of
//!   that key; an agent without it may go anywhere.
//! - `agents`, on where the other agents of the guild are, as pod affinity:
//!   `{"kind": "anti-affinity", "of": "class", "topology": "host"}`. It is about all agents
//!   of the guild (`"of": "guild"`), those of the classes in `values`, or those of the names
//!   in `values`; without `values`, of the agent's own class or name. `topology` is the label
//!   whose hosts of one value count as one place, or `host`. `applies_to` names the classes
//!   that the rule is for. As long as none of them is anywhere, `affinity` allows every
//!   place. A required `anti-affinity` holds both ways.
//! - `spread`, on how even it is, as topology spread constraints:
//!   `{"topology": "zone", "max_skew": 1, "of": "guild"}`. With the agent, its place has at
//!   most `max_skew` agents more than the emptiest of those places that have an open host
//!   which the required rules in `hosts` allow.
//!
//! Rules are required; one with `"required": false` is preferred, and counts by its `weight`,
//! 1 to 100. What a rule is worth on a host goes from 0 to 1: for `affinity`, the share of
//! those agents that is in the same place, for `anti-affinity` the share elsewhere, for
//! `spread` less the more agents there are than in the emptiest place. A host without the
//! label `topology` does not satisfy the rule.
//!
//! Of the hosts that satisfy all that is required, the one with most of what is preferred
//! gets the agent; of several, the one with the fewest agents, those included that the policy
//! has placed there since the host last reported; of equal ones, another one for each agent.
//!
//! Decisions cost by the number of different hosts, as the rules see them, and not by the
//! number of hosts: few zones are cheap, a `topology` label that differs from host to host
//! is not. There, write `host`.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod asked;
mod counts;
mod group;
mod groups;
#[cfg(test)]
mod naive;
mod positions;
mod question;
mod rules;
mod search;
mod values;

use alloc::{string::String, vec::Vec};

use guildhall_policy::{
    Decision, Fleet, Inputs, InvalidSettings, Observed, Policy, Refusal, Request, Settings, Verdict,
    identity, percent, text,
};

use asked::Asked;
use group::FULL;
use groups::Groups;
use question::{Obstacle, Question};
use rules::Rules;
use search::Found;

/// The policy: the rules, and the hosts in groups that no rule tells apart.
#[derive(Clone, Debug)]
pub struct Affinity {
    rules: Rules,
    groups: Groups,
    /// What hosts were last judged for, one after another.
    asked: Option<Asked>,
}

impl Policy for Affinity {
    const INPUTS: Inputs = Inputs::PEERS;
    const SETTINGS: &'static str = include_str!("../settings.json");

    fn configure(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        Ok(Self { rules: Rules::read(settings)?, groups: Groups::default(), asked: None })
    }

    fn observe(&mut self, fleet: &Fleet, observed: &Observed) {
        self.asked = None;
        self.groups.observe(&self.rules, fleet, observed);
    }

    fn place(&mut self, fleet: &Fleet, request: &Request) -> Result<Decision, Refusal> {
        let question = self.question(fleet, request);
        let mut excluded: Vec<u32> = Vec::new();
        for host in &request.excluded {
            excluded.extend(self.groups.position(fleet, host).map(|at| at as u32));
        }
        let found = search::best(&self.rules, &mut self.groups, &question, identity(request), &excluded);
        let found = found.ok_or_else(|| fleet.refuse(request, |at| self.judge(&question, at).err()));
        let Found { at, preferred } = found?;
        self.groups.count(at);
        let reason = self.reason(fleet, &question, at, preferred);
        Ok(Decision::new(&fleet[at], reason).with_score(preferred.into()))
    }

    fn score(&mut self, fleet: &Fleet, request: &Request, at: usize) -> Verdict {
        let asked = self.asked.take().filter(|asked| asked.is(request));
        let asked = asked.unwrap_or_else(|| Asked::new(request, self.question(fleet, request)));
        let judged = self.judge(&asked.question, at);
        self.asked = Some(asked);
        judged.map_or_else(Verdict::rejected, Verdict::Score)
    }

    fn chosen(&mut self, _: &Fleet, at: usize) {
        self.groups.count(at);
    }
}

impl Affinity {
    fn question(&mut self, fleet: &Fleet, request: &Request) -> Question {
        self.groups.refresh(&self.rules, fleet);
        Question::new(&self.rules, &self.groups, fleet, request)
    }

    /// How much of what is preferred the host at this position has.
    ///
    /// # Errors
    /// Why it will not do.
    fn judge(&self, question: &Question, at: usize) -> Result<f32, String> {
        match question.judge(&self.rules, self.groups.of(at), at as u32) {
            Err(Obstacle::Rule(nth)) => Err(self.rules.broken(nth)),
            Err(Obstacle::Unlabelled(column)) => Err(text!("without label ", self.rules.columns[column])),
            // Those that do not say they are full have what was placed since.
            Ok(_) if self.groups.agents(at) == FULL => Err("full".into()),
            Ok(preferred) => Ok(preferred),
        }
    }

    fn reason(&self, fleet: &Fleet, question: &Question, at: usize, preferred: f32) -> String {
        let slot = self.groups.taken(at);
        let capacity = fleet[at].capacity;
        match question.prefers() {
            true => text!(
                percent(preferred.into()),
                " of 100 by what is preferred: its slot ",
                slot,
                " of ",
                capacity
            ),
            false => text!("satisfies all rules: its slot ", slot, " of ", capacity),
        }
    }
}

guildhall_policy::no_std!();
guildhall_policy::export!(Affinity: scoring);
