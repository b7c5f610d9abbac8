//! The registry of a fleet, in Redis 5 or later.
//!
//! Each change is one Lua script within one hash slot, so it happens whole or not at
//! all, and a Redis Cluster can carry it. [`schema`] says what is where.
//!
//! A call whose connection broke is repeated once. All of them give the same outcome
//! twice: a claim is told apart by an id of its own, the rest say what is to be, not
//! what is to change. (A ticket may be skipped.)
//!
//! Every time is Redis' own `TIME`; no host's clock is ever compared with it, only how
//! long both say that it was between two answers. Read on in [`claim`] for who may run an
//! agent, in [`incarnation`] for what a restart of Redis means, in [`link`] for how calls
//! reach Redis, in [`form`] for the forms it may have, and in [`watch`] for the streams.

mod address;
mod claim;
mod entry;
mod escort;
mod form;
mod incarnation;
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

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use redis::{FromRedisValue, ScriptInvocation};
use tokio::time::Instant;

#[doc(hidden)]
pub use self::entry::readable_as;
use self::{
    address::Address,
    claim::{Claim, Purpose},
    incarnation::{Compared, Incarnation},
    link::{Link, Question},
    schema::{HostKeys, Schema},
};
pub use self::{options::RedisOptions, persistence::Durability, tls::RedisTls};
use super::{
    Burial, ClaimOutcome, Claimed, FORGET_BURIED_AFTER, LONGEST_LEASE, Overdue, Registration, Registry,
    RegistryError, Renewed, View,
};
use crate::{
    agent::{AgentEvent, AgentInfo},
    host::{HostEvent, HostInfo, LeaseId, LiveHost},
    ids::{AgentId, AgentKey, Epoch, GuildId, HostId},
    launch::Launch,
    placement::{PolicyArtifact, Sha256Digest},
    wire,
};

/// How long a guild is known to be enlisted, and how much later one without agents may be
/// forgotten: by then nobody relies on it.
const ENLISTED_FOR: Duration = Duration::from_secs(3600);
const FORGET_GUILD_AFTER: Duration = Duration::from_secs(2 * 3600);

/// By which share of a lease the clock of Redis may go on further than others.
const JUMP: u32 = 10;

/// Guilds that are searched for orphans at once.
const SEARCHES: usize = 32;

/// A registry in Redis. Clones share one connection.
#[derive(Clone)]
pub struct RedisRegistry {
    link: Arc<Link>,
    schema: Schema,
    hosts: HostKeys,
    options: RedisOptions,
    incarnation: Arc<Incarnation>,
    /// The guilds that were enlisted, and when.
    enlisted: Arc<Mutex<HashMap<GuildId, Instant>>>,
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
        Ok(Self { link, schema, hosts, options, incarnation: Arc::default(), enlisted: Arc::default() })
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
        script.key(&self.hosts.leases).key(&self.hosts.records).key(&self.hosts.others);
        self.link.ask(&self.hosts.records, Question::Script(script)).await
    }

    /// Like [`ask_hosts`](Self::ask_hosts), for what others rely on.
    async fn ask_hosts_kept<T: FromRedisValue>(
        &self,
        script: &mut ScriptInvocation<'_>,
    ) -> Result<T, RegistryError> {
        script.key(&self.hosts.leases).key(&self.hosts.records).key(&self.hosts.others);
        self.link.ask_kept(&self.hosts.records, Question::Script(script)).await
    }

    async fn is_buried(&self, lease: &LeaseId) -> Result<bool, RegistryError> {
        // Kept: a failover must not undo a burial that a takeover relies on.
        self.ask_hosts_kept(scripts::IS_BURIED.prepare_invoke().arg(lease.as_str())).await
    }

    /// Has the guild found when orphans are looked for. Must come before its first claim.
    async fn enlist(&self, guild: &GuildId) -> Result<(), RegistryError> {
        let now = Instant::now();
        let enlisted = || self.enlisted.lock().unwrap_or_else(PoisonError::into_inner);
        if enlisted().get(guild).is_some_and(|at| now - *at < ENLISTED_FOR) {
            return Ok(());
        }
        let mut script = scripts::ENLIST.key(&self.hosts.guilds);
        script.arg(guild.as_str());
        self.link.ask_kept::<()>(&self.hosts.guilds, Question::Script(&script)).await?;
        let mut enlisted = enlisted();
        enlisted.retain(|_, at| now - *at < ENLISTED_FOR);
        enlisted.insert(guild.clone(), now);
        Ok(())
    }

    /// Takes in which Redis answered. Returns whether it may have lost what another was told.
    fn note_incarnation(&self, run: &str, settled_ms: u64) -> bool {
        let another = self.incarnation.note(run, Duration::from_millis(settled_ms));
        if another {
            self.enlisted.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        another
    }

    /// The orphans of one guild, given the leases that are not buried.
    async fn orphans_of(&self, guild: &GuildId, leases: &[String]) -> Result<Vec<Claimed>, RegistryError> {
        let keys = self.schema.guild(guild);
        let mut script = scripts::ORPHANS.key(&keys.agents);
        script.arg(leases);
        let (agents, found): (u64, Vec<(String, String)>) =
            self.link.ask(&keys.agents, Question::Script(&script)).await?;
        if agents == 0 {
            let mut script = scripts::DELIST.key(&self.hosts.guilds);
            script.arg(guild.as_str()).arg(whole_ms(FORGET_GUILD_AFTER));
            self.link.ask::<()>(&self.hosts.guilds, Question::Script(&script)).await?;
        }
        // One that cannot be read must not keep the others from being found.
        let readable = found.into_iter().filter_map(|(_, entry)| {
            entry::any_agent(&keys.agents, &entry)
                .inspect_err(|error| tracing::error!(%error, "an agent cannot be looked after"))
                .ok()
        });
        Ok(readable.collect())
    }

    async fn make(&self, claim: Claim<'_>) -> Result<ClaimOutcome, RegistryError> {
        self.link.bounded(claim.make(self)).await
    }

    /// Says that the clock of Redis has jumped, so that no lease is taken for overdue.
    async fn unsettle(&self, tolerance: Duration) -> Result<(), RegistryError> {
        tracing::error!(address = self.link.address(), ?tolerance, "the clock of Redis has jumped forward");
        self.ask_hosts(&mut scripts::UNSETTLE.prepare_invoke()).await
    }

    /// Runs a script that a stale epoch fences off.
    async fn ask_fenced(
        &self,
        key: &AgentKey,
        epoch: Epoch,
        place: &str,
        script: &ScriptInvocation<'_>,
    ) -> Result<(), RegistryError> {
        let (outcome, current): (String, String) =
            self.link.ask_kept(place, Question::Script(script)).await?;
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
        let (outcome, left, run, settled_ms): (String, u64, String, u64) = self
            .ask_hosts_kept(
                scripts::REGISTER
                    .prepare_invoke()
                    .arg(host.id.as_str())
                    .arg(lease.as_str())
                    .arg(whole_ms(length))
                    .arg(entry::to_json(host)?)
                    .arg(&self.hosts.changes)
                    .arg(&host.endpoint)
                    .arg(self.incarnation.run()),
            )
            .await?;
        self.note_incarnation(&run, settled_ms);
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
        view: u64,
        report: Option<&HostInfo>,
    ) -> Result<Renewed, RegistryError> {
        let asked = Instant::now();
        let (outcome, now, run, settled_ms, newest, members): (String, u64, String, u64, u64, String) = self
            .ask_hosts_kept(
                scripts::RENEW
                    .prepare_invoke()
                    .arg(host.as_str())
                    .arg(lease.as_str())
                    .arg(whole_ms(length))
                    .arg(view)
                    .arg(self.incarnation.run())
                    .arg(&self.hosts.changes)
                    .arg(report.map(entry::to_json).transpose()?.unwrap_or_default())
                    .arg(whole_ms(FORGET_BURIED_AFTER)),
            )
            .await?;
        let forgot = self.note_incarnation(&run, settled_ms);
        let tolerance = length / JUMP;
        let Compared { ahead, behind } = self.incarnation.compare(asked, now);
        if ahead > tolerance {
            self.unsettle(tolerance).await?;
        }
        match outcome.as_str() {
            "renewed" => {}
            "stale" => {
                let reason = format!("host {host} was not told of view {view}");
                return Err(entry::corrupt(&self.hosts.others[3], reason));
            }
            "forgotten" => return Err(RegistryError::LeaseForgotten { host: host.clone() }),
            _ => return Err(RegistryError::LeaseEnded { host: host.clone() }),
        }
        let listed = (!members.is_empty()).then(|| entry::view(&self.hosts.others[3], newest, &members));
        Ok(Renewed { view: listed.transpose()?, forgot, behind })
    }

    async fn leave(&self, host: &HostId, lease: &LeaseId) -> Result<(), RegistryError> {
        self.ask_hosts_kept(
            scripts::LEAVE.prepare_invoke().arg(host.as_str()).arg(lease.as_str()).arg(&self.hosts.changes),
        )
        .await
    }

    async fn overdue(&self) -> Result<Vec<Overdue>, RegistryError> {
        type Found = Vec<(u64, u64, u64, String)>;
        let asked = Instant::now();
        let (now, found, listed): (u64, Found, Vec<(u64, String)>) =
            self.ask_hosts(&mut scripts::OVERDUE.prepare_invoke()).await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let views: HashMap<u64, View> = listed
            .iter()
            .map(|(number, members)| {
                entry::view(&self.hosts.others[3], *number, members).map(|view| (*number, view))
            })
            .collect::<Result<_, _>>()?;
        let overdue = found.into_iter().filter_map(|(end, named, answered, record)| {
            let entry = entry::any_host(&self.hosts.records, &record)
                .inspect_err(|error| tracing::error!(%error, "an overdue host cannot be looked after"))
                .ok()?;
            let numbers = if named == answered { vec![named] } else { vec![named, answered] };
            Some(Overdue {
                host: entry.info,
                lease: entry.lease,
                since: Duration::from_millis(now.saturating_sub(end)),
                views: numbers.iter().filter_map(|number| views.get(number).cloned()).collect(),
                end,
                asked_at: now,
            })
        });
        let overdue: Vec<_> = overdue.collect();
        let shortest = overdue.iter().map(|it| it.host.terms.length).min().unwrap_or_default();
        if self.incarnation.compare(asked, now).ahead > shortest / JUMP {
            self.unsettle(shortest / JUMP).await?;
            return Ok(Vec::new());
        }
        Ok(overdue)
    }

    async fn bury(&self, overdue: &Overdue, within: Duration) -> Result<Burial, RegistryError> {
        let Overdue { host, lease, end, asked_at, .. } = overdue;
        // Rounded down: votes must not be relied on for longer than they hold.
        let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let outcome: String = self
            .ask_hosts_kept(
                scripts::BURY
                    .prepare_invoke()
                    .arg(host.id.as_str())
                    .arg(lease.as_str())
                    .arg(*end)
                    .arg(asked_at.saturating_add(within))
                    .arg(&self.hosts.changes)
                    .arg(whole_ms(host.terms.length))
                    .arg(self.incarnation.run()),
            )
            .await?;
        Ok(match outcome.as_str() {
            "buried" => Burial::Buried,
            "late" => Burial::Late,
            "unsettled" => Burial::Unsettled,
            _ => Burial::Missed,
        })
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
        let purpose = replaces.map_or(Purpose::New, Purpose::Restart);
        self.make(Claim::new(agent, lease, purpose, None, self.schema.guild(&agent.key.guild))?).await
    }

    async fn accept(
        &self,
        agent: &AgentInfo,
        lease: &LeaseId,
        launch: &Launch,
    ) -> Result<ClaimOutcome, RegistryError> {
        self.enlist(&agent.key.guild).await?;
        let keys = self.schema.guild(&agent.key.guild);
        self.make(Claim::new(agent, lease, Purpose::New, Some(launch), keys)?).await
    }

    async fn adopt(
        &self,
        agent: &AgentInfo,
        lease: &LeaseId,
        epoch: Epoch,
    ) -> Result<ClaimOutcome, RegistryError> {
        let keys = self.schema.guild(&agent.key.guild);
        self.make(Claim::new(agent, lease, Purpose::Adoption(epoch), None, keys)?).await
    }

    async fn hand_over(&self, agent: &AgentInfo) -> Result<(), RegistryError> {
        let keys = self.schema.guild(&agent.key.guild);
        let mut script = scripts::HAND_OVER.key(&keys.agents);
        script
            .key(&keys.epochs)
            .arg(agent.key.agent.as_str())
            .arg(agent.epoch.0)
            .arg(live(agent))
            .arg(entry::to_json(agent)?)
            .arg(&keys.changes);
        self.ask_fenced(&agent.key, agent.epoch, &keys.agents, &script).await
    }

    async fn launch(&self, key: &AgentKey, epoch: Epoch) -> Result<Option<Launch>, RegistryError> {
        let keys = self.schema.guild(&key.guild);
        let mut script = scripts::LAUNCH.key(&keys.agents);
        script.key(&keys.epochs).key(&keys.launches).key(&keys.specs).arg(key.agent.as_str()).arg(epoch.0);
        let found: Vec<Vec<u8>> = self.link.ask(&keys.launches, Question::Script(&script)).await?;
        let [launch, guild_spec] = found.as_slice() else { return Ok(None) };
        wire::launch_with_guild(launch, guild_spec)
            .map(Some)
            .map_err(|error| entry::corrupt(format!("{}[{}]", keys.launches, key.agent), error.to_string()))
    }

    async fn orphans(&self) -> Result<Vec<Claimed>, RegistryError> {
        let leases: Vec<String> = self.ask_hosts_kept(&mut scripts::MEMBERS.prepare_invoke()).await?;
        let command = redis::cmd("ZRANGE").arg(&self.hosts.guilds).arg(0).arg(-1).take();
        let guilds: Vec<String> = self.link.ask(&self.hosts.guilds, Question::Command(&command)).await?;
        let guilds: Vec<_> = guilds.iter().filter_map(|guild| GuildId::new(guild).ok()).collect();
        let found: Vec<Vec<Claimed>> = stream::iter(guilds)
            .map(async |guild| self.orphans_of(&guild, &leases).await)
            .buffer_unordered(SEARCHES)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
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
        script.key(&keys.epochs).key(&keys.launches).key(&keys.specs);
        script.arg(key.agent.as_str()).arg(epoch.0).arg(&keys.changes);
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
