//! What the simulated machines have in common: one registry, the network, and chance.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::ready,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use guildhall::{ids::HostId, registry::MemoryRegistry};
use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{book::Book, chance::Chance};
use crate::peer_service::Peer;

/// How long a call waits for an answer that does not come.
pub(super) const NO_ANSWER: Duration = Duration::from_secs(2);

/// What is taken out on purpose, to see that it is missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Planted {
    /// Nothing.
    #[default]
    Nothing,
    /// There is no fence, and agents do not hear of the tenure's end.
    NoFence,
    /// Members vote whatever they have promised.
    LooseVotes,
}

/// What becomes of a call to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Works,
    /// It never arrives.
    Lost,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It is carried out so much later, when nobody waits for it any more.
    Late(Duration),
}

/// How a machine is cut off from the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing arrives.
    Whole,
    /// Calls arrive, answers do not.
    Answers,
    /// Calls arrive sometime, answers do not.
    Late,
}

#[derive(Debug, Default)]
pub(super) struct Net {
    /// Machines that are cut off from the registry.
    pub(super) cut: BTreeMap<usize, Cut>,
    /// From and to, between machines.
    pub(super) links: BTreeSet<(usize, usize)>,
    /// Share of calls that fail for no reason, in a thousand.
    pub(super) noise: u64,
    /// Longest delay of a message, milliseconds.
    pub(super) slow: u64,
}

/// Lets a machine go on, or holds it.
#[derive(Clone, Debug)]
pub(super) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn hold(&self, held: bool) {
        self.0.send_replace(held);
    }

    pub(super) async fn pass(&self) {
        let mut held = self.0.subscribe();
        // The sender is at hand.
        let _ = held.wait_for(|held| !held).await;
    }

    /// Makes no progress while the machine is held.
    pub(super) async fn through<T>(self, task: impl Future<Output = T>) -> T {
        let mut task = pin!(task);
        let mut passing: Option<BoxFuture<'_, ()>> = None;
        std::future::poll_fn(|context| {
            loop {
                if passing.is_none() && *self.0.borrow() {
                    passing = Some(self.pass().boxed());
                }
                match &mut passing {
                    Some(pass) => ready!(pass.poll_unpin(context)),
                    None => return task.as_mut().poll(context),
                }
                passing = None;
            }
        })
        .await
    }
}

/// What others reach of a machine.
#[derive(Clone)]
pub(super) struct Reached {
    pub(super) gate: Gate,
    /// `None` while no host runs there.
    pub(super) peer: Option<Arc<Peer>>,
}

pub(super) struct World {
    pub(super) memory: MemoryRegistry,
    pub(super) planted: Planted,
    chance: Mutex<Chance>,
    book: Mutex<Book>,
    net: Mutex<Net>,
    changed: watch::Sender<()>,
    machines: Mutex<BTreeMap<usize, Reached>>,
    /// Whether processes end by themselves now and then.
    pub(super) failing: watch::Sender<bool>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(seed: u64, planted: Planted, aloud: bool) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryRegistry::new(),
            planted,
            chance: Mutex::new(Chance::new(seed)),
            book: Mutex::new(Book::new(aloud)),
            net: Mutex::new(Net { slow: 10, ..Net::default() }),
            changed: watch::Sender::new(()),
            machines: Mutex::default(),
            failing: watch::Sender::new(true),
        })
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    pub(super) fn between(&self, from: u64, to: u64) -> u64 {
        lock(&self.chance).between(from, to)
    }

    pub(super) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.between(from, to))
    }

    pub(super) fn permille(&self, share: u64) -> bool {
        lock(&self.chance).permille(share)
    }

    /// Changes the network.
    pub(super) fn net<T>(&self, change: impl FnOnce(&mut Net) -> T) -> T {
        let done = change(&mut lock(&self.net));
        self.changed.send_replace(());
        done
    }

    pub(super) fn net_changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn is_cut_off(&self, machine: usize) -> bool {
        lock(&self.net).cut.contains_key(&machine)
    }

    pub(super) fn fate(&self, machine: usize) -> Fate {
        let (cut, noise) = {
            let net = lock(&self.net);
            (net.cut.get(&machine).copied(), net.noise)
        };
        match cut {
            Some(Cut::Whole) => Fate::Lost,
            Some(Cut::Answers) => Fate::AnswerLost,
            Some(Cut::Late) => Fate::Late(self.millis(500, 15_000)),
            None if !self.permille(noise) => Fate::Works,
            None => match self.between(0, 2) {
                0 => Fate::Lost,
                1 => Fate::AnswerLost,
                _ => Fate::Late(self.millis(500, 15_000)),
            },
        }
    }

    /// The way of one message.
    pub(super) async fn travel(&self) {
        let slow = lock(&self.net).slow;
        sleep(self.millis(1, slow)).await;
    }

    pub(super) fn set_reached(&self, machine: usize, reached: Reached) {
        lock(&self.machines).insert(machine, reached);
    }

    /// Calls another machine. What was begun there may go on when the caller gives up.
    pub(super) async fn call<T, F>(
        &self,
        from: usize,
        to: &HostId,
        ask: impl FnOnce(Arc<Peer>) -> F,
    ) -> Result<T, String>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let to = machine_of(to);
        self.travel().await;
        let cut = |from, to| from != to && lock(&self.net).links.contains(&(from, to));
        if cut(from, to) {
            sleep(NO_ANSWER).await;
            return Err("it cannot be reached".to_owned());
        }
        let reached = lock(&self.machines).get(&to).cloned();
        let Some(Reached { gate, peer: Some(peer) }) = reached else {
            return Err("nobody listens".to_owned());
        };
        gate.pass().await;
        let asking = tokio::spawn(gate.clone().through(ask(peer)));
        // The other side may hear that the caller has given up, or not.
        let answer = match self.permille(500) {
            true => AbortOnDropHandle::new(asking).await,
            false => asking.await,
        };
        let answer = answer.map_err(|error| error.to_string())?;
        self.travel().await;
        if cut(to, from) {
            sleep(NO_ANSWER).await;
            return Err("it did not answer".to_owned());
        }
        Ok(answer)
    }
}

/// Hosts are named `h` and the number of their machine.
pub(super) fn machine_of(host: &HostId) -> usize {
    host.as_str().trim_start_matches('h').parse().unwrap_or(usize::MAX)
}
