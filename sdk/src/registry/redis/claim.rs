//! Claiming an agent's identity.
//!
//! Hosts and guilds are in different slots, so no script can see both a claim and the
//! lease it is under. A claim against a live record therefore takes two steps: ask
//! whether the holder's lease is over, then claim on condition that record and lease
//! are still those that were asked about. Nothing can slip between them: a lease that
//! is over never comes back into force, its host must register under a fresh one and
//! [`reassert`](crate::registry::Registry::reassert) each claim, and that changes the
//! record's lease. So of a takeover and a reassertion, exactly one succeeds.

use super::{RedisRegistry, entry, link::Question, live, schema::GuildKeys, scripts};
use crate::{
    agent::AgentInfo,
    host::LeaseId,
    ids::Epoch,
    registry::{ClaimOutcome, Claimed, RegistryError},
};

/// How often a claim asks again because another took the agent from a dead host in
/// between, before it says that the agent is held.
const TAKEOVER_ATTEMPTS: usize = 8;

/// One call's claim, which may have to be asked for several times.
pub(super) struct Claim<'a> {
    agent: &'a AgentInfo,
    lease: &'a LeaseId,
    replaces: Option<Epoch>,
    keys: GuildKeys,
    json: String,
    /// Tells this call from every other, so that Redis knows it when it is repeated.
    call: String,
}

/// What a claim is answered.
enum Answer {
    Claimed(Epoch),
    Held(Box<Claimed>),
}

impl<'a> Claim<'a> {
    pub(super) fn new(
        agent: &'a AgentInfo,
        lease: &'a LeaseId,
        replaces: Option<Epoch>,
        keys: GuildKeys,
    ) -> Result<Self, RegistryError> {
        let call = format!("{:016x}", rand::random::<u64>());
        Ok(Self { agent, lease, replaces, keys, json: entry::to_json(agent)?, call })
    }

    /// Claims what is free, and takes over from a holder whose lease is over.
    pub(super) async fn make(&self, registry: &RedisRegistry) -> Result<ClaimOutcome, RegistryError> {
        let mut over = None;
        let mut attempts_left = TAKEOVER_ATTEMPTS;
        loop {
            attempts_left -= 1;
            let held = match self.ask(registry, over.as_deref()).await? {
                Answer::Claimed(epoch) => return Ok(ClaimOutcome::Claimed(epoch)),
                Answer::Held(held) => held,
            };
            let may_take_over = attempts_left > 0 && self.replaces.is_none();
            if !may_take_over || registry.in_force(&held.agent.host, &held.lease).await? {
                return Ok(ClaimOutcome::Held(Box::new(held.agent)));
            }
            over = Some(held);
        }
    }

    /// Claims, given that the `over` claim is known to be under a lease that is over.
    async fn ask(&self, registry: &RedisRegistry, over: Option<&Claimed>) -> Result<Answer, RegistryError> {
        let Self { agent, lease, replaces, keys, json, call } = self;
        let over = over.map(|over| format!("{} {}", over.agent.epoch, over.lease.as_str()));
        let mut script = scripts::CLAIM.prepare_invoke();
        script
            .key(&keys.agents)
            .key(&keys.epochs)
            .arg(agent.key.agent.as_str())
            .arg(lease.as_str())
            .arg(live(agent))
            .arg(call)
            .arg(json)
            .arg(&keys.changes)
            .arg(replaces.map(|epoch| epoch.to_string()).unwrap_or_default())
            .arg(over.unwrap_or_default())
            .arg(agent.epoch.0);
        let (outcome, said): (String, String) =
            registry.link.ask_kept(&keys.agents, Question::Script(&script)).await?;
        match (outcome.as_str(), replaces) {
            ("claimed", _) => said
                .parse()
                .map(|epoch| Answer::Claimed(Epoch(epoch)))
                .map_err(|_| entry::corrupt(&keys.epochs, format!("{said:?} is not an epoch"))),
            ("fenced", Some(epoch)) => {
                Err(RegistryError::Fenced { key: agent.key.clone(), epoch: *epoch, current: None })
            }
            ("forgotten", Some(epoch)) => {
                Err(RegistryError::Forgotten { key: agent.key.clone(), epoch: *epoch })
            }
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
            replaces: None,
            keys: registry.schema.guild(&agent.key.guild),
            json: entry::to_json(&agent).unwrap(),
            call: call.to_owned(),
        };
        let Answer::Claimed(first) = claim("one").ask(&registry, None).await.unwrap() else {
            panic!("the identity is free")
        };
        for (call, granted) in [("one", true), ("two", false)] {
            let answer = claim(call).ask(&registry, None).await.unwrap();
            assert_eq!(matches!(answer, Answer::Claimed(epoch) if epoch == first), granted, "{call}");
        }
        // Also when the agent has written of itself in between.
        registry.update(&AgentInfo { epoch: first, pid: Some(7), ..agent.clone() }).await.unwrap();
        registry.reassert(&agent.key, first, &LeaseId::fresh()).await.unwrap();
        let answer = claim("one").ask(&registry, None).await.unwrap();
        assert!(matches!(answer, Answer::Claimed(epoch) if epoch == first));
        assert_eq!(registry.agent(&agent.key).await.unwrap().unwrap().agent.pid, Some(7));
    }

    #[tokio::test]
    async fn a_takeover_is_off_when_the_claim_changed_since_its_lease_was_found_over() {
        let server = RedisServer::start().unwrap();
        let registry = RedisRegistry::connect(&server.url(), RedisOptions::default()).await.unwrap();
        let (agent, [old, new, other]) = (agent("a"), [LeaseId::fresh(), LeaseId::fresh(), LeaseId::fresh()]);
        registry.claim(&agent, &old, None).await.unwrap();
        let found_over = registry.agent(&agent.key).await.unwrap().unwrap();
        let first = found_over.agent.epoch;
        registry.reassert(&agent.key, first, &new).await.unwrap();
        let takeover = Claim {
            agent: &agent,
            lease: &other,
            replaces: None,
            keys: registry.schema.guild(&agent.key.guild),
            json: entry::to_json(&agent).unwrap(),
            call: "takeover".to_owned(),
        };
        let answer = takeover.ask(&registry, Some(&found_over)).await.unwrap();
        assert!(matches!(answer, Answer::Held(held) if held.lease == new));
        let found_over = registry.agent(&agent.key).await.unwrap().unwrap();
        let answer = takeover.ask(&registry, Some(&found_over)).await.unwrap();
        assert!(matches!(answer, Answer::Claimed(epoch) if epoch > first));
    }
}
