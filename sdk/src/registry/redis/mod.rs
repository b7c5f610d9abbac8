//! The registry of a fleet, in Redis 5 or later.
//!
//! Each change is one Lua script within one hash slot, so it happens whole or not at
//! all, and a Redis Cluster can carry it. [`schema`] says what is where.
//!
//! A call whose connection broke is repeated once. All of them give the same outcome
//! twice: a claim is told apart by an id of its own, the rest say what is to be, not
//! what is to change. (A ticket may be skipped.)
//!
//! Every time is Redis' own `TIME`; no host's clock is ever compared. That clock must
//! not jump forward: every lease would end early. Read on in [`claim`] for who
//! may run an agent, in [`link`] for how calls reach Redis, in [`form`] for the forms it may
//! have, and in [`watch`] for the streams.

mod address;
mod claim;
mod entry;
mod escort;
mod form;
mod line;
mod link;
mod options;
mod persistence;
mod policy;
mod renewable;
mod schema;
mod scripts;
mod subscription;
mod survey;
mod tls;
mod watch;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use redis::{FromRedisValue, ScriptInvocation};

use self::{
    address::Address,
    claim::Claim,
    link::{Link, Question},
    schema::{HostKeys, Schema},
};
pub use self::{options::RedisOptions, persistence::Durability, tls::RedisTls};
use super::{
    ClaimOutcome, Claimed, FORGET_ENDED_AFTER, LONGEST_LEASE, Registration, Registry, RegistryError,
};
use crate::{
    agent::{AgentEvent, AgentInfo},
    host::{HostEvent, HostInfo, LeaseId, LiveHost},
    ids::{AgentId, AgentKey, Epoch, GuildId, HostId},
    placement::{PolicyArtifact, Sha256Digest},
};

/// A registry in Redis. Clones share one connection.
#[derive(Clone)]
pub struct RedisRegistry {
    link: Arc<Link>,
    schema: Schema,
    hosts: HostKeys,
    options: RedisOptions,
}

impl RedisRegistry {
    /// Connects to the Redis at `url`, which has one of these forms:
    ///
    /// - `redis://[[user]:password@]host[:port][/database]`, a single Redis;
    /// - `unix:///path[?db=…&user=…&pass=…]`, the same by its socket;
    /// - `redis-sentinel://[[user]:password@]host[:port],…/master[/database]`, the master
    ///   that the Sentinels at these hosts name;
    /// - `redis-cluster://[[user]:password@]host[:port],…`, the Cluster that these nodes
    ///   are of.
    ///
    /// With `rediss` in place of `redis` it is encrypted. Tries again for as long as the
    /// options say when it is not there. Once connected, it recovers by itself when Redis
    /// goes away and comes back or another takes its place; calls in the meantime fail.
    ///
    /// # Errors
    /// [`RegistryError::Address`] and [`RegistryError::Options`] for what cannot be
    /// used, [`RegistryError::Unavailable`] when Redis refuses the password or cannot be
    /// reached in time.
    pub async fn connect(url: &str, options: RedisOptions) -> Result<Self, RegistryError> {
        options.check()?;
        let address = Address::parse(url, &options)?;
        let link = Arc::new(Link::open(address, &options).await?);
        let schema = Schema::new(&options.prefix);
        let hosts = schema.hosts();
        Ok(Self { link, schema, hosts, options })
    }

    /// Whether [`connect`](Self::connect) understands the URL. Connects to nothing.
    ///
    /// # Errors
    /// [`RegistryError::Address`], which does not show a password.
    pub fn check_url(url: &str) -> Result<(), RegistryError> {
        Address::parse(url, &RedisOptions::default()).map(drop)
    }

    /// A connection that calls use, for benchmarks to compare with.
    #[doc(hidden)]
    pub async fn connection(&self) -> Result<redis::aio::MultiplexedConnection, RegistryError> {
        self.link.connection(&self.hosts.leases).await
    }

    /// Whether Redis is set up to keep what it is told; a host asks once, when it starts.
    /// Of what is only a risk the log tells, at `warn`.
    ///
    /// # Errors
    /// [`RegistryError::WouldEvict`] when Redis would throw away records to make room,
    /// else as for [`connect`](Self::connect).
    pub async fn check_durability(&self) -> Result<Durability, RegistryError> {
        persistence::check(&self.link).await
    }

    async fn ask_hosts<T: FromRedisValue>(
        &self,
        script: &mut ScriptInvocation<'_>,
    ) -> Result<T, RegistryError> {
        script.key(&self.hosts.leases).key(&self.hosts.records);
        self.link.ask(&self.hosts.records, Question::Script(script)).await
    }

    async fn in_force(&self, host: &HostId, lease: &LeaseId) -> Result<bool, RegistryError> {
        self.ask_hosts(scripts::IN_FORCE.prepare_invoke().arg(host.as_str()).arg(lease.as_str())).await
    }

    /// Runs a script that a stale epoch fences off.
    async fn ask_fenced(
        &self,
        key: &AgentKey,
        epoch: Epoch,
        place: &str,
        script: &ScriptInvocation<'_>,
    ) -> Result<(), RegistryError> {
        let (outcome, current): (String, String) = self.link.ask(place, Question::Script(script)).await?;
        match outcome.as_str() {
            "done" => Ok(()),
            "forgotten" => Err(RegistryError::Forgotten { key: key.clone(), epoch }),
            _ => Err(RegistryError::Fenced {
                key: key.clone(),
                epoch,
                current: current.parse().ok().map(Epoch),
            }),
        }
    }
}

impl fmt::Debug for RedisRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRegistry")
            .field("address", &self.link.address())
            .field("options", &self.options)
            .finish()
    }
}

#[async_trait]
impl Registry for RedisRegistry {
    async fn register(
        &self,
        host: &HostInfo,
        lease: &LeaseId,
        length: Duration,
    ) -> Result<Registration, RegistryError> {
        let (outcome, left): (String, u64) = self
            .ask_hosts(
                scripts::REGISTER
                    .prepare_invoke()
                    .arg(host.id.as_str())
                    .arg(lease.as_str())
                    .arg(whole_ms(length))
                    .arg(entry::to_json(host)?)
                    .arg(&self.hosts.changes),
            )
            .await?;
        match outcome.as_str() {
            "registered" => Ok(Registration::Registered),
            "in use" => Ok(Registration::InUse { remaining: Duration::from_millis(left) }),
            _ => Err(RegistryError::LeaseEnded { host: host.id.clone() }),
        }
    }

    async fn renew(
        &self,
        host: &HostId,
        lease: &LeaseId,
        length: Duration,
        report: Option<&HostInfo>,
    ) -> Result<(), RegistryError> {
        let mut script = scripts::RENEW.prepare_invoke();
        script.arg(host.as_str()).arg(lease.as_str()).arg(whole_ms(length));
        if let Some(report) = report {
            script.arg(entry::to_json(report)?).arg(&self.hosts.changes).arg(whole_ms(FORGET_ENDED_AFTER));
        }
        match self.ask_hosts(&mut script).await? {
            true => Ok(()),
            false => Err(RegistryError::LeaseEnded { host: host.clone() }),
        }
    }

    async fn leave(&self, host: &HostId, lease: &LeaseId) -> Result<(), RegistryError> {
        self.ask_hosts(
            scripts::LEAVE.prepare_invoke().arg(host.as_str()).arg(lease.as_str()).arg(&self.hosts.changes),
        )
        .await
    }

    async fn hosts(&self) -> Result<Vec<LiveHost>, RegistryError> {
        let (now, _, found): (u64, i64, Vec<(String, String)>) =
            self.ask_hosts(&mut scripts::HOSTS.prepare_invoke()).await?;
        let mut hosts = found
            .iter()
            .map(|(host, record)| watch::live_host(&self.hosts.records, now, host, record))
            .collect::<Result<Vec<_>, _>>()?;
        hosts.sort_by(|a, b| a.info.id.cmp(&b.info.id));
        Ok(hosts)
    }

    fn watch_hosts(&self) -> BoxStream<'static, HostEvent> {
        watch::hosts(self.link.clone(), self.hosts.clone(), self.options.check_leases_every)
    }

    async fn claim(
        &self,
        agent: &AgentInfo,
        lease: &LeaseId,
        replaces: Option<Epoch>,
    ) -> Result<ClaimOutcome, RegistryError> {
        let claim = Claim::new(agent, lease, replaces, self.schema.guild(&agent.key.guild))?;
        self.link.bounded(claim.make(self)).await
    }

    async fn reassert(&self, key: &AgentKey, epoch: Epoch, lease: &LeaseId) -> Result<(), RegistryError> {
        let keys = self.schema.guild(&key.guild);
        let mut script = scripts::REASSERT.key(&keys.agents);
        script.key(&keys.epochs).arg(key.agent.as_str()).arg(epoch.0).arg(lease.as_str()).arg(&keys.changes);
        self.ask_fenced(key, epoch, &keys.agents, &script).await
    }

    async fn update(&self, agent: &AgentInfo) -> Result<(), RegistryError> {
        let keys = self.schema.guild(&agent.key.guild);
        let mut script = scripts::UPDATE.key(&keys.agents);
        script
            .key(&keys.epochs)
            .arg(agent.key.agent.as_str())
            .arg(agent.epoch.0)
            .arg(live(agent))
            .arg(entry::to_json(agent)?)
            .arg(&keys.changes);
        self.ask_fenced(&agent.key, agent.epoch, &keys.agents, &script).await
    }

    async fn release(&self, key: &AgentKey, epoch: Epoch) -> Result<(), RegistryError> {
        let keys = self.schema.guild(&key.guild);
        let mut script = scripts::RELEASE.key(&keys.agents);
        script.key(&keys.epochs).arg(key.agent.as_str()).arg(epoch.0).arg(&keys.changes);
        self.ask_fenced(key, epoch, &keys.agents, &script).await
    }

    async fn agent(&self, key: &AgentKey) -> Result<Option<Claimed>, RegistryError> {
        let keys = self.schema.guild(&key.guild);
        let command = redis::cmd("HGET").arg(&keys.agents).arg(key.agent.as_str()).take();
        let found: Option<String> = self.link.ask(&keys.agents, Question::Command(&command)).await?;
        found.map(|entry| entry::agent(&keys.agents, key, &entry)).transpose()
    }

    async fn agents_in_guild(&self, guild: &GuildId) -> Result<Vec<Claimed>, RegistryError> {
        let keys = self.schema.guild(guild);
        let command = redis::cmd("HGETALL").arg(&keys.agents).take();
        let found: Vec<(String, String)> = self.link.ask(&keys.agents, Question::Command(&command)).await?;
        let mut agents = found
            .iter()
            .map(|(id, entry)| {
                let id = AgentId::new(id).map_err(|error| entry::corrupt(&keys.agents, error.to_string()))?;
                entry::agent(&keys.agents, &AgentKey::new(guild.clone(), id), entry)
            })
            .collect::<Result<Vec<_>, _>>()?;
        agents.sort_by(|a, b| a.agent.key.cmp(&b.agent.key));
        Ok(agents)
    }

    fn watch_guild(&self, guild: &GuildId) -> BoxStream<'static, AgentEvent> {
        watch::guild(self.link.clone(), guild.clone(), self.schema.guild(guild))
    }

    async fn tickets(&self, counter: &str, count: u32) -> Result<u64, RegistryError> {
        let key = self.schema.ticket(counter);
        let command = redis::cmd("INCRBY").arg(&key).arg(count).take();
        let drawn: u64 = self.link.ask(&key, Question::Command(&command)).await?;
        Ok(drawn.saturating_sub(count.into()))
    }

    async fn publish_policy(&self, policy: Option<&PolicyArtifact>) -> Result<(), RegistryError> {
        policy::publish(&self.link, &self.schema.policy(), policy).await
    }

    async fn published_policy(&self) -> Result<Option<PolicyArtifact>, RegistryError> {
        policy::published(&self.link, &self.schema.policy()).await
    }

    async fn published_digest(&self) -> Result<Option<Sha256Digest>, RegistryError> {
        policy::digest(&self.link, &self.schema.policy()).await
    }
}

fn live(agent: &AgentInfo) -> u8 {
    agent.state.is_live().into()
}

/// Milliseconds, rounded up: a lease never ends early for others.
fn whole_ms(length: Duration) -> u64 {
    let length = length.min(LONGEST_LEASE);
    u64::try_from(length.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
