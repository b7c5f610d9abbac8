//! Several policies that decide together: each may reject a host, and the host with the
//! highest weighted sum of their scores is chosen.
//!
//! Like the Kubernetes scheduler, a chain does not look at every host of a large fleet:
//! it begins at another one for each agent, and stops when it has found enough that all
//! policies take. So a decision costs the same for a thousand hosts or ten thousand,
//! unless hosts that will do are rare, and engines that decide at once do not all choose
//! the same one.

mod document;

use std::collections::BTreeMap;

use super::{
    error::{Call, ConfigureError, PolicyError},
    instance::{Instance, readable},
    limits::PolicyLimits,
    policy::{Form, Link},
    table::Table,
    types::{Candidate, Needs, PlacementRequest, Refusal, Rejection, Standing},
    wit::{Answer, Change, WireChoice, WireMove, WirePlaced},
};
use crate::ids::{AgentKey, HostId};

pub(super) use document::ChainDocument;

/// Hosts that all policies take after which no more are looked at, and hosts that are
/// judged in one call.
const ENOUGH: usize = 100;
const HOSTS_PER_CALL: usize = 128;

/// Hosts that a decision names beside the best one.
const RUNNERS_UP: usize = 3;

/// Hosts that a refusal names for each reason.
const HOSTS_NAMED: usize = 10;

/// The instances of a chain.
pub(super) struct Chain {
    links: Vec<(Instance, f64)>,
    /// The hosts the policies were told of: positions are those in this order.
    order: Vec<HostId>,
}

/// A host that all policies took so far.
struct Eligible<'a> {
    host: &'a Candidate,
    total: f64,
    /// What each policy scored.
    parts: Vec<f32>,
}

impl Chain {
    pub(super) fn start(links: &[Link], limits: &PolicyLimits) -> Result<Self, ConfigureError> {
        let start = |link: &Link| {
            let Form::Single(component) = link.policy.form() else {
                return Err(ConfigureError::NotForChains { policy: link.policy.identity().name.clone() });
            };
            if !component.ready.interfaces().contains(&"scoring") {
                return Err(ConfigureError::NotForChains { policy: link.policy.identity().name.clone() });
            }
            let instance = Instance::start(link.policy.identity(), component, &link.settings, limits)?;
            Ok((instance, link.weight))
        };
        Ok(Self { links: links.iter().map(start).collect::<Result<_, _>>()?, order: Vec::new() })
    }

    pub(super) fn needs(&self) -> Needs {
        self.links.iter().fold(Needs::default(), |all, (instance, _)| all.and(instance.needs()))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.links.iter().map(|(instance, _)| instance.memory_bytes()).sum()
    }

    pub(super) fn observe(&mut self, changes: &[Change<'_>]) -> Result<(), PolicyError> {
        for change in changes {
            match change {
                Change::Upsert(host) => {
                    if let Err(at) = self.order.binary_search(&host.id) {
                        self.order.insert(at, host.id.clone());
                    }
                }
                Change::Remove(host) => {
                    if let Ok(at) = self.order.binary_search(host) {
                        self.order.remove(at);
                    }
                }
            }
        }
        self.links.iter_mut().try_for_each(|(instance, _)| instance.observe(changes))
    }

    pub(super) fn place(&mut self, fleet: &Table, request: &PlacementRequest) -> Result<Answer, PolicyError> {
        let hosts = self.order.len();
        let start = where_to_begin(&request.key, hosts);
        let mut eligible: Vec<Eligible<'_>> = Vec::new();
        let mut rejections: BTreeMap<String, Rejection> = BTreeMap::new();
        for (from, to) in [(start, hosts), (0, start)] {
            let mut first = from;
            while first < to && eligible.len() < ENOUGH {
                let last = to.min(first + HOSTS_PER_CALL);
                eligible.extend(self.judge(fleet, request, first..last, &mut rejections)?);
                first = last;
            }
        }
        if eligible.is_empty() {
            return Ok(Err(refusal(hosts, rejections)));
        }
        // Of equal ones, the first that was looked at: another one for each agent.
        eligible.sort_by(|one, other| other.total.total_cmp(&one.total));
        eligible.truncate(1 + RUNNERS_UP);
        let choices: Vec<WireChoice> = eligible.iter().map(|one| self.choice(one)).collect();
        let chosen = &eligible[0].host.id;
        self.links.iter_mut().try_for_each(|(instance, _)| instance.chosen(chosen))?;
        Ok(Ok(choices))
    }

    /// The hosts at these positions that every policy takes.
    fn judge<'a>(
        &mut self,
        fleet: &'a Table,
        request: &PlacementRequest,
        positions: std::ops::Range<usize>,
        rejections: &mut BTreeMap<String, Rejection>,
    ) -> Result<Vec<Eligible<'a>>, PolicyError> {
        let (first, count) = (positions.start, positions.len());
        let mut judged: Vec<Option<Eligible<'a>>> = self.order[positions]
            .iter()
            .map(|id| {
                let host = fleet.get(id.as_str())?;
                match unavailable(host, request) {
                    Some(reason) => reject(rejections, reason.to_owned(), id),
                    None => return Some(Eligible { host, total: 0.0, parts: Vec::new() }),
                }
                None
            })
            .collect();
        for (instance, weight) in &mut self.links {
            if judged.iter().all(Option::is_none) {
                break;
            }
            let scores = instance.score(request, first as u32, count as u32)?;
            let scores = scores.ok_or_else(|| instance.nonsense(Call::Score, "it judges no hosts"))?;
            if scores.verdicts.len() != count {
                let problem = format!("{} verdicts about {count} hosts", scores.verdicts.len());
                return Err(instance.nonsense(Call::Score, problem));
            }
            for (slot, verdict) in judged.iter_mut().zip(scores.verdicts) {
                let Some(host) = slot else { continue };
                match verdict {
                    Ok(score) if score.is_finite() => {
                        let score = score.clamp(0.0, 1.0);
                        host.total += f64::from(score) * *weight;
                        host.parts.push(score);
                    }
                    Ok(score) => return Err(instance.nonsense(Call::Score, format!("a score of {score}"))),
                    Err(reason) => {
                        let reason = scores.reasons.get(reason).ok_or_else(|| {
                            instance.nonsense(Call::Score, format!("there is no reason {reason}"))
                        })?;
                        let reason = format!("{}: {}", instance.policy().name, readable(reason.clone()));
                        reject(rejections, reason, &host.host.id);
                        *slot = None;
                    }
                }
            }
        }
        Ok(judged.into_iter().flatten().collect())
    }

    fn choice(&self, one: &Eligible<'_>) -> WireChoice {
        let part = |((instance, weight), score): (&(Instance, f64), &f32)| {
            format!("{} {score:.2} x {weight}", instance.policy().name)
        };
        let parts: Vec<String> = self.links.iter().zip(&one.parts).map(part).collect();
        let reason = format!("{:.2}: {}", one.total, parts.join(" + "));
        WireChoice { host: one.host.id.to_string(), score: one.total, reason }
    }

    /// The moves that the first policy proposes which moves agents at all; the others
    /// must take the hosts they go to.
    pub(super) fn propose_moves(
        &mut self,
        placed: &[WirePlaced<'_>],
        most: u32,
    ) -> Result<Option<Vec<WireMove>>, PolicyError> {
        let mut proposed = None;
        for (instance, _) in &mut self.links {
            if proposed.is_none() {
                proposed = instance.propose_moves(placed, most)?;
            }
        }
        let Some(moves) = proposed else { return Ok(None) };
        let mut agreed = Vec::new();
        for one in moves {
            let Some(agent) = placed.get(one.agent as usize) else {
                // The one who asked sees that it makes no sense.
                agreed.push(one);
                continue;
            };
            if self.all_take(agent.request, &one.to)? {
                agreed.push(one);
            }
        }
        Ok(Some(agreed))
    }

    fn all_take(&mut self, request: &PlacementRequest, host: &str) -> Result<bool, PolicyError> {
        let Ok(at) = self.order.binary_search_by(|known| known.as_str().cmp(host)) else { return Ok(true) };
        for (instance, _) in &mut self.links {
            let scores = instance.score(request, at as u32, 1)?;
            if scores.is_some_and(|scores| scores.verdicts.iter().any(Result::is_err)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Why a host takes no agent, whatever the agent.
fn unavailable(host: &Candidate, request: &PlacementRequest) -> Option<&'static str> {
    match host.standing {
        Standing::Draining => Some("draining"),
        Standing::Cordoned => Some("cordoned"),
        Standing::Open if request.excluded.contains(&host.id) => Some("excluded"),
        Standing::Open => (host.running >= host.capacity).then_some("full"),
    }
}

fn reject(rejections: &mut BTreeMap<String, Rejection>, reason: String, host: &HostId) {
    let rejection = rejections.entry(reason).or_insert_with_key(|reason| Rejection {
        reason: reason.clone(),
        count: 0,
        hosts: Vec::new(),
    });
    rejection.count += 1;
    if rejection.hosts.len() < HOSTS_NAMED {
        rejection.hosts.push(host.to_string());
    }
}

fn refusal(hosts: usize, rejections: BTreeMap<String, Rejection>) -> Refusal {
    let rejections: Vec<Rejection> = rejections.into_values().collect();
    let counts: Vec<String> = rejections.iter().map(|one| format!("{} {}", one.count, one.reason)).collect();
    let reason = match hosts {
        0 => "there are no hosts".to_owned(),
        hosts => format!("none of {hosts} hosts will do: {}", counts.join(", ")),
    };
    Refusal { reason, rejections, retry_after: None }
}

/// FNV-1a over the agent's identity: the same in every engine, and another one for each
/// agent.
fn where_to_begin(key: &AgentKey, hosts: usize) -> usize {
    let bytes = key.guild.as_str().bytes().chain([0]).chain(key.agent.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.checked_rem(hosts as u64).unwrap_or(0) as usize
}
