//! One configured policy and the instance of it that decides.
//!
//! An instance that failed is thrown away, for nobody knows what state it is in. The
//! next decision has a fresh one made, which is told of the whole fleet.

use std::sync::Arc;

use super::{
    artifact::PolicyArtifact,
    decider::Decider,
    error::{Call, ConfigureError, PlaceError, PolicyError},
    guild::{GuildDecision, GuildMode, GuildRequest, Move, Placed},
    judge::{Judge, bounded},
    limits::PolicyLimits,
    policy::Policy,
    table::Table,
    types::{Choice, Decision, Needs, Peer, PlacementRequest, PolicyIdentity, Refusal},
    wit::{Change, GuildQuestion, WirePlaced},
};

/// Changes that a policy learns of in one call. A bound, so that a call's time
/// budget does not have to grow with the fleet, and so that a decision waits for
/// this many at most.
pub(super) const CHANGES_PER_CALL: usize = 256;

pub(super) struct Seat {
    policy: Policy,
    settings: serde_json::Value,
    limits: PolicyLimits,
    needs: Needs,
    /// `None` after a failure, until the next decision.
    instance: Option<Decider>,
}

impl Seat {
    /// Configures `policy`, which then knows of no host. `settings` is a JSON object,
    /// or null for none.
    pub(super) fn start(
        policy: Policy,
        settings: &serde_json::Value,
        limits: &PolicyLimits,
    ) -> Result<Self, ConfigureError> {
        let instance = Decider::start(&policy, settings, limits)?;
        Ok(Self {
            policy,
            settings: settings.clone(),
            limits: limits.clone(),
            needs: instance.needs(),
            instance: Some(instance),
        })
    }

    pub(super) fn identity(&self) -> &Arc<PolicyIdentity> {
        self.policy.identity()
    }

    pub(super) fn artifact(&self) -> &PolicyArtifact {
        self.policy.artifact()
    }

    pub(super) fn settings(&self) -> &serde_json::Value {
        &self.settings
    }

    /// What each request must carry.
    pub(super) fn needs(&self) -> Needs {
        self.needs
    }

    /// Whether there is an instance that has not failed.
    pub(super) fn is_well(&self) -> bool {
        self.instance.is_some()
    }

    /// Memory of the instance, if there is one.
    pub(super) fn memory_bytes(&self) -> usize {
        self.instance.as_ref().map_or(0, Decider::memory_bytes)
    }

    /// Gives up the instance.
    pub(super) fn vacate(&mut self) {
        self.instance = None;
    }

    /// Tells the instance, if there is one, of changes. One that fails is given up.
    pub(super) fn learn(&mut self, changes: &[Change<'_>]) -> Result<(), PolicyError> {
        // Taken out, and put back only when all went well.
        let Some(mut live) = self.instance.take() else { return Ok(()) };
        observe(&mut live, changes)?;
        self.instance = Some(live);
        Ok(())
    }

    /// Tells the instance, if there is one, of every host.
    pub(super) fn learn_all(&mut self, fleet: &Table) -> Result<(), PolicyError> {
        self.learn(&upserts(fleet))
    }

    /// Asks the policy for a host of `fleet`, which must be what it was told of.
    pub(super) fn place(
        &mut self,
        fleet: &Table,
        request: &PlacementRequest,
    ) -> Result<Decision, PlaceError> {
        if self.needs.ticket && request.ticket.is_none() {
            return Err(PlaceError::NeedsTicket { policy: self.identity().name.clone() });
        }
        // Taken out, and put back only when all went well.
        let mut live = self.occupant(fleet)?;
        match live.place(fleet, request)? {
            Ok(choices) => {
                let (first, others) = Judge { policy: self.identity(), fleet }.choices(request, choices)?;
                self.instance = Some(live);
                let Choice { host, score, reason } = first;
                Ok(Decision { host, score, reason, others, policy: Arc::clone(self.identity()) })
            }
            Err(refusal) => {
                self.instance = Some(live);
                Err(self.refused(refusal))
            }
        }
    }

    /// Asks the policy for hosts for a guild, in one call if it answers that.
    pub(super) fn place_guild(
        &mut self,
        fleet: &Table,
        request: &GuildRequest,
    ) -> Result<GuildDecision, PlaceError> {
        if self.needs.ticket && request.first_ticket.is_none() {
            return Err(PlaceError::NeedsTicket { policy: self.identity().name.clone() });
        }
        let mut live = self.occupant(fleet)?;
        let answer = live.place_guild(&GuildQuestion { request, needs: self.needs })?;
        let Some(answer) = answer else {
            self.instance = Some(live);
            return self.one_by_one(fleet, request);
        };
        let judge = Judge { policy: self.identity(), fleet };
        let decision = judge.guild(request, answer)?;
        self.instance = Some(live);
        let left_out = decision.hosts.contains(&None);
        match decision.refusal {
            Some(refusal) if decision.hosts.iter().all(Option::is_none) => Err(self.refused(refusal)),
            refusal => Ok(GuildDecision { refusal: refusal.filter(|_| left_out).map(bounded), ..decision }),
        }
    }

    /// For a policy that places single agents only.
    fn one_by_one(&mut self, fleet: &Table, request: &GuildRequest) -> Result<GuildDecision, PlaceError> {
        let mut hosts = Vec::with_capacity(request.members.len());
        let mut peers = request.peers.clone();
        let mut refusal = None;
        for (at, member) in request.members.iter().enumerate() {
            let mut single = request.single(at);
            if self.needs.peers {
                single.peers.clone_from(&peers);
            }
            match self.place(fleet, &single) {
                Ok(decision) => {
                    if self.needs.peers {
                        peers.push(Peer {
                            agent: member.agent.clone(),
                            name: single.name,
                            class_name: single.class_name,
                            host: decision.host.clone(),
                        });
                    }
                    hosts.push(Some(decision.host));
                }
                Err(PlaceError::Refused { policy, refusal }) if request.mode == GuildMode::AllOrNothing => {
                    // It counts those that it has placed; a fresh instance does not.
                    self.vacate();
                    return Err(PlaceError::Refused { policy, refusal });
                }
                Err(PlaceError::Refused { refusal: why, .. }) => {
                    refusal.get_or_insert(why);
                    hosts.push(None);
                }
                Err(error) => return Err(error),
            }
        }
        let placed = hosts.iter().flatten().count();
        match refusal {
            Some(refusal) if placed == 0 => Err(self.refused(refusal)),
            refusal => {
                let reason = format!("{placed} of {} agents, one by one", hosts.len());
                Ok(GuildDecision { hosts, reason, refusal, policy: Arc::clone(self.identity()) })
            }
        }
    }

    /// Asks the policy which of these agents to move, `most` at most.
    pub(super) fn propose_moves(
        &mut self,
        fleet: &Table,
        placed: &[Placed],
        most: usize,
    ) -> Result<Vec<Move>, PlaceError> {
        let mut live = self.occupant(fleet)?;
        let told: Vec<_> =
            placed.iter().map(|one| WirePlaced { request: &one.request, host: &one.host }).collect();
        let moves = live.propose_moves(&told, u32::try_from(most).unwrap_or(u32::MAX))?.unwrap_or_default();
        let moves = Judge { policy: self.identity(), fleet }.moves(placed, moves, most)?;
        self.instance = Some(live);
        Ok(moves)
    }

    fn refused(&self, refusal: Refusal) -> PlaceError {
        PlaceError::Refused { policy: self.identity().name.clone(), refusal: bounded(refusal) }
    }

    /// The instance, taken out, or a fresh one.
    fn occupant(&mut self, fleet: &Table) -> Result<Decider, PolicyError> {
        match self.instance.take() {
            Some(live) => Ok(live),
            None => self.fresh(fleet),
        }
    }

    /// An instance that has been told of the whole fleet.
    fn fresh(&self, fleet: &Table) -> Result<Decider, PolicyError> {
        let live = Decider::start(&self.policy, &self.settings, &self.limits);
        let mut live = live.map_err(|error| match error {
            ConfigureError::Failed(error) => error,
            // The same settings were good before: it does not keep its word.
            other => PolicyError::Trapped {
                policy: self.identity().name.clone(),
                call: Call::Configure,
                message: other.to_string(),
            },
        })?;
        observe(&mut live, &upserts(fleet))?;
        tracing::info!(policy = %self.identity(), hosts = fleet.len(), "policy started afresh");
        Ok(live)
    }
}

fn upserts(fleet: &Table) -> Vec<Change<'_>> {
    fleet.iter().map(|host| Change::Upsert(host)).collect()
}

fn observe(instance: &mut Decider, changes: &[Change<'_>]) -> Result<(), PolicyError> {
    changes.chunks(CHANGES_PER_CALL).try_for_each(|some| instance.observe(some))
}
