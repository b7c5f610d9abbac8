//! What is where in Redis.
//!
//! Every name begins with a prefix, `guildhall` unless it is set. Braces mark the
//! part that decides on the slot in a Redis Cluster: all hosts are in one slot, and
//! each guild is in one of its own. No script touches two slots.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `guildhall:{hosts}:leases` | sorted set | host id → when its lease ends, milliseconds since 1970 by Redis' clock |
//! | `guildhall:{hosts}:records` | hash | host id → `LEASE REPORTED JSON` |
//! | `guildhall:{hosts}:members` | hash | lease that is not buried → `HOST ENDPOINT` |
//! | `guildhall:{hosts}:displaced` | hash | overdue lease of a host that has another by now → `END NAMED ANSWERED` and its record |
//! | `guildhall:{hosts}:held` | hash | host id → `NAMED ANSWERED`: the views that it may go by |
//! | `guildhall:{hosts}:views` | hash | number → `members` as it was then, as JSON |
//! | `guildhall:{hosts}:buried` | sorted set | lease → when it was buried |
//! | `guildhall:{hosts}:state` | hash | `view` → the newest number, `run` → the run id of the Redis that serves, `since` → since when, or 0 for always |
//! | `guildhall:{hosts}:guilds` | sorted set | guild id → when it last got an agent |
//! | `guildhall:{g:GUILD}:agents` | hash | agent id → `EPOCH LEASE LIVE CALL JSON` |
//! | `guildhall:{g:GUILD}:launches` | hash | agent id → `DIGEST` of its guild's spec, and its launch without that as a protobuf message |
//! | `guildhall:{g:GUILD}:specs` | hash | digest → a guild's spec |
//! | `guildhall:{g:GUILD}:epochs` | hash | `last` → the epoch given out last in this guild, `since` → the one that all of this data are above |
//! | `guildhall:ticket:COUNTER` | number | how many tickets were drawn |
//! | `guildhall:policy` | hash | the fleet's policy: `digest` of all of it, `name`, `component` (not for one that comes with the SDK), `signature` and `settings` where there are some |
//!
//! | channel | tells |
//! | --- | --- |
//! | `guildhall:{hosts}:changes` | `+` and the record of a host that registered or reported, or renewed an overdue lease; `-` and the id of one whose lease was buried |
//! | `guildhall:{g:GUILD}:changes` | `+` and the entry of an agent that was claimed, updated or reasserted; `-EPOCH ID` of one that was released |
//! | `guildhall:{…}:mark:ID` | see [`watch`](super::watch): a watcher's own, told when it was answered |
//!
//! LEASE is a [`LeaseId`](crate::host::LeaseId), REPORTED is when the JSON was written
//! by Redis' clock in milliseconds, LIVE is `1` while the agent's state holds its
//! identity, CALL tells one claim call from another, so that a repeated one is known.
//! The JSON is [`HostInfo`](crate::host::HostInfo) or
//! [`AgentInfo`](crate::agent::AgentInfo); the EPOCH before it counts, not the one
//! within. What scripts compare stands before the JSON, so that none has to parse it.
//!
//! Nothing expires by itself. A lease that was buried an hour ago is forgotten, a few
//! at a time, when a host reports. An agent's entry goes when it is released. The
//! epochs of a guild stay for ever: a store that an agent fences with its epoch may
//! remember it as long.
//!
//! The first epoch of a guild is Redis' time in microseconds, so that they go on growing
//! when Redis lost its data. It also tells an agent that was released from one that was
//! lost, when its host writes of it: the epochs above `since` and up to `last` were given
//! out by this data, so their agents were released. A claim by a host that held a higher
//! epoch than `last` shows that data was lost, and begins with the time again.
//!
//! Memory, measured with `MEMORY USAGE` on Redis 7.0 (see `tests/registry/size.rs`):
//! 576 bytes for an agent whose JSON has 378, and 136 for the epochs of a guild.

use crate::ids::GuildId;

/// The names of keys and channels under one prefix.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    prefix: String,
}

/// The names of one slot's keys and channels.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    tag: String,
}

impl Schema {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn hosts(&self) -> HostKeys {
        let slot = Slot { tag: format!("{}:{{hosts}}", self.prefix) };
        HostKeys {
            leases: slot.name("leases"),
            records: slot.name("records"),
            others: ["members", "displaced", "held", "views", "buried", "state"].map(|what| slot.name(what)),
            guilds: slot.name("guilds"),
            changes: slot.name("changes"),
            slot,
        }
    }

    pub(super) fn guild(&self, guild: &GuildId) -> GuildKeys {
        let slot = Slot { tag: format!("{}:{{g:{guild}}}", self.prefix) };
        GuildKeys {
            agents: slot.name("agents"),
            epochs: slot.name("epochs"),
            launches: slot.name("launches"),
            specs: slot.name("specs"),
            changes: slot.name("changes"),
            slot,
        }
    }

    pub(super) fn policy(&self) -> String {
        format!("{}:policy", self.prefix)
    }

    pub(super) fn ticket(&self, counter: &str) -> String {
        format!("{}:ticket:{counter}", self.prefix)
    }
}

impl Slot {
    fn name(&self, what: &str) -> String {
        format!("{}:{what}", self.tag)
    }

    /// A channel of one watcher's own.
    pub(super) fn fresh_mark(&self) -> String {
        self.name(&format!("mark:{}", uuid::Uuid::new_v4().simple()))
    }
}

/// Where hosts are.
#[derive(Clone, Debug)]
pub(super) struct HostKeys {
    pub(super) leases: String,
    pub(super) records: String,
    /// The members, and what else only the scripts about leases look at.
    pub(super) others: [String; 6],
    pub(super) guilds: String,
    pub(super) changes: String,
    pub(super) slot: Slot,
}

/// Where the agents of one guild are.
#[derive(Clone, Debug)]
pub(super) struct GuildKeys {
    pub(super) agents: String,
    pub(super) epochs: String,
    pub(super) launches: String,
    pub(super) specs: String,
    pub(super) changes: String,
    pub(super) slot: Slot,
}
