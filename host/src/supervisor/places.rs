//! How many agents the host takes, and what those it has asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guildhall::resources::Amounts;

/// The places for agents. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    capacity: u32,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    places: u32,
    requested: Amounts,
}

/// One agent's place. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    requested: Amounts,
}

impl Places {
    pub(super) fn new(capacity: u32) -> Self {
        Self { capacity, taken: Arc::default() }
    }

    /// Takes a place for an agent that asks for so much; `None` when all are taken. What
    /// it asks for is noted, not enforced.
    pub(super) fn take(&self, requested: Amounts) -> Option<Place> {
        let mut taken = lock(&self.taken);
        if taken.places >= self.capacity {
            return None;
        }
        taken.places += 1;
        taken.requested.add(&requested);
        Some(Place { taken: Arc::clone(&self.taken), requested })
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(super) fn taken(&self) -> u32 {
        lock(&self.taken).places
    }

    /// What the agents that have a place asked for, in all.
    pub(super) fn requested(&self) -> Amounts {
        lock(&self.taken).requested.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.places -= 1;
        taken.requested.subtract(&self.requested);
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    // Sums are never left half way.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_what_was_asked_for_are_given_back_together() {
        let places = Places::new(2);
        let cpu = |cpu_millis| Amounts { cpu_millis, ..Amounts::default() };
        let first = places.take(cpu(250)).unwrap();
        let second = places.take(cpu(1000)).unwrap();
        assert!(places.take(cpu(1)).is_none());
        assert_eq!((places.taken(), places.requested()), (2, cpu(1250)));
        drop(first);
        assert_eq!((places.taken(), places.requested()), (1, cpu(1000)));
        drop(second);
        assert_eq!((places.taken(), places.requested()), (0, Amounts::default()));
    }
}
