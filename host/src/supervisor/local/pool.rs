//! Processes of one runner that wait for launches, so that an agent's start is the
//! delivery of its launch document.
//!
//! How many wait follows demand: as many as launches took of late, but at least
//! [`Runner::warm`] and at most [`Runner::warm_max`], and no more while memory is short.
//! They are made one after another in the background, never beside a launch that itself
//! waits for a process.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    super::{
        incarnation::Sign,
        output::{Output, Source},
    },
    Base,
    body::Idle,
    environment,
    process::{Input, Stdio},
    zygote::Zygote,
};
use crate::{
    load,
    runner::{Runner, Start},
};

/// Launches this long ago are demand.
const OF_LATE: Duration = Duration::from_secs(10);

/// Pause after a launch before its place is filled again, while others wait: the agent's
/// own start has the machine first.
const SETTLE: Duration = Duration::from_millis(50);

/// Pause after a process was started before the next one is, unless it says first that it
/// is prepared.
const PREPARES_WITHIN: Duration = Duration::from_secs(1);

/// Pause after a failure: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Share of the memory that is left alone.
const MEMORY_LEFT: f64 = 0.1;

/// Classes whose runners are told to be ready.
const CLASSES: usize = 16;

/// The waiting processes of one runner, and the way to more.
pub(super) struct Pool {
    runner: Runner,
    base: Arc<Base>,
    zygote: Option<Zygote>,
    state: Mutex<State>,
    /// Told when there may be something to make.
    changed: Notify,
    tasks: TaskTracker,
    closing: CancellationToken,
}

#[derive(Default)]
struct State {
    /// The oldest first.
    waiting: Vec<Waiting>,
    made: u64,
    /// When the last launches were, at most as many as can be of use.
    launches: VecDeque<Instant>,
    /// What they were of; the last first.
    classes: VecDeque<String>,
    /// Launches that wait for a process of their own.
    on_demand: u32,
    failures: u32,
    /// No process is made before.
    not_before: Option<Instant>,
}

/// The way to one process. Dropping it ends the process.
struct Waiting {
    number: u64,
    is_ready: bool,
    take: oneshot::Sender<oneshot::Sender<Idle>>,
}

impl Pool {
    /// Starts to fill a pool.
    pub(super) fn start(
        runner: Runner,
        base: Arc<Base>,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Arc<Self> {
        let zygote = (runner.start == Start::Fork)
            .then(|| Zygote::start(runner.clone(), Arc::clone(&base), tasks, closing.clone()));
        let pool = Arc::new(Self {
            runner,
            base,
            zygote,
            state: Mutex::default(),
            changed: Notify::new(),
            tasks: tasks.clone(),
            closing,
        });
        if pool.runner.warm_max > 0 {
            tasks.spawn(Arc::clone(&pool).fill());
        }
        pool
    }

    /// What it has processes of.
    pub(super) fn runner(&self) -> &Runner {
        &self.runner
    }

    /// Ends what waits, and makes no more.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// Adds how many are ready, for each class they were taken for of late.
    pub(super) fn count_ready(&self, by_class: &mut BTreeMap<String, u32>) {
        let state = self.state();
        let ready = state.waiting.iter().filter(|waiting| waiting.is_ready).count();
        let ready = u32::try_from(ready).unwrap_or(u32::MAX);
        for class in &state.classes {
            *by_class.entry(class.clone()).or_default() += ready;
        }
    }

    /// A process for an agent of a class: one that waits, one that is ready if there is,
    /// or a fork. `None` when there is neither.
    pub(super) async fn take(&self, class_name: &str) -> Option<Idle> {
        self.state().launched(class_name, self.runner.warm_max);
        while let Some(waiting) = self.next_waiting() {
            let (answer, idle) = oneshot::channel();
            if waiting.take.send(answer).is_ok()
                && let Ok(idle) = idle.await
            {
                self.changed.notify_one();
                return Some(idle);
            }
        }
        let zygote = self.zygote.as_ref()?;
        self.state().on_demand += 1;
        let _turn = OnDemand(self);
        if !zygote.is_there().await {
            return None;
        }
        match self.fork(zygote).await {
            Ok(idle) => Some(idle),
            Err(error) => {
                tracing::warn!(runner = self.runner.name, %error, "a zygote did not fork; the runner is executed");
                None
            }
        }
    }

    async fn fork(&self, zygote: &Zygote) -> io::Result<Idle> {
        let notify = self.base.notify_socket()?;
        let env = environment::ahead(&self.base, &self.runner, notify.path()).texts()?;
        let (theirs, stdin, stdout, stderr) = Stdio::new(Input::Pipe)?;
        let stdin = stdin.ok_or_else(|| io::Error::other("it has no standard input"))?;
        let leader = zygote.fork(env, theirs).await?;
        Idle::new(leader, stdin, Output::new(stdout, stderr)?, notify)
    }

    /// Keeps as many waiting as there should be.
    async fn fill(self: Arc<Self>) {
        let closing = self.closing.clone();
        tokio::select! {
            () = closing.cancelled() => {}
            () = self.fill_for_ever() => {}
        }
        self.state().waiting.clear();
    }

    async fn fill_for_ever(self: &Arc<Self>) {
        loop {
            self.until_wanted().await;
            let made = match &self.zygote {
                Some(zygote) => {
                    zygote.until_ready().await;
                    self.fork(zygote).await
                }
                None => self.base.spawn_ahead(&self.runner).await,
            };
            match made {
                Ok(idle) => self.add(idle),
                Err(error) => {
                    tracing::warn!(runner = self.runner.name, %error, "no process could be started ahead of need");
                    self.state().failed();
                }
            }
        }
    }

    /// Waits until there should be one process more, and ends those that are too many.
    async fn until_wanted(&self) {
        loop {
            let now = Instant::now();
            let wait = self.state().wait(now, &self.runner);
            match wait {
                Some(Duration::ZERO) if load::memory_left().is_none_or(|left| left > MEMORY_LEFT) => return,
                Some(Duration::ZERO) => sleep(PREPARES_WITHIN).await,
                Some(wait) => tokio::select! {
                    () = sleep(wait) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    fn add(self: &Arc<Self>, idle: Idle) {
        let (take, taken) = oneshot::channel();
        let number = {
            let mut state = self.state();
            state.made += 1;
            let number = state.made;
            state.waiting.push(Waiting { number, is_ready: false, take });
            state.not_before = Some(Instant::now() + PREPARES_WITHIN);
            number
        };
        self.tasks.spawn(Arc::clone(self).keep(number, idle, taken));
    }

    /// A process's time in the pool: until it is taken, is one too many, or ends.
    async fn keep(
        self: Arc<Self>,
        number: u64,
        mut idle: Idle,
        mut taken: oneshot::Receiver<oneshot::Sender<Idle>>,
    ) {
        let name = self.runner.name.as_str();
        let source = Source::Runner { name, pid: idle.pid() };
        loop {
            tokio::select! {
                biased;
                taken = &mut taken => {
                    let left = match taken {
                        Ok(taker) => taker.send(idle).err(),
                        Err(_) => Some(idle),
                    };
                    if let Some(idle) = left {
                        idle.end(&source).await;
                    }
                    return;
                }
                sign = idle.sign(&source) => match sign {
                    Sign::Notice(notice) if notice.waiting => self.prepared(number),
                    Sign::Notice(_) => {}
                    Sign::Ended => {
                        self.lost(number);
                        let (exit, stderr) = idle.end(&source).await;
                        let exit = exit.describe();
                        tracing::warn!(runner = name, exit, stderr, "a process that waited for a launch has ended");
                        return;
                    }
                }
            }
        }
    }

    fn next_waiting(&self) -> Option<Waiting> {
        self.state().next()
    }

    fn prepared(&self, number: u64) {
        let mut state = self.state();
        state.failures = 0;
        state.not_before = None;
        if let Some(waiting) = state.waiting.iter_mut().find(|waiting| waiting.number == number) {
            waiting.is_ready = true;
        }
        drop(state);
        self.changed.notify_one();
    }

    fn lost(&self, number: u64) {
        let mut state = self.state();
        state.waiting.retain(|waiting| waiting.number != number);
        state.failed();
        drop(state);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn launched(&mut self, class_name: &str, at_most: u32) {
        self.launches.push_back(Instant::now());
        while self.launches.len() > at_most as usize {
            self.launches.pop_front();
        }
        if self.classes.front().is_none_or(|last| last != class_name) {
            self.classes.retain(|class| class != class_name);
            self.classes.push_front(class_name.to_owned());
            self.classes.truncate(CLASSES);
        }
    }

    fn next(&mut self) -> Option<Waiting> {
        let ready = self.waiting.iter().position(|waiting| waiting.is_ready);
        (!self.waiting.is_empty()).then(|| self.waiting.remove(ready.unwrap_or(0)))
    }

    fn failed(&mut self) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(8)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + pause);
    }

    /// How long to wait before one process more is made, not at all if that is zero, for
    /// a change if it is `None`. Drops those that are too many.
    fn wait(&mut self, now: Instant, runner: &Runner) -> Option<Duration> {
        while self.launches.front().is_some_and(|launch| now.duration_since(*launch) > OF_LATE) {
            self.launches.pop_front();
        }
        let demand = u32::try_from(self.launches.len()).unwrap_or(u32::MAX);
        let wanted = demand.clamp(runner.warm, runner.warm_max) as usize;
        self.waiting.truncate(wanted);
        if self.on_demand > 0 {
            return None;
        }
        if self.waiting.len() == wanted {
            // Demand ends by itself.
            return self.launches.front().map(|launch| (*launch + OF_LATE).duration_since(now));
        }
        let settled = match self.launches.back() {
            Some(last) if !self.waiting.is_empty() => *last + SETTLE,
            _ => now,
        };
        Some(self.not_before.map_or(settled, |at| at.max(settled)).saturating_duration_since(now))
    }
}

/// A launch that waits for a process of its own, until it is dropped.
struct OnDemand<'a>(&'a Pool);

impl Drop for OnDemand<'_> {
    fn drop(&mut self) {
        self.0.state().on_demand -= 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(warm: u32, warm_max: u32) -> Runner {
        Runner { warm, warm_max, ..Runner::new("r", "true") }
    }

    impl State {
        fn with(waiting: usize) -> Self {
            let mut state = Self::default();
            for number in 0..waiting as u64 {
                state.waiting.push(Waiting { number, is_ready: false, take: oneshot::channel().0 });
            }
            state
        }
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_wait_as_were_launched_of_late_within_the_bounds() {
        let runner = runner(2, 5);
        let mut state = State::with(2);
        assert_eq!(state.wait(Instant::now(), &runner), None);
        for _ in 0..3 {
            state.launched("A", runner.warm_max);
        }
        tokio::time::advance(SETTLE).await;
        assert_eq!(state.wait(Instant::now(), &runner), Some(Duration::ZERO), "three launches, two wait");
        for _ in 0..30 {
            state.launched("A", runner.warm_max);
        }
        assert!(state.launches.len() <= 5);
        state.waiting.extend(State::with(9).waiting);
        assert_eq!(state.wait(Instant::now(), &runner), Some(OF_LATE), "until demand ends");
        assert_eq!(state.waiting.len(), 5, "the bound");
        tokio::time::advance(OF_LATE + Duration::from_millis(1)).await;
        assert_eq!(state.wait(Instant::now(), &runner), None);
        assert_eq!(state.waiting.len(), 2, "what there is at least");
    }

    #[tokio::test(start_paused = true)]
    async fn a_launch_has_the_machine_first_unless_none_waits() {
        let runner = runner(2, 2);
        let mut state = State::with(1);
        state.launched("A", 2);
        assert_eq!(state.wait(Instant::now(), &runner), Some(SETTLE));
        state.waiting.clear();
        assert_eq!(state.wait(Instant::now(), &runner), Some(Duration::ZERO));
        state.on_demand = 1;
        assert_eq!(state.wait(Instant::now(), &runner), None, "that launch needs one now");
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_ever_more_slowly() {
        let runner = runner(1, 1);
        let mut state = State::default();
        let waits = std::iter::repeat_with(|| {
            state.failed();
            state.wait(Instant::now(), &runner).unwrap().as_secs()
        });
        assert_eq!(waits.take(7).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 30, 30]);
    }

    #[tokio::test]
    async fn one_that_is_ready_is_taken_before_one_that_is_not_and_the_oldest_of_each() {
        let mut state = State::with(3);
        state.waiting[1].is_ready = true;
        let taken: Vec<_> = std::iter::from_fn(|| state.next()).map(|waiting| waiting.number).collect();
        assert_eq!(taken, [1, 0, 2]);
    }

    #[tokio::test]
    async fn the_classes_of_late_are_known_and_no_more() {
        let mut state = State::default();
        for class in 0..20 {
            state.launched(&format!("C{class}"), 1);
        }
        state.launched("C18", 1);
        assert_eq!(state.classes.len(), CLASSES);
        assert_eq!(state.classes.iter().take(3).collect::<Vec<_>>(), ["C18", "C19", "C17"]);
    }
}
