//! What a fence does, all its life.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{RecvFlags, recv},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

use super::{
    groups::Groups,
    wire::{MOST_BYTES, Message},
};
use crate::clock::BootInstant;

/// How long to sleep at most while there are groups. A machine's sleep does not count
/// for a timeout, so this is also how late the end of tenure may be seen after one, on
/// a system without timers that go on.
const TICK: Duration = Duration::from_secs(1);

/// Stands guard until the host's end of `socket` is closed, in the host and in all
/// that it has forked; then ends every group.
pub(super) fn stand(socket: impl AsFd) {
    let timer = Timer::new();
    let mut groups = Groups::default();
    let mut until = BootInstant::default();
    // All that has been said comes before what follows from it: a renewal, or the end of
    // a group, that waited while this did not run.
    while hear(&socket, &mut until, &mut groups) {
        let left = until.saturating_duration_since(BootInstant::now());
        if left.is_zero() {
            groups.kill();
        }
        timer.set(until, left);
        let mut sources = vec![PollFd::new(&socket, PollFlags::IN)];
        sources.extend(timer.0.iter().map(|timer| PollFd::new(timer, PollFlags::IN)));
        let at_most = if left.is_zero() { TICK } else { left.min(TICK) };
        let at_most = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: at_most.subsec_nanos().into() };
        // An error, such as a signal, is one more reason to look.
        let _ = poll(&mut sources, (!groups.is_empty()).then_some(&at_most));
    }
    groups.end();
}

/// Takes in all that waits. Answers whether the host is still there.
fn hear(socket: impl AsFd, until: &mut BootInstant, groups: &mut Groups) -> bool {
    let mut packet = [0; MOST_BYTES];
    loop {
        let bytes = match recv(&socket, &mut packet, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => return true,
            Err(Errno::INTR) => continue,
            // Nobody says nothing, so this is the end; what fails is taken for it.
            Ok((0, _)) | Err(_) => return false,
            Ok((bytes, _)) => bytes,
        };
        match Message::decode(&packet[..bytes]) {
            Some(Message::AllowUntil(moment)) => *until = moment,
            Some(Message::Enrol(leaders)) => leaders.into_iter().for_each(|leader| groups.enrol(leader)),
            Some(Message::Release(leader)) => groups.release(leader),
            None => {}
        }
    }
}

/// Wakes the fence at the moment itself, also when the machine slept before it; `None`
/// where the system has no such timer.
struct Timer(Option<OwnedFd>);

impl Timer {
    fn new() -> Self {
        Self(timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC).ok())
    }

    /// Sets it to `moment`, or off when nothing is left until then.
    fn set(&self, moment: BootInstant, left: Duration) {
        let nanos = if left.is_zero() { 0 } else { moment.as_nanos() };
        let (seconds, nanos) = ((nanos / 1_000_000_000) as i64, (nanos % 1_000_000_000) as i64);
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let at = Itimerspec { it_interval: never, it_value: Timespec { tv_sec: seconds, tv_nsec: nanos } };
        if let Some(timer) = &self.0 {
            let _ = timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &at);
        }
    }
}
