//! The judge: pure functions over what the agents testified and what was asked of the
//! product. It takes nobody's word for anything but the agents' own.

use std::fmt;

use crate::history::{Agent, History, Life};

/// A process that was killed with its host ended this long, in nanoseconds, before the
/// kill at the earliest: the time between two records, and what a busy machine adds.
const DIED_WITH_HOST: u64 = 100_000_000;

/// How long a call of the workload may be under way, in nanoseconds.
const LONGEST_CALL: u64 = 20_000_000_000;

/// Two processes of one agent that lived at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overlap {
    /// Whose they are.
    pub(crate) agent: Agent,
    /// The one that began first.
    pub(crate) one: Life,
    /// The one that began while it lived.
    pub(crate) other: Life,
}

impl Overlap {
    /// For how long both lived, in nanoseconds.
    pub(crate) fn length(&self) -> u64 {
        self.one.last.min(self.other.last) - self.other.first
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agent, one, other } = self;
        write!(
            f,
            "{agent} lived twice for {:.1} ms: on {} (epoch {}, pid {}) and on {} (epoch {}, pid {})",
            self.length() as f64 / 1e6,
            one.host,
            one.epoch,
            one.pid,
            other.host,
            other.epoch,
            other.pid
        )
    }
}

/// A process that began after another of its agent, under an epoch that is not higher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Regression {
    /// Whose they are.
    pub(crate) agent: Agent,
    /// The highest epoch before it.
    pub(crate) before: u64,
    /// The one with the epoch that is too low.
    pub(crate) life: Life,
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agent, before, life } = self;
        write!(f, "{agent} began on {} under epoch {}, after epoch {before}", life.host, life.epoch)
    }
}

/// Every pair of lives of one agent that have a moment in common.
pub(crate) fn overlaps(history: &History) -> Vec<Overlap> {
    let mut found = Vec::new();
    for (agent, lives) in &history.lives {
        for (n, one) in lives.iter().enumerate() {
            // Those that began later are sorted by their beginning.
            for other in lives[n + 1..].iter().take_while(|other| other.first <= one.last) {
                found.push(Overlap { agent: agent.clone(), one: one.clone(), other: other.clone() });
            }
        }
    }
    found
}

/// Every life whose epoch is not higher than all before it.
pub(crate) fn regressions(history: &History) -> Vec<Regression> {
    let mut found = Vec::new();
    for (agent, lives) in &history.lives {
        let mut highest = None;
        for life in lives {
            match highest {
                Some(before) if life.epoch <= before => {
                    found.push(Regression { agent: agent.clone(), before, life: life.clone() });
                }
                _ => highest = Some(life.epoch),
            }
        }
    }
    found
}

/// What the registry says of an agent in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is recorded.
    Missing,
    /// It is said to run, under this epoch.
    Running(u64),
    /// It is said to be on its way: starting, restarting, waiting for a host.
    OnItsWay,
    /// It is recorded as ended, with this reason.
    Ended(String),
    /// It is in a state that cannot be the last word: lost, stopping.
    Adrift(String),
}

/// An agent that was accepted, was not stopped, and is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Which agent.
    pub(crate) agent: Agent,
    /// Why it counts as lost.
    pub(crate) why: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is lost: {}", self.agent, self.why)
    }
}

/// Why an agent that was accepted and not stopped is lost; `None` when it is not. A
/// process must testify after `since` for the registry's "running" to be believed.
pub(crate) fn loss(history: &History, agent: &Agent, standing: &Standing, since: u64) -> Option<Loss> {
    let lives = history.lives.get(agent).map(Vec::as_slice).unwrap_or_default();
    let why = match standing {
        // An agent that was claimed anew, because Redis lost its data, has a process that was
        // started under the epoch before.
        Standing::Running(epoch)
            if lives
                .iter()
                .max_by_key(|life| life.epoch)
                .is_some_and(|newest| newest.epoch <= *epoch && newest.last >= since) =>
        {
            return None;
        }
        Standing::Running(epoch) => {
            format!("epoch {epoch} is recorded as running, and its process does not live")
        }
        Standing::OnItsWay => return None,
        Standing::Ended(reason) if !reason.trim().is_empty() => return None,
        Standing::Ended(_) => "it is recorded as ended without a reason".to_owned(),
        Standing::Missing => "it is not recorded".to_owned(),
        Standing::Adrift(state) => format!("it is recorded as {state}"),
    };
    Some(Loss { agent: agent.clone(), why })
}

/// The processes of an agent that testified after `since`, though it was stopped or no host
/// took it.
pub(crate) fn revived(history: &History, agent: &Agent, since: u64) -> Vec<Sighting> {
    let lives = history.lives.get(agent).map(Vec::as_slice).unwrap_or_default();
    let alive = lives.iter().filter(|life| life.last >= since);
    alive.map(|life| Sighting { agent: agent.clone(), life: life.clone() }).collect()
}

/// A host that was killed, and stayed dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    /// The host.
    pub(crate) host: String,
    /// When it got SIGKILL.
    pub(crate) at: u64,
}

/// The agents that died with a host.
pub(crate) fn victims<'a>(
    history: &'a History,
    death: &'a Death,
) -> impl Iterator<Item = (&'a Agent, &'a Life)> {
    history.lives.iter().flat_map(|(agent, lives)| lives.iter().map(move |life| (agent, life))).filter(
        |(_, life)| {
            life.host == death.host && life.first < death.at && life.last + DIED_WITH_HOST >= death.at
        },
    )
}

/// The times from deaths of hosts to the first record of each of their agents elsewhere,
/// in nanoseconds. `touched` says when somebody stopped or launched an agent: one that was
/// touched in between did not fail over.
pub(crate) fn failovers(history: &History, deaths: &[Death], touched: &[(Agent, u64)]) -> Vec<u64> {
    let mut times = Vec::new();
    for death in deaths {
        for (agent, _) in victims(history, death) {
            let next = history.lives[agent].iter().find(|life| life.first > death.at);
            let Some(next) = next.filter(|next| next.host != death.host) else { continue };
            let from = death.at.saturating_sub(1_000_000_000);
            if !touched.iter().any(|(of, at)| of == agent && (from..=next.first).contains(at)) {
                times.push(next.first - death.at);
            }
        }
    }
    times
}

/// A process of an agent, found where none should be, or gone where it should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// Whose it was.
    pub(crate) agent: Agent,
    /// The process.
    pub(crate) life: Life,
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agent, life } = self;
        write!(f, "{agent} on {} (epoch {}, pid {})", life.host, life.epoch, life.pid)
    }
}

/// The processes that ended within one of these spans of time, and whose agents nobody
/// stopped or launched within it or shortly before.
pub(crate) fn ended_within(
    history: &History,
    spans: &[(u64, u64)],
    touched: &[(Agent, u64)],
) -> Vec<Sighting> {
    let mut found = Vec::new();
    for (agent, lives) in &history.lives {
        for life in lives {
            let Some((from, to)) = spans.iter().find(|(from, to)| (*from..*to).contains(&life.last)) else {
                continue;
            };
            let from = from.saturating_sub(LONGEST_CALL);
            if !touched.iter().any(|(of, at)| of == agent && (from..=*to).contains(at)) {
                found.push(Sighting { agent: agent.clone(), life: life.clone() });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: &str) -> Agent {
        Agent { guild: "g".into(), id: id.into() }
    }

    fn life(host: &str, epoch: u64, first: u64, last: u64) -> Life {
        Life { epoch, host: host.into(), pid: 1, first, last }
    }

    /// Lives of agents, in any order.
    fn history(lives: &[(&str, Life)]) -> History {
        let mut history = History::default();
        for (id, life) in lives {
            history.lives.entry(agent(id)).or_default().push(life.clone());
        }
        for lives in history.lives.values_mut() {
            lives.sort_by_key(|life| (life.first, life.epoch));
        }
        history
    }

    #[test]
    fn lives_that_share_a_moment_overlap() {
        let spans = |lives: &[(&str, Life)]| {
            let pairs = overlaps(&history(lives));
            pairs.iter().map(|pair| (pair.one.epoch, pair.other.epoch, pair.length())).collect::<Vec<_>>()
        };
        for (what, lives, wanted) in [
            ("one after the other", vec![life("h1", 1, 0, 10), life("h2", 2, 11, 20)], vec![]),
            ("a moment in common", vec![life("h1", 1, 0, 10), life("h2", 2, 10, 20)], vec![(1, 2, 0)]),
            ("one within the other", vec![life("h1", 1, 0, 30), life("h2", 2, 10, 20)], vec![(1, 2, 10)]),
            ("on one host", vec![life("h1", 1, 0, 10), life("h1", 2, 5, 20)], vec![(1, 2, 5)]),
            (
                "a process that slept through the next and the one after",
                vec![life("h1", 1, 0, 100), life("h2", 2, 10, 20), life("h3", 3, 30, 40)],
                vec![(1, 2, 10), (1, 3, 10)],
            ),
        ] {
            let lives: Vec<_> = lives.into_iter().map(|life| ("a", life)).collect();
            assert_eq!(spans(&lives), wanted, "{what}");
        }
        assert_eq!(spans(&[("a", life("h1", 1, 0, 10)), ("b", life("h2", 2, 5, 10))]), [], "two agents");
    }

    #[test]
    fn epochs_that_do_not_grow_are_found() {
        let epochs = |epochs: &[u64]| {
            let lives: Vec<_> = (0_u64..)
                .zip(epochs)
                .map(|(n, epoch)| ("a", life("h", *epoch, 10 * n, 10 * n + 5)))
                .collect();
            let found = regressions(&history(&lives));
            found.iter().map(|found| (found.before, found.life.epoch)).collect::<Vec<_>>()
        };
        assert_eq!(epochs(&[1, 2, 9]), []);
        assert_eq!(epochs(&[1, 1]), [(1, 1)]);
        assert_eq!(epochs(&[5, 3, 4, 6]), [(5, 3), (5, 4)]);
    }

    #[test]
    fn what_is_nowhere_is_lost() {
        let history = history(&[("a", life("h1", 1, 0, 50)), ("a", life("h2", 2, 60, 100))]);
        let lost = |standing| loss(&history, &agent("a"), &standing, 90).is_some();
        assert!(!lost(Standing::Running(2)));
        assert!(lost(Standing::Running(1)), "that process ended");
        assert!(!lost(Standing::Running(3)), "it was claimed anew, and goes on");
        assert!(loss(&history, &agent("b"), &Standing::Running(1), 90).is_some(), "nor any of that agent");
        assert!(!lost(Standing::OnItsWay));
        assert!(!lost(Standing::Ended("it exited with code 2".into())));
        assert!(lost(Standing::Ended(" ".into())), "recorded without a reason");
        assert!(lost(Standing::Missing));
        assert!(lost(Standing::Adrift("lost".into())));
    }

    #[test]
    fn what_was_stopped_is_not_to_live() {
        let history = history(&[("a", life("h1", 1, 0, 50)), ("a", life("h2", 2, 60, 100))]);
        assert_eq!(revived(&history, &agent("a"), 101), []);
        assert_eq!(revived(&history, &agent("a"), 90)[0].life.epoch, 2);
        assert_eq!(revived(&history, &agent("b"), 0), []);
    }

    #[test]
    fn a_failover_is_from_the_death_to_the_first_sign_elsewhere() {
        const MS: u64 = 1_000_000;
        let death = Death { host: "h1".into(), at: 5_000 * MS };
        let history = history(&[
            ("moved", life("h1", 1, 0, 4_998 * MS)),
            ("moved", life("h2", 2, 8_000 * MS, 9_000 * MS)),
            ("back", life("h1", 1, 0, 4_998 * MS)),
            ("back", life("h1", 2, 9_000 * MS, 9_900 * MS)),
            ("touched", life("h1", 1, 0, 4_998 * MS)),
            ("touched", life("h2", 2, 7_000 * MS, 9_000 * MS)),
            ("gone before", life("h1", 1, 0, 1_000 * MS)),
            ("gone before", life("h2", 2, 7_000 * MS, 9_000 * MS)),
            ("elsewhere", life("h3", 1, 0, 9_000 * MS)),
        ]);
        let deaths = [death];
        assert_eq!(victims(&history, &deaths[0]).count(), 3);
        let touched = [(agent("touched"), 6_000 * MS), (agent("moved"), 8_500 * MS)];
        assert_eq!(failovers(&history, &deaths, &touched), [3_000 * MS]);
    }
    #[test]
    fn an_end_that_nobody_asked_for_is_told_from_others() {
        const S: u64 = 1_000_000_000;
        let history = history(&[
            ("killed", life("h1", 1, 0, 105 * S)),
            ("stopped", life("h1", 1, 0, 105 * S)),
            ("before", life("h1", 1, 0, 99 * S)),
            ("lives", life("h1", 1, 0, 200 * S)),
        ]);
        let ended = ended_within(&history, &[(100 * S, 110 * S)], &[(agent("stopped"), 104 * S)]);
        assert_eq!(ended.iter().map(|end| &*end.agent.id).collect::<Vec<_>>(), ["killed"]);
    }
}
