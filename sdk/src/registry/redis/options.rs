//! What can be set of a connection to Redis.

use std::time::Duration;

use super::RedisTls;
use crate::registry::RegistryError;

/// How a [`RedisRegistry`](super::RedisRegistry) uses its Redis.
///
/// ```
/// use guildhall::registry::RedisOptions;
///
/// let options = RedisOptions { prefix: "staging".into(), ..RedisOptions::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// What the name of every key and channel begins with, so that several fleets
    /// can share one Redis. Default: `guildhall`. Braces are not allowed, since Redis
    /// Cluster gives them a meaning.
    pub prefix: String,
    /// How long any one call may take before it fails. Default: 5 s.
    pub call_timeout: Duration,
    /// How long to try to connect at first before giving up. Default: 30 s.
    pub connect_within: Duration,
    /// How often a watcher of hosts looks for leases that ended, at the least; it
    /// looks whenever it knows one to be due. Default: 5 s.
    pub check_leases_every: Duration,
    /// How many replicas must have a write that others rely on before it counts: a host's
    /// registration and renewal, and who may run an agent. Default: `None`, which is one
    /// with Sentinels and in a Cluster, and none for a single Redis. With 0 nothing is
    /// waited for, and what was answered may be gone after a failover.
    pub replicas: Option<u32>,
    /// The certificates of a connection with TLS. Default: what the system trusts.
    pub tls: RedisTls,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            prefix: "guildhall".to_owned(),
            call_timeout: Duration::from_secs(5),
            connect_within: Duration::from_secs(30),
            check_leases_every: Duration::from_secs(5),
            replicas: None,
            tls: RedisTls::default(),
        }
    }
}

impl RedisOptions {
    pub(super) fn check(&self) -> Result<(), RegistryError> {
        let refuse = |option, reason: &str| Err(RegistryError::Options { option, reason: reason.to_owned() });
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            return refuse("prefix", "it must not be empty, nor hold a brace");
        }
        if self.call_timeout.is_zero() {
            return refuse("call_timeout", "no call can be answered in no time");
        }
        if self.check_leases_every.is_zero() {
            return refuse("check_leases_every", "it must be longer than zero");
        }
        Ok(())
    }
}
