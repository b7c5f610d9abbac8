//! Whether Redis is set up to keep what it is told.

use std::collections::HashMap;

use redis::{RedisResult, aio::MultiplexedConnection};
use tracing::{info, warn};

use super::link::Link;
use crate::registry::RegistryError;

/// What a restart of Redis keeps; of several masters, of the one that keeps least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: a restart loses every record.
    Nothing,
    /// What was there at the last snapshot, minutes ago at worst.
    Snapshots,
    /// All but what was not yet written to its log, about a second of it; with
    /// `appendfsync always` all that was answered.
    Log,
}

/// What one node says of itself.
#[derive(Debug, Default)]
struct Settings {
    policy: String,
    maxmemory: u64,
    log: bool,
    /// Unknown when Redis does not say.
    snapshots: Option<bool>,
    fsync: Option<String>,
    /// Why it does not say.
    forbidden: Option<String>,
}

/// Asks each master, and tells the log.
pub(super) async fn check(link: &Link) -> Result<Durability, RegistryError> {
    let mut least = Durability::Log;
    for (node, settings) in link.ask_each(ask).await? {
        let Settings { policy, maxmemory, log, snapshots, fsync, forbidden } = settings;
        // Of what other policies drop, the registry sets nothing: its keys have no end.
        if maxmemory > 0 && policy.starts_with("allkeys-") {
            return Err(RegistryError::WouldEvict { address: node, policy });
        }
        if let Some(reason) = forbidden {
            warn!(node, reason, "Redis does not say how it is set up; CONFIG GET is not allowed");
        }
        let keeps = match (log, snapshots) {
            (true, _) => Durability::Log,
            (false, Some(false)) => Durability::Nothing,
            (false, _) => Durability::Snapshots,
        };
        match keeps {
            Durability::Nothing => {
                warn!(node, "Redis keeps nothing on disk: a restart loses every record; set appendonly yes");
            }
            Durability::Snapshots => {
                warn!(
                    node,
                    "Redis keeps snapshots at most: a restart loses what came after; set appendonly yes"
                );
            }
            Durability::Log if fsync.as_deref() == Some("no") => {
                warn!(node, "Redis leaves to the system when its log is on disk; set appendfsync everysec");
            }
            Durability::Log => info!(node, fsync, "Redis keeps a log on disk"),
        }
        least = least.min(keeps);
    }
    Ok(least)
}

async fn ask(mut connection: MultiplexedConnection) -> RedisResult<Settings> {
    let mut settings = Settings::default();
    for section in ["memory", "persistence"] {
        let info: String = redis::cmd("INFO").arg(section).query_async(&mut connection).await?;
        for (name, value) in info.lines().filter_map(|line| line.trim().split_once(':')) {
            match name {
                "maxmemory" => settings.maxmemory = value.parse().unwrap_or_default(),
                "maxmemory_policy" => value.clone_into(&mut settings.policy),
                "aof_enabled" => settings.log = value == "1",
                _ => {}
            }
        }
    }
    for name in ["save", "appendfsync"] {
        let found = redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await;
        let found: HashMap<String, String> = match found {
            Ok(found) => found,
            // Those who offer Redis as a service often do not let their users see it.
            Err(error) if !error.is_io_error() => {
                settings.forbidden = Some(error.to_string());
                break;
            }
            Err(error) => return Err(error),
        };
        match (name, found.get(name)) {
            ("save", Some(save)) => settings.snapshots = Some(!save.is_empty()),
            (_, Some(fsync)) => settings.fsync = Some(fsync.clone()),
            (_, None) => {}
        }
    }
    Ok(settings)
}
