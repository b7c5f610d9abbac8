//! The search for the host that suits best.
//!
//! It looks at groups, not at hosts: what the rules say of one host of a group holds for
//! all, but for those that a rule tells apart by the agents on them.

use alloc::vec::Vec;

use crate::{
    group::{FULL, Group},
    groups::Groups,
    question::Question,
    rules::Rules,
};

/// A host that will do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) at: usize,
    /// How much of what is preferred it has, from 0 to 1.
    pub(crate) preferred: f32,
}

/// The host that satisfies all that is required, has the most of what is preferred, and of
/// several the fewest agents; of equal ones the first from `start` on, going round.
pub(crate) fn best(
    rules: &Rules,
    groups: &mut Groups,
    question: &Question,
    start: u64,
    excluded: &[u32],
) -> Option<Found> {
    let hosts = groups.len() as u32;
    let start = start.checked_rem(hosts.into())? as u32;
    let mut best: Option<(Found, (u32, u32))> = None;
    let distance = |at: u32| if at < start { at + (hosts - start) } else { at - start };
    let beats = |best: Option<(Found, (u32, u32))>, preferred: f32, at: u32, agents: u32| {
        best.is_none_or(|(best, rest)| {
            preferred > best.preferred || preferred == best.preferred && (agents, distance(at)) < rest
        })
    };
    let mut consider = |at: u32, agents: u32, group: &Group| {
        // Not judged when even all that is preferred would not do.
        if beats(best, 1.0, at, agents)
            && let Ok(preferred) = question.judge(rules, group, at)
            && beats(best, preferred, at, agents)
        {
            best = Some((Found { at: at as usize, preferred }, (agents, distance(at))));
        }
    };
    let mut seen: Vec<u32> = excluded.to_vec();
    for &(at, _) in question.told_apart.places() {
        let agents = groups.agents(at as usize);
        if agents < FULL && !excluded.contains(&at) {
            consider(at, agents, groups.of(at as usize));
        }
        seen.push(at);
    }
    groups.hide(&seen, true);
    for group in groups.iter().filter(|group| group.open > 0) {
        if let Some((at, agents)) = group.emptiest(start) {
            consider(at, agents, group);
        }
    }
    groups.hide(&seen, false);
    best.map(|(found, _)| found)
}
