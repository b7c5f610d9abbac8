//! The fence: ends this host's agents when its tenure is over, whatever the host's
//! runtime is doing then. `docs/consistency.md` says what it is for.
//!
//! It knows one moment, until when agents may run, and the process groups there are.
//! When that moment has passed it sends SIGKILL to each of them, and to every one that
//! comes, until it is told of a later moment. When the host is gone it ends them all,
//! and then itself. Nothing is allowed before it was told so for the first time.
//!
//! It never decides how long tenure lasts, nor whether an agent starts again.
//!
//! Read next: `guard.rs`, what it does; `groups.rs`, what a group is and how it ends;
//! `link.rs`, the host's side; `wire.rs`, what is said between the two.

mod groups;
mod guard;
mod link;
mod process;
mod wire;

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::Pid;

pub use self::process::main;
pub(crate) use self::wire::enrolment;
use self::{link::Link, wire::Message};
use crate::clock::BootInstant;

/// What the fence runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FenceBy {
    /// A process of its own: this program with the one argument `fence`, which is
    /// `agent-host`. It also ends agents while the host is stopped, and when it is dead.
    Process(PathBuf),
    /// A thread of this process, which covers all but that this process is stopped or
    /// killed.
    Thread,
    /// None, where nothing depends on tenure.
    Nothing,
}

/// The host's handle of its fence. Dropping it ends every agent that is enrolled.
#[derive(Debug)]
pub struct Fence {
    by: FenceBy,
    /// Given to each fence process that is started.
    hold: Option<OwnedFd>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` when there is to be no fence.
    link: Option<Arc<Link>>,
    /// The last that was said, for the next fence.
    until: BootInstant,
    /// Groups whose leaders are not reaped, as far as the host knows. A leader is taken
    /// out before it is reaped, so an id that is in here stands for the same process.
    live: HashSet<Pid>,
}

impl Fence {
    /// Starts a fence, which allows nothing until it is told so. A fence process keeps
    /// `hold` open until it has ended every group that it knows: with a lock on that,
    /// whoever gets the lock knows that none of them runs.
    ///
    /// # Errors
    /// When the process or the thread cannot be started.
    pub fn start(by: FenceBy, hold: Option<OwnedFd>) -> io::Result<Self> {
        let link = Link::start(&by, hold.as_ref())?.map(Arc::new);
        let state = Mutex::new(State { link, ..State::default() });
        Ok(Self { by, hold, state })
    }

    /// Says until when agents may run; [`u64::MAX`] nanoseconds are for ever. It may also
    /// be earlier than before. Never waits.
    ///
    /// Answers whether the fence was told. When it was not, the moment it heard of last
    /// stands: then the fence is gone, or has not run for hundreds of messages.
    pub fn allow_until(&self, until: BootInstant) -> bool {
        let mut state = self.state();
        state.until = until;
        state.link.as_ref().is_none_or(|link| link.tell(&Message::AllowUntil(until)))
    }

    /// Whether there is a fence. A host has no tenure while there is none, whatever it
    /// said to [`allow_until`](Self::allow_until).
    pub fn is_there(&self) -> bool {
        self.state().link.as_ref().is_none_or(|link| link.is_there())
    }

    /// Waits until the fence has ended. It never does by itself as long as the host lives.
    pub async fn ended(&self) {
        let link = self.state().link.clone();
        match link {
            Some(link) => link.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Puts another fence in the place of one that has ended, with all that is enrolled
    /// and what was said last to [`allow_until`](Self::allow_until). Does nothing while
    /// there is one. Blocks for as long as it takes to start a program.
    ///
    /// # Errors
    /// When it cannot be started, or told. Agents it has been told of are ended then.
    pub fn revive(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.link.as_ref().is_none_or(|link| link.is_there()) {
            return Ok(());
        }
        let link = Link::start(&self.by, self.hold.as_ref())?;
        if let Some(link) = &link {
            let mut told = link.tell(&Message::AllowUntil(state.until));
            let live: Vec<_> = state.live.iter().copied().collect();
            for groups in live.chunks(wire::MOST_GROUPS) {
                told &= link.tell(&Message::Enrol(groups.to_vec()));
            }
            if !told {
                return Err(io::Error::other("the new fence cannot be told of the agents"));
            }
        }
        state.link = link.map(Arc::new);
        Ok(())
    }

    /// The process that is the fence, if it is one.
    pub fn pid(&self) -> Option<u32> {
        self.state().link.as_ref()?.pid()
    }

    /// Where a process that is about to be started enrols itself.
    ///
    /// # Errors
    /// When the fence is gone.
    pub(crate) fn gate(&self) -> io::Result<Gate> {
        let link = self.state().link.clone();
        match link {
            Some(link) if !link.is_there() => Err(io::Error::other("the fence is gone")),
            link => Ok(Gate(link)),
        }
    }

    /// Enrols a group whose process has done nothing yet that must not be done twice.
    /// Answers whether a fence knows of it; if not it must not go on.
    pub(crate) fn enrol(&self, leader: Pid) -> bool {
        let mut state = self.state();
        state.live.insert(leader);
        state.link.as_ref().is_none_or(|link| link.tell(&Message::Enrol(vec![leader])))
    }

    /// Notes that the leader of a group was started, and has enrolled itself at `gate`.
    /// Answers whether a fence knows of it; if not it must not go on.
    pub(crate) fn enrolled(&self, leader: Pid, gate: &Gate) -> bool {
        let mut state = self.state();
        state.live.insert(leader);
        match (&state.link, &gate.0) {
            (Some(now), Some(then)) if Arc::ptr_eq(now, then) => true,
            // Another took its place meanwhile, and may have been told of all but this.
            (Some(now), _) => now.tell(&Message::Enrol(vec![leader])),
            (None, _) => true,
        }
    }

    /// Says that a group is done. To be said before its leader is reaped, since its id
    /// may be another's after that. Never waits.
    ///
    /// Answers whether the fence was told, or is gone. A fence that is not told goes on
    /// to know the group, which does no harm but that it takes a descriptor: it looks
    /// whether the id still stands for the same process before it kills.
    pub(crate) fn release(&self, leader: Pid) -> bool {
        let mut state = self.state();
        state.live.remove(&leader);
        state.link.as_ref().is_none_or(|link| link.tell(&Message::Release(leader)) || !link.is_there())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to one fence, for a process that enrols itself.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Option<Arc<Link>>);

impl Gate {
    /// For a process that is nobody's agent yet, and is enrolled later.
    pub(crate) fn open() -> Self {
        Self(None)
    }

    /// What to write the [`enrolment`] to; nothing where there is no fence. A write
    /// waits for at most a second.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|link| link.as_fd())
    }

    /// Takes an enrolment back, of a leader that is not reaped yet.
    pub(crate) fn withdraw(&self, leader: Pid) {
        if let Some(link) = &self.0 {
            link.tell(&Message::Release(leader));
        }
    }
}
