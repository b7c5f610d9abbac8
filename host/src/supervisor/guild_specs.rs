//! One copy of a guild's spec for all agents of the guild.
//!
//! Every create brings the spec of the whole guild, and every agent needs it again
//! for its restarts. In a guild of hundreds these copies would be most of what the
//! host holds.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use guildhall::{ids::GuildId, launch::Json};

/// The specs that agents hold.
#[derive(Default)]
pub(super) struct GuildSpecs(Mutex<HashMap<GuildId, Shared>>);

struct Shared {
    spec: Json,
    holders: usize,
}

impl GuildSpecs {
    /// Replaces `spec` by the copy that other agents of the guild hold, if it is the
    /// same text. A guild whose spec has changed since keeps two.
    pub(super) fn share(self: &Arc<Self>, guild: &GuildId, spec: &mut Json) -> Option<Holder> {
        let mut specs = self.specs();
        let shared = specs.entry(guild.clone()).or_insert_with(|| Shared { spec: spec.clone(), holders: 0 });
        if shared.spec != *spec {
            return None;
        }
        *spec = shared.spec.clone();
        shared.holders += 1;
        Some(Holder { specs: Arc::clone(self), guild: guild.clone() })
    }

    fn specs(&self) -> MutexGuard<'_, HashMap<GuildId, Shared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an agent that holds its guild's spec until it is dropped.
pub(super) struct Holder {
    specs: Arc<GuildSpecs>,
    guild: GuildId,
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut specs = self.specs.specs();
        if let Some(shared) = specs.get_mut(&self.guild) {
            shared.holders -= 1;
            if shared.holders == 0 {
                specs.remove(&self.guild);
            }
        }
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Holder").field(&self.guild).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_until_the_last_holder_goes() {
        let specs = Arc::new(GuildSpecs::default());
        let guild = GuildId::new("g").unwrap();
        let spec = |text: &str| Json::parse("guild spec", text.as_bytes()).unwrap();
        let (mut one, mut two, mut other) = (spec("[1]"), spec("[1]"), spec("[2]"));
        assert_ne!(one.as_str().as_ptr(), two.as_str().as_ptr());
        let first = specs.share(&guild, &mut one);
        let second = specs.share(&guild, &mut two);
        assert_eq!(one.as_str().as_ptr(), two.as_str().as_ptr());
        assert!(specs.share(&guild, &mut other).is_none());
        drop(first);
        assert_eq!(specs.specs().len(), 1);
        drop(second);
        assert!(specs.specs().is_empty());
        assert!(specs.share(&guild, &mut other).is_some());
    }
}
