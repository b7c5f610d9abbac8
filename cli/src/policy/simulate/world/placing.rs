//! Agents come, ask for a host, are started, and leave.

use std::time::{Duration, Instant};

use guildhall::placement::{Choice, Decision, Peer, PlaceError, PlacementRequest};

use super::{Event, Host, World};

/// From one attempt to find a host for a waiting agent to the next: a second at first, and
/// a share of what it has waited later, so that many who wait long do not ask all the time.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_SHARE: u32 = 8;

/// How long an agent waits before it is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// Hosts that are asked in one attempt.
const HOSTS_ASKED: usize = 5;

impl World<'_> {
    /// An agent of the trace arrives.
    pub(super) fn comes(&mut self, agent: usize) -> anyhow::Result<()> {
        self.lives[agent].since = self.now;
        self.waiting += 1;
        self.asks(agent)
    }

    /// An agent needs a host from now on, and asks in its turn.
    pub(super) fn wait_from_now(&mut self, agent: usize) {
        self.lives[agent].since = self.now;
        self.waiting += 1;
        self.agenda.note(self.now, Event::Asks(agent));
    }

    /// Finds a host for an agent, or lets it wait.
    pub(super) fn asks(&mut self, agent: usize) -> anyhow::Result<()> {
        let life = self.lives[agent];
        if life.lives > 0 && self.now >= life.leaves {
            // Its time passed while it waited for another host.
            self.waiting -= 1;
            return Ok(());
        }
        let waited = self.now - life.since;
        match self.find(agent) {
            Ok(host) => {
                self.notes.placed += u64::from(life.lives == 0 && agent >= self.trace.warm());
                self.notes.waited(waited);
                self.waiting -= 1;
                self.started(agent, host);
            }
            Err(_) if waited > PATIENCE => {
                self.notes.given_up += 1;
                self.waiting -= 1;
            }
            Err(retry_after) => {
                let after = retry_after.unwrap_or(waited / RETRY_SHARE).max(RETRY);
                self.agenda.note(self.now + after, Event::Asks(agent));
            }
        }
        Ok(())
    }

    /// Asks the policy, and the hosts that it names, until one takes the agent. An error
    /// is how long the policy wants it to wait.
    fn find(&mut self, agent: usize) -> Result<usize, Option<Duration>> {
        let mut request = self.request(agent);
        while request.excluded.len() < HOSTS_ASKED {
            request.ticket = Some(self.tickets);
            self.tickets += 1;
            let begun = Instant::now();
            let placed = self.engines[agent % self.engines.len()].place(&request);
            self.notes.decided(begun.elapsed());
            let Decision { host, others, .. } = match placed {
                Ok(decision) => decision,
                Err(PlaceError::Refused { refusal, .. }) => {
                    let retry_after = refusal.retry_after;
                    self.notes.policy_refused(refusal);
                    return Err(retry_after);
                }
                Err(error) => {
                    self.notes.failed(&error);
                    return Err(None);
                }
            };
            for chosen in [host].into_iter().chain(others.into_iter().map(|Choice { host, .. }| host)) {
                let Some(host) = Host::nth(&chosen) else { return Err(None) };
                match self.hosts[host].accept(agent, self.trace.get(agent).size) {
                    Ok(()) => return Ok(host),
                    Err(why) => self.notes.host_refused(why),
                }
                request.excluded.push(chosen);
            }
        }
        Err(None)
    }

    /// What the engine asks for the agent.
    pub(super) fn request(&self, agent: usize) -> PlacementRequest {
        let coming = self.trace.get(agent);
        PlacementRequest {
            class_name: coming.class.to_string(),
            resources: coming.size.amounts(),
            restarts: self.lives[agent].lives,
            guild_size: self.trace.guilds()[coming.guild],
            peers: self.peers_of(agent),
            ..PlacementRequest::new(coming.key.clone())
        }
    }

    fn peers_of(&self, agent: usize) -> Vec<Peer> {
        let Some(peers) = &self.peers else { return Vec::new() };
        let peer = |other: &usize| {
            let host = self.lives[*other].host?;
            let coming = self.trace.get(*other);
            Some(Peer {
                agent: coming.key.agent.clone(),
                name: String::new(),
                class_name: coming.class.to_string(),
                host: self.hosts[host].id.clone(),
            })
        };
        let others = peers[self.trace.get(agent).guild].iter().filter(|other| **other != agent);
        others.filter_map(peer).collect()
    }

    /// A host has taken the agent.
    pub(super) fn started(&mut self, agent: usize, host: usize) {
        let coming = self.trace.get(agent);
        let life = &mut self.lives[agent];
        if life.lives == 0 {
            // It stays as long as it wanted to, from its start on.
            life.leaves = self.now + coming.stays;
        }
        life.lives += 1;
        life.host = Some(host);
        self.agenda.note(life.leaves, Event::Leaves { agent, life: life.lives });
        if let Some(peers) = &mut self.peers {
            peers[coming.guild].insert(agent);
        }
    }

    /// The agent leaves its host, if it has one.
    pub(super) fn let_go(&mut self, agent: usize) {
        let Some(host) = self.lives[agent].host.take() else { return };
        let coming = self.trace.get(agent);
        self.hosts[host].release(agent, coming.size);
        if let Some(peers) = &mut self.peers {
            peers[coming.guild].remove(&agent);
        }
    }
}
