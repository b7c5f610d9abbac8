//! Claiming an agent's identity.
//!
//! Hosts and guilds are in different slots, so no script can see both a claim and the
//! lease it is under. A claim against a live record therefore takes two steps: ask
//! whether the holder's lease is buried, then claim on condition that record and lease
//! are still those that were asked about. Nothing can slip between them: a lease that
//! is buried never comes back, its host must register under a fresh one and
//! [`reassert`](crate::registry::Registry::reassert) each claim, and that changes the
//! record's lease. So of a takeover and a reassertion, exactly one succeeds.

use super::{RedisRegistry, entry, link::Question, live, schema::GuildKeys, scripts};
use crate::{
    agent::AgentInfo,
    host::LeaseId,
    ids::Epoch,
    launch::{Json, Launch},
    placement::Sha256Digest,
    registry::{ClaimOutcome, Claimed, RegistryError},
    wire,
};

/// How often a claim asks again because another took the agent from a dead host in
/// between, before it says that the agent is held.
const TAKEOVER_ATTEMPTS: usize = 8;

/// What a claim is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A new agent, or one that this host held and the registry may have lost.
    New,
    /// To replace the incarnation of this epoch, which the caller holds.
    Restart(Epoch),
    /// To take over the incarnation of this epoch, whose host is gone.
    Adoption(Epoch),
}

/// A launch as it is kept: what all agents of a guild share stands apart.
struct Kept {
    launch: Vec<u8>,
    digest: String,
    guild_spec: Json,
}

impl Kept {
    fn new(launch: &Launch) -> Self {
        let guild_spec = launch.guild_spec.clone();
        let digest = Sha256Digest::of(guild_spec.as_str().as_bytes()).to_string();
        Self { launch: wire::launch_without_guild(launch), digest, guild_spec }
    }
}

/// One call's claim, which may have to be asked for several times.
pub(super) struct Claim<'a> {
    agent: &'a AgentInfo,
    lease: &'a LeaseId,
    purpose: Purpose,
    kept: Option<Kept>,
    keys: GuildKeys,
    json: String,
    /// Tells this call from every other, so that Redis knows it when it is repeated.
    call: String,
}

/// What a claim is answered.
enum Answer {
    Claimed(Epoch),
    Held(Box<Claimed>),
    NeedsSpec,
    Unsettled,
}

impl<'a> Claim<'a> {
    pub(super) fn new(
        agent: &'a AgentInfo,
        lease: &'a LeaseId,
        purpose: Purpose,
        launch: Option<&Launch>,
        keys: GuildKeys,
    ) -> Result<Self, RegistryError> {
        let call = format!("{:016x}", rand::random::<u64>());
        let kept = launch.map(Kept::new);
        Ok(Self { agent, lease, purpose, kept, keys, json: entry::to_json(agent)?, call })
    }

    /// Claims what is free, and takes over from a holder whose lease is buried.
    pub(super) async fn make(&self, registry: &RedisRegistry) -> Result<ClaimOutcome, RegistryError> {
        if self.may_conflict() {
            registry.incarnation.check(registry.link.address())?;
        }
        let mut buried = None;
        let mut attempts_left = TAKEOVER_ATTEMPTS;
        let mut with_spec = false;
        loop {
            attempts_left -= 1;
            let held = match self.ask(registry, buried.as_deref(), with_spec).await? {
                Answer::Claimed(epoch) => return Ok(ClaimOutcome::Claimed(epoch)),
                Answer::Unsettled => return Err(registry.incarnation.changed(registry.link.address())),
                Answer::NeedsSpec if !with_spec => {
                    with_spec = true;
                    attempts_left += 1;
                    continue;
                }
                Answer::NeedsSpec => return Err(entry::corrupt(&self.keys.specs, "a spec is not kept")),
                Answer::Held(held) => held,
            };
            let may_take_over = match self.purpose {
                Purpose::New => true,
                Purpose::Adoption(epoch) => held.agent.epoch == epoch && held.agent.state.is_live(),
                Purpose::Restart(_) => false,
            };
            if !may_take_over || attempts_left == 0 || !registry.is_buried(&held.lease).await? {
                return Ok(ClaimOutcome::Held(Box::new(held.agent)));
            }
            buried = Some(held);
        }
    }

    /// Whether another host may hold the identity, and this Redis may not know of it.
    fn may_conflict(&self) -> bool {
        match self.purpose {
            // A host that held it brings it back.
            Purpose::New => self.agent.epoch == Epoch(0),
            Purpose::Adoption(_) => true,
            Purpose::Restart(_) => false,
        }
    }

    /// Claims, given that the `buried` claim is known to be under a lease that is buried.
    async fn ask(
        &self,
        registry: &RedisRegistry,
        buried: Option<&Claimed>,
        with_spec: bool,
    ) -> Result<Answer, RegistryError> {
        let Self { agent, lease, purpose, kept, keys, json, call } = self;
        let buried = buried.map(|held| format!("{} {}", held.agent.epoch, held.lease.as_str()));
        let (replaces, adopts) = match purpose {
            Purpose::New => (None, 0),
            Purpose::Restart(epoch) => (Some(*epoch), 0),
            Purpose::Adoption(epoch) => (Some(*epoch), 1),
        };
        // What was seen is the node with the hosts. In a Cluster another one may have the
        // guild, and has a run id of its own that says nothing about that.
        let comparable = registry.link.are_together(&keys.agents, &registry.hosts.leases).await?;
        let run = if comparable && self.may_conflict() { registry.incarnation.run() } else { String::new() };
        let mut script = scripts::CLAIM.prepare_invoke();
        script
            .key(&keys.agents)
            .key(&keys.epochs)
            .key(&keys.launches)
            .key(&keys.specs)
            .arg(agent.key.agent.as_str())
            .arg(lease.as_str())
            .arg(live(agent))
            .arg(call)
            .arg(json)
            .arg(&keys.changes)
            .arg(replaces.map(|epoch| epoch.to_string()).unwrap_or_default())
            .arg(buried.unwrap_or_default())
            .arg(agent.epoch.0)
            .arg(run)
            .arg(adopts);
        if let Some(Kept { launch, digest, guild_spec }) = kept {
            script.arg(launch).arg(digest).arg(if with_spec { guild_spec.as_str() } else { "" });
        }
        let (outcome, said): (String, String) =
            registry.link.ask_kept(&keys.agents, Question::Script(&script)).await?;
        match (outcome.as_str(), replaces) {
            ("claimed", _) => said
                .parse()
                .map(|epoch| Answer::Claimed(Epoch(epoch)))
                .map_err(|_| entry::corrupt(&keys.epochs, format!("{said:?} is not an epoch"))),
            ("spec", _) => Ok(Answer::NeedsSpec),
            ("unsettled", _) => Ok(Answer::Unsettled),
            ("fenced", Some(epoch)) => {
                Err(RegistryError::Fenced { key: agent.key.clone(), epoch, current: None })
            }
            ("forgotten", Some(epoch)) => Err(RegistryError::Forgotten { key: agent.key.clone(), epoch }),
            _ => entry::agent(&keys.agents, &agent.key, &said).map(|held| Answer::Held(Box::new(held))),
        }
    }
}

#[cfg(test)]
mod tests {
    use guildhall_testing::RedisServer;

    use super::*;
    use crate::{
        agent::AgentState,
        ids::{AgentId, AgentKey, GuildId, HostId},
        registry::{RedisOptions, Registry},
    };

    fn agent(id: &str) -> AgentInfo {
        let key = AgentKey::new(GuildId::new("g").unwrap(), AgentId::new(id).unwrap());
        AgentInfo {
            key,
            name: String::new(),
            class_name: String::new(),
            host: HostId::new("h").unwrap(),
            pid: None,
            state: AgentState::Starting,
            epoch: Epoch(0),
            created_at_ms: 0,
            start_ms: None,
            restarts: 0,
            last_exit: None,
            request_id: String::new(),
            placed_by: None,
            failed_on: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_claim_that_reaches_redis_twice_is_made_once() {
        let server = RedisServer::start().unwrap();
        let registry = RedisRegistry::connect(&server.url(), RedisOptions::default()).await.unwrap();
        let (agent, lease) = (agent("a"), LeaseId::fresh());
        let claim = |call: &str| Claim {
            agent: &agent,
            lease: &lease,
            purpose: Purpose::New,
            kept: None,
            keys: registry.schema.guild(&agent.key.guild),
            json: entry::to_json(&agent).unwrap(),
            call: call.to_owned(),
        };
        let Answer::Claimed(first) = claim("one").ask(&registry, None, false).await.unwrap() else {
            panic!("the identity is free")
        };
        for (call, granted) in [("one", true), ("two", false)] {
            let answer = claim(call).ask(&registry, None, false).await.unwrap();
            assert_eq!(matches!(answer, Answer::Claimed(epoch) if epoch == first), granted, "{call}");
        }
        // Also when the agent has written of itself in between.
        registry.update(&AgentInfo { epoch: first, pid: Some(7), ..agent.clone() }).await.unwrap();
        registry.reassert(&agent.key, first, &LeaseId::fresh()).await.unwrap();
        let answer = claim("one").ask(&registry, None, false).await.unwrap();
        assert!(matches!(answer, Answer::Claimed(epoch) if epoch == first));
        assert_eq!(registry.agent(&agent.key).await.unwrap().unwrap().agent.pid, Some(7));
    }

    #[tokio::test]
    async fn a_takeover_is_off_when_the_claim_changed_since_its_lease_was_found_buried() {
        let server = RedisServer::start().unwrap();
        let registry = RedisRegistry::connect(&server.url(), RedisOptions::default()).await.unwrap();
        let (agent, [old, new, other]) = (agent("a"), [LeaseId::fresh(), LeaseId::fresh(), LeaseId::fresh()]);
        registry.claim(&agent, &old, None).await.unwrap();
        let found_buried = registry.agent(&agent.key).await.unwrap().unwrap();
        let first = found_buried.agent.epoch;
        registry.reassert(&agent.key, first, &new).await.unwrap();
        let takeover = Claim {
            agent: &agent,
            lease: &other,
            purpose: Purpose::New,
            kept: None,
            keys: registry.schema.guild(&agent.key.guild),
            json: entry::to_json(&agent).unwrap(),
            call: "takeover".to_owned(),
        };
        let answer = takeover.ask(&registry, Some(&found_buried), false).await.unwrap();
        assert!(matches!(answer, Answer::Held(held) if held.lease == new));
        let found_buried = registry.agent(&agent.key).await.unwrap().unwrap();
        let answer = takeover.ask(&registry, Some(&found_buried), false).await.unwrap();
        assert!(matches!(answer, Answer::Claimed(epoch) if epoch > first));
    }
}
