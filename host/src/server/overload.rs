//! How many calls that start something may be under way at once: in all, and of one caller.
//! What is more is refused at once, with a time after which to try again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use guildhall::fault::{Fault, FaultReason, RETRY_AFTER_MS};

use super::access::CallerKey;

/// Calls under way at once: of all callers, and of one.
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
    by_caller: HashMap<CallerKey, usize>,
}

/// One call under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Arc<Mutex<Calls>>,
    caller: CallerKey,
}

impl Overload {
    /// Counts one more call of this caller.
    ///
    /// # Errors
    /// A fault that says when to try again, when there are too many.
    pub(crate) fn enter(&self, caller: CallerKey) -> Result<Call, Fault> {
        let mut calls = lock(&self.0);
        let of_caller = calls.by_caller.get(&caller).copied().unwrap_or(0);
        if calls.all >= MOST || of_caller >= MOST_OF_ONE {
            let message = "the host has too many calls under way";
            return Err(
                Fault::new(FaultReason::Overloaded, message).with(RETRY_AFTER_MS, RETRY_AFTER.as_millis())
            );
        }
        calls.all += 1;
        calls.by_caller.insert(caller.clone(), of_caller + 1);
        Ok(Call { calls: Arc::clone(&self.0), caller })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = lock(&self.calls);
        calls.all -= 1;
        let left = calls.by_caller.get(&self.caller).map_or(0, |calls| calls - 1);
        match left {
            0 => drop(calls.by_caller.remove(&self.caller)),
            left => drop(calls.by_caller.insert(self.caller.clone(), left)),
        }
    }
}

fn lock(calls: &Mutex<Calls>) -> std::sync::MutexGuard<'_, Calls> {
    // Counts are never left half way.
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn one_caller_does_not_take_the_places_of_others_and_places_come_back() {
        let overload = Overload::default();
        let caller = |n| CallerKey::Address(IpAddr::from([10, 0, 0, n]));
        let mut of_one: Vec<_> = (0..MOST_OF_ONE).map(|_| overload.enter(caller(1)).unwrap()).collect();
        assert_eq!(overload.enter(caller(1)).unwrap_err().reason, FaultReason::Overloaded);
        let of_another: Vec<_> = (0..MOST_OF_ONE).map(|_| overload.enter(caller(2)).unwrap()).collect();
        assert!(overload.enter(caller(3)).is_err(), "there are too many in all");
        of_one.pop();
        drop(overload.enter(caller(3)).unwrap());
        drop((of_one, of_another));
        let left = lock(&overload.0);
        assert_eq!((left.all, left.by_caller.len()), (0, 0));
    }
}
