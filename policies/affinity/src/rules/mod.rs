//! The rules, as operators write them.
//!
//! Labels whose values matter are *columns*: a host's values in them are looked up once,
//! when it reports.

mod labels;
mod peers;
mod read;

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use guildhall_policy::{InvalidSettings, Settings};

pub(crate) use labels::{LabelRule, Test};
pub(crate) use peers::{PeerRule, Relation};

use read::strength;

/// Rules in each list: what a host's labels say of them has to fit into one number.
const MOST_RULES: usize = 32;

/// All rules, those on labels first.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) all: Vec<Rule>,
    /// The label of each column.
    pub(crate) columns: Vec<String>,
}

/// A rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) about: About,
    /// How much it counts; `None`: a host that does not satisfy it is not chosen.
    pub(crate) weight: Option<f32>,
}

/// What a rule is about.
#[derive(Clone, Debug)]
pub(crate) enum About {
    /// A label of the host.
    Label(LabelRule),
    /// Where other agents of the guild are.
    Peers(PeerRule),
}

/// What is one place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Topology {
    /// Each host is.
    Host,
    /// The hosts that have the same value in this column.
    Column(usize),
}

impl Rules {
    pub(crate) fn read(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        let mut rules = Self { all: Vec::new(), columns: Vec::new() };
        for field in ["hosts", "agents", "spread"] {
            let before = rules.all.len();
            settings.list(field, |rule| rules.add(field, rule))?;
            if rules.all.len() - before > MOST_RULES {
                return Err(settings.invalid(field, "must be 32 rules at most"));
            }
        }
        Ok(rules)
    }

    fn add(&mut self, field: &str, rule: &mut Settings<'_>) -> Result<(), InvalidSettings> {
        let about = match field {
            "hosts" => About::Label(LabelRule::read(rule, self)?),
            list => About::Peers(PeerRule::read(rule, self, list == "spread")?),
        };
        self.all.push(Rule { about, weight: strength(rule)? });
        Ok(())
    }

    /// The column of this label.
    fn column(&mut self, label: &str) -> usize {
        self.columns.iter().position(|known| known == label).unwrap_or_else(|| {
            self.columns.push(label.to_owned());
            self.columns.len() - 1
        })
    }

    /// What is wrong with a host that does not satisfy the rule in this place.
    pub(crate) fn broken(&self, nth: usize) -> String {
        match &self.all[nth].about {
            About::Label(rule) => rule.broken(),
            About::Peers(rule) => rule.broken(match rule.topology {
                Topology::Host => "host",
                Topology::Column(column) => &self.columns[column],
            }),
        }
    }
}
