//! How many calls that start something may be under way at once: in all, and of one peer.
//! What is more is refused at once, with a time after which to try again.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use guildhall::fault::{Fault, FaultReason, RETRY_AFTER_MS};

/// Calls under way at once: of all peers, and of one.
const MOST: usize = 2048;
const MOST_OF_ONE: usize = 1024;

/// When a caller that was refused may try again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Counts the calls under way. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overload(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    all: usize,
    by_peer: HashMap<Option<IpAddr>, usize>,
}

/// One call under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Arc<Mutex<Calls>>,
    peer: Option<IpAddr>,
}

impl Overload {
    /// Counts one more call of this peer.
    ///
    /// # Errors
    /// A fault that says when to try again, when there are too many.
    pub(crate) fn enter(&self, peer: Option<IpAddr>) -> Result<Call, Fault> {
        let mut calls = lock(&self.0);
        let of_peer = calls.by_peer.get(&peer).copied().unwrap_or(0);
        if calls.all >= MOST || of_peer >= MOST_OF_ONE {
            let message = "the host has too many calls under way";
            return Err(
                Fault::new(FaultReason::Overloaded, message).with(RETRY_AFTER_MS, RETRY_AFTER.as_millis())
            );
        }
        calls.all += 1;
        calls.by_peer.insert(peer, of_peer + 1);
        Ok(Call { calls: Arc::clone(&self.0), peer })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = lock(&self.calls);
        calls.all -= 1;
        let left = calls.by_peer.get(&self.peer).map_or(0, |calls| calls - 1);
        match left {
            0 => drop(calls.by_peer.remove(&self.peer)),
            left => drop(calls.by_peer.insert(self.peer, left)),
        }
    }
}

fn lock(calls: &Mutex<Calls>) -> std::sync::MutexGuard<'_, Calls> {
    // Counts are never left half way.
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_does_not_take_the_places_of_others_and_places_come_back() {
        let overload = Overload::default();
        let peer = |n| Some(IpAddr::from([10, 0, 0, n]));
        let mut of_one: Vec<_> = (0..MOST_OF_ONE).map(|_| overload.enter(peer(1)).unwrap()).collect();
        assert_eq!(overload.enter(peer(1)).unwrap_err().reason, FaultReason::Overloaded);
        let of_another: Vec<_> = (0..MOST_OF_ONE).map(|_| overload.enter(peer(2)).unwrap()).collect();
        assert!(overload.enter(peer(3)).is_err(), "there are too many in all");
        of_one.pop();
        drop(overload.enter(peer(3)).unwrap());
        drop((of_one, of_another));
        let left = lock(&overload.0);
        assert_eq!((left.all, left.by_peer.len()), (0, 0));
    }
}
