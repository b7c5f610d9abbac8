//! The registry: the shared store of hosts, agents and leases.
//!
//! It is the authority on identity: who may run (guild, agent), and under which
//! epoch. Two backends, [`MemoryRegistry`] for one process and [`RedisRegistry`]
//! for a fleet, pass the same test-suite.
//!
//! A host registers under a fresh [`LeaseId`] and keeps that lease alive by its
//! heartbeat; an agent's claim names the lease it was made under and is in force until
//! that very lease is [buried](Registry::bury). So a heartbeat costs the same for one
//! agent or ten thousand. A lease that is over by time is *overdue*: it frees nothing,
//! and may still be renewed; who may bury it, and when, is the hosts' affair
//! (`docs/consistency.md`). Lease times are measured by the registry alone.
//!
//! Every write for an agent carries its epoch and is refused when that is stale.
//! What was accepted is kept: the [launch](Registry::launch) is stored with the first
//! claim, so that any host can start the agent again.

mod fleet_policy;
mod memory;
mod redis;
mod view;

#[doc(hidden)]
pub use self::redis::readable_as;
pub use self::{
    fleet_policy::FleetPolicy,
    memory::MemoryRegistry,
    redis::{Durability, RedisOptions, RedisRegistry, RedisTls},
    view::{Burial, Council, Member, Overdue, Renewed, View, rank},
};

use std::{fmt, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{
    agent::{AgentEvent, AgentInfo},
    host::{HostEvent, HostInfo, LeaseId, LiveHost},
    ids::{AgentKey, Epoch, GuildId, HostId},
    launch::Launch,
    placement::{PolicyArtifact, Sha256Digest},
};

/// How long a registry remembers a buried lease, so that it knows a lease id that comes
/// back. Long past any call that may still be under way.
const FORGET_BURIED_AFTER: Duration = Duration::from_secs(3600);

/// A longer lease counts as this long.
const LONGEST_LEASE: Duration = Duration::from_secs(366 * 24 * 3600);

/// What came of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimOutcome {
    /// The identity is the caller's, under this epoch.
    Claimed(Epoch),
    /// Somebody else holds it; for a restart: the incarnation to replace is no
    /// longer the current one.
    Held(Box<AgentInfo>),
}

/// What came of a registration.
#[derive(Clone, Debug, PartialEq)]
pub enum Registration {
    /// The lease is in force.
    Registered,
    /// Another process holds a lease under this host id; it ends after this long
    /// unless it is renewed.
    InUse {
        /// Time left by the registry's clock.
        remaining: Duration,
    },
}

/// The shared store of hosts, agents and leases.
///
/// Every call is bounded in time by the backend. All are safe to retry.
#[async_trait]
pub trait Registry: Send + Sync + fmt::Debug + 'static {
    /// Enters a host under a fresh lease of the given length. Registering again
    /// under the same lease renews it. A lease is a year long at most. An earlier lease
    /// of the same host that is overdue stays so.
    ///
    /// # Errors
    /// [`RegistryError::LeaseEnded`] when this very lease is buried: it cannot come
    /// back, for others may have acted on its end. [`RegistryError`] when the backend
    /// cannot be reached or does not understand.
    async fn register(
        &self,
        host: &HostInfo,
        lease: &LeaseId,
        length: Duration,
    ) -> Result<Registration, RegistryError>;

    /// Renews a lease, be it overdue, and stores a load report when one is given. One
    /// round trip, whose cost does not depend on the agents of the host. `view` is the
    /// number of the view that the host goes by until it is answered another; 0 for none.
    ///
    /// # Errors
    /// [`RegistryError::LeaseEnded`] when the lease is buried: the host must register
    /// anew and reassert its claims. [`RegistryError::LeaseForgotten`] when the registry
    /// does not know it: it has lost its data, or it was buried long ago.
    async fn renew(
        &self,
        host: &HostId,
        lease: &LeaseId,
        length: Duration,
        view: u64,
        report: Option<&HostInfo>,
    ) -> Result<Renewed, RegistryError>;

    /// Buries a lease now, on the caller's word that its host runs no agents: it is the
    /// host itself, or knows that it has ended. Does nothing when it is buried already.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn leave(&self, host: &HostId, lease: &LeaseId) -> Result<(), RegistryError>;

    /// The leases that are overdue.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn overdue(&self) -> Result<Vec<Overdue>, RegistryError>;

    /// Buries an overdue lease, if it still is what it was and no more than `within` has
    /// passed since the registry answered that it is overdue. To be called only with the
    /// votes of its [councils](View::council), or where its terms need none.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn bury(&self, overdue: &Overdue, within: Duration) -> Result<Burial, RegistryError>;

    /// All hosts whose lease is in force, sorted by id.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn hosts(&self) -> Result<Vec<LiveHost>, RegistryError>;

    /// The fleet: a snapshot, then changes. Never ends by itself; when the backend
    /// goes away it waits and begins again with a new snapshot.
    fn watch_hosts(&self) -> BoxStream<'static, HostEvent>;

    /// Claims the identity `agent.key` for the host `agent.host` under `lease`,
    /// stores the record with a new epoch, and returns that. It is higher than all that
    /// the registry gave out in this guild and than the one in `agent.epoch`: the epoch
    /// that the caller held last, 0 when none, which a registry that lost its data does
    /// not know of.
    ///
    /// `replaces` is `None` for a new agent: the identity must be free, its record
    /// ended ([`AgentState::is_live`](crate::agent::AgentState::is_live) is false),
    /// or its host's lease buried. For a restart it is the epoch that the caller
    /// holds, which must still be the current one.
    ///
    /// Whether `lease` itself is in force is not checked: a claim under a buried
    /// lease is made, and free for the next one who asks. When a claim fails for
    /// want of an answer, it may have been made all the same. The next one then says
    /// [`ClaimOutcome::Held`] with the caller's own host and request id, and a host
    /// which knows that it runs no such agent replaces that epoch.
    ///
    /// # Errors
    /// When `replaces` names an epoch and nothing is recorded, [`RegistryError::Fenced`]
    /// or [`RegistryError::Forgotten`] as for [`update`](Registry::update). Else
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn claim(
        &self,
        agent: &AgentInfo,
        lease: &LeaseId,
        replaces: Option<Epoch>,
    ) -> Result<ClaimOutcome, RegistryError>;

    /// Like [`claim`](Registry::claim) for a new agent, and stores its launch in the same
    /// step, in place of one that is there.
    ///
    /// # Errors
    /// As for [`claim`](Registry::claim); [`RegistryError::Settling`] for a while after
    /// the registry may have lost claims that it does not know of.
    async fn accept(
        &self,
        agent: &AgentInfo,
        lease: &LeaseId,
        launch: &Launch,
    ) -> Result<ClaimOutcome, RegistryError>;

    /// Like [`claim`](Registry::claim), for an agent that has lost its host: its record
    /// must be live and have this epoch, and its lease must be buried or
    /// [none](LeaseId::none).
    ///
    /// # Errors
    /// As for [`claim`](Registry::claim) of a restart.
    async fn adopt(
        &self,
        agent: &AgentInfo,
        lease: &LeaseId,
        epoch: Epoch,
    ) -> Result<ClaimOutcome, RegistryError>;

    /// Replaces the record of an agent that has no process any more, and puts its claim
    /// under no lease, so that any host may adopt it.
    ///
    /// # Errors
    /// As for [`update`](Registry::update).
    async fn hand_over(&self, agent: &AgentInfo) -> Result<(), RegistryError>;

    /// The launch that was stored with the agent, whose epoch must be the given one.
    /// `None` when there is none, or when the agent has another epoch by now.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn launch(&self, key: &AgentKey, epoch: Epoch) -> Result<Option<Launch>, RegistryError>;

    /// The live records, of all guilds, whose claim is under a buried lease or none.
    /// Costs a question for each guild.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn orphans(&self) -> Result<Vec<Claimed>, RegistryError>;

    /// Puts a claim under a new lease of the same host, after the old one was buried.
    /// Watchers are told of the agent, for they may have taken it for lost.
    ///
    /// # Errors
    /// [`RegistryError::Fenced`] when another incarnation has been claimed since, or the
    /// agent was released; [`RegistryError::Forgotten`] when the registry lost it.
    async fn reassert(&self, key: &AgentKey, epoch: Epoch, lease: &LeaseId) -> Result<(), RegistryError>;

    /// Replaces the record of an agent, keeping its claim.
    ///
    /// # Errors
    /// [`RegistryError::Fenced`] when `agent.epoch` is not the current one, or the agent
    /// was released; [`RegistryError::Forgotten`] when the registry lost it.
    async fn update(&self, agent: &AgentInfo) -> Result<(), RegistryError>;

    /// Removes the record and the launch, which frees the identity. Its epochs go on growing.
    /// Removing what is not there does nothing.
    ///
    /// # Errors
    /// [`RegistryError::Fenced`] when `epoch` is not the current one.
    async fn release(&self, key: &AgentKey, epoch: Epoch) -> Result<(), RegistryError>;

    /// One agent's record with the lease its claim is under. One round trip; the
    /// caller, who knows the fleet, judges whether that lease is in force.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn agent(&self, key: &AgentKey) -> Result<Option<Claimed>, RegistryError>;

    /// All agents of a guild, sorted by id.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn agents_in_guild(&self, guild: &GuildId) -> Result<Vec<Claimed>, RegistryError>;

    /// The agents of a guild: a snapshot, then changes. Never ends by itself; when
    /// the backend goes away it waits and begins again with a new snapshot.
    fn watch_guild(&self, guild: &GuildId) -> BoxStream<'static, AgentEvent>;

    /// The next number of a counter that all users of this registry share. Begins
    /// at 0; `counter` is a policy's name.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn ticket(&self, counter: &str) -> Result<u64, RegistryError> {
        self.tickets(counter, 1).await
    }

    /// The next so many numbers of a counter, by the first of them.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn tickets(&self, counter: &str, count: u32) -> Result<u64, RegistryError>;

    /// Names the policy that decides in the whole fleet, wherever none was chosen
    /// locally; with `None` takes that back. See [`FleetPolicy`].
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn publish_policy(&self, policy: Option<&PolicyArtifact>) -> Result<(), RegistryError>;

    /// The policy that is named for the fleet, if one is.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn published_policy(&self) -> Result<Option<PolicyArtifact>, RegistryError>;

    /// The [digest](PolicyArtifact::digest) of the policy that is named for the fleet:
    /// a cheap way to see that it is another one.
    ///
    /// # Errors
    /// [`RegistryError`] as for [`register`](Registry::register).
    async fn published_digest(&self) -> Result<Option<Sha256Digest>, RegistryError>;
}

/// An agent's record and the lease that its claim is under.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// The record as its host last wrote it.
    pub agent: AgentInfo,
    /// The lease the claim was made under.
    pub lease: LeaseId,
}

/// What a registry cannot do, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The backend cannot be reached or refused the call.
    #[error("the registry at {address} did not answer: {source}")]
    Unavailable {
        /// Which registry, without its password.
        address: String,
        /// What the client library says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The backend did not answer in time.
    #[error("the registry at {address} did not answer within {waited:?}")]
    Timeout {
        /// Which registry, without its password.
        address: String,
        /// How long the call waited.
        waited: Duration,
    },
    /// The address of the registry cannot be used.
    #[error("{url:?} is not the address of a registry: {reason}")]
    Address {
        /// The address, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An option of the backend cannot be used.
    #[error("the registry's option {option} cannot be used: {reason}")]
    Options {
        /// Which option.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The host's lease is over.
    #[error("the lease of host {host} has ended")]
    LeaseEnded {
        /// The host.
        host: HostId,
    },
    /// The registry does not know the host's lease: it has lost its data, unless the host
    /// was away for very long.
    #[error("the registry does not know the lease of host {host}")]
    LeaseForgotten {
        /// The host.
        host: HostId,
    },
    /// The write came from an incarnation that is no longer the current one.
    #[error("agent {key} has epoch {current:?} now; a write under epoch {epoch} is refused")]
    Fenced {
        /// The agent.
        key: AgentKey,
        /// The epoch that the write carried.
        epoch: Epoch,
        /// The current epoch; `None` when the agent was released.
        current: Option<Epoch>,
    },
    /// The registry knows neither the agent nor that epoch of it: it has lost its data.
    /// Nobody else was given the identity that it knows of.
    #[error("the registry has lost agent {key} with epoch {epoch}")]
    Forgotten {
        /// The agent.
        key: AgentKey,
        /// The epoch that the write carried.
        epoch: Epoch,
    },
    /// The registry has changed a short while ago (it restarted, or another took its
    /// place), and may have lost claims whose hosts have not come back to it yet.
    #[error("the registry at {address} has just changed; new agents are taken in {remaining:?}")]
    Settling {
        /// Which registry, without its password.
        address: String,
        /// How long to wait.
        remaining: Duration,
    },
    /// The backend holds something that this version cannot read.
    #[error("the registry holds an entry at {place} that cannot be read: {reason}")]
    Corrupt {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Too few replicas have what was written, so it may be gone after a failover.
    #[error(
        "the registry at {address} has written it, but only {got} of {wanted} replicas have it: \
         are they connected, and not fewer than REDIS_REPLICAS?"
    )]
    NotReplicated {
        /// Which registry, without its password.
        address: String,
        /// How many replicas must have it.
        wanted: u32,
        /// How many have it.
        got: u64,
    },
    /// The backend would throw away records when its memory is full.
    #[error(
        "the registry at {address} would throw away records when its memory is full: its maxmemory-policy \
         is {policy}; set it to noeviction"
    )]
    WouldEvict {
        /// Which registry, without its password.
        address: String,
        /// The policy that is set.
        policy: String,
    },
}
