//! Rules on the labels of hosts.

use alloc::{string::String, vec::Vec};

use guildhall_policy::{Candidate, InvalidSettings, Settings, text};

use super::{
    Rules,
    read::{listed, must_have, one_of},
};

/// How a host's label has to be.
#[derive(Clone, Debug)]
pub(crate) struct LabelRule {
    pub(crate) key: String,
    pub(crate) test: Test,
    values: Vec<String>,
}

/// What is asked of a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Test {
    In,
    NotIn,
    Exists,
    NotExists,
    /// As the agent's own, if it has one: the host's value is in this column.
    SameAsAgent(usize),
}

const OPERATORS: [&str; 5] = ["in", "not-in", "exists", "not-exists", "same-as-agent"];

impl LabelRule {
    pub(super) fn read(rule: &mut Settings<'_>, rules: &mut Rules) -> Result<Self, InvalidSettings> {
        let key = must_have(rule, "key")?;
        let test = match one_of(rule, "operator", &OPERATORS)? {
            0 => Test::In,
            1 => Test::NotIn,
            2 => Test::Exists,
            3 => Test::NotExists,
            _ => Test::SameAsAgent(rules.column(&key)),
        };
        let values = rule.texts("values")?;
        match (test, values.is_empty()) {
            (Test::In | Test::NotIn, true) => Err(rule.invalid("values", "must name one at least")),
            (Test::In | Test::NotIn, false) | (_, true) => Ok(Self { key, test, values }),
            _ => Err(rule.invalid("values", "are for in and not-in only")),
        }
    }

    /// Whether the host satisfies the rule, as far as the host alone says.
    pub(crate) fn holds(&self, host: &Candidate) -> bool {
        let value = host.label(&self.key);
        let among = || value.is_some_and(|value| self.values.iter().any(|other| other == value));
        match self.test {
            Test::In => among(),
            Test::NotIn => !among(),
            Test::Exists => value.is_some(),
            Test::NotExists => value.is_none(),
            Test::SameAsAgent(_) => true,
        }
    }

    /// What is wrong with a host that does not satisfy the rule.
    pub(super) fn broken(&self) -> String {
        let (key, values) = (&self.key, listed(self.values.iter().map(String::as_str)));
        let (before, behind) = match self.test {
            Test::In => ("", " not in "),
            Test::NotIn => ("", " in "),
            Test::Exists => ("without ", ""),
            Test::NotExists => ("with ", ""),
            Test::SameAsAgent(_) => ("", " not as the agent's"),
        };
        text!(before, "label ", key, behind, values)
    }
}
