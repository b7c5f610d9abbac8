//! A process that prepares what all agents of a runner need, and is then forked for each.
//!
//! It runs the runner's command with `--zygote`, and its standard input is a socket for
//! packets of JSON:
//!
//! | from | packet | with |
//! | --- | --- | --- |
//! | zygote | `{"ready": true}`, once | |
//! | host | `{"fork": 7, "env": {"NAME": "VALUE", …}, "host_pid": 1}` | standard input, output and error of the child |
//! | zygote | `{"fork": 7, "pid": 42}` or `{"fork": 7, "error": "…"}` | |
//!
//! The child is the host's, by `CLONE_PARENT`, so that its end is the host's to learn and
//! the zygote's own end is nothing to it; and it leads a group of its own before the
//! answer. `docs/runners.md` has the whole contract. While it prepares itself launches wait
//! for it, which takes no longer than to execute the runner for each. One that ends is
//! started again, and until then the runner is executed.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::unix::net::UnixDatagram as StdDatagram,
    sync::Arc,
    time::Duration,
};

use rustix::{
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
        sendmsg, socketpair,
    },
    process::{Pid, getpid},
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::UnixDatagram,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    super::output::{Output, Source},
    Base, environment,
    process::{Enrolment, Input, Leader, Process, Stdio},
};
use crate::runner::Runner;

/// The argument that makes a runner a zygote.
const ARGUMENT: &str = "--zygote";

/// How long a fork may take before the zygote is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long launches wait for one that prepares itself.
const PREPARES_WITHIN: Duration = Duration::from_secs(10);

/// Forks that stand in line; launches beyond wait to get into it.
const WAITING: usize = 64;

/// Longest answer, bytes.
const MAX_ANSWER: usize = 4096;

/// Pause before a zygote that has ended is started again: the first, the longest, and how
/// long one lives after which the first counts again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LIVED: Duration = Duration::from_secs(60);

/// The way to a runner's zygote.
pub(super) struct Zygote {
    requests: mpsc::Sender<Request>,
    stage: watch::Receiver<Stage>,
}

/// How far a zygote is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Preparing,
    Ready,
    /// It has ended, and is started again later.
    Away,
}

struct Request {
    env: BTreeMap<String, String>,
    stdio: Stdio,
    answer: oneshot::Sender<io::Result<Leader>>,
}

#[derive(Serialize)]
struct Fork<'a> {
    fork: u64,
    env: &'a BTreeMap<String, String>,
    host_pid: i32,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Answer {
    ready: bool,
    fork: u64,
    pid: i32,
    error: Option<String>,
}

impl Zygote {
    /// Starts one, and again whenever it ends.
    pub(super) fn start(
        runner: Runner,
        base: Arc<Base>,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let (requests, queue) = mpsc::channel(WAITING);
        let (stage, stages) = watch::channel(Stage::Preparing);
        tasks.spawn(Keeper { runner, base, queue, stage, closing }.keep());
        Self { requests, stage: stages }
    }

    /// Whether it can be asked now, or after the short time that it needs to prepare itself.
    pub(super) async fn is_there(&self) -> bool {
        let mut stage = self.stage.clone();
        let prepared = stage.wait_for(|stage| *stage != Stage::Preparing);
        matches!(timeout(PREPARES_WITHIN, prepared).await, Ok(Ok(stage)) if *stage == Stage::Ready)
    }

    /// Waits until it has prepared itself.
    pub(super) async fn until_ready(&self) {
        if self.stage.clone().wait_for(|stage| *stage == Stage::Ready).await.is_err() {
            // It is closed, and whoever fills the pool is as well.
            std::future::pending().await
        }
    }

    /// Has it fork a child with these variables and no others.
    pub(super) async fn fork(&self, env: BTreeMap<String, String>, stdio: Stdio) -> io::Result<Leader> {
        let (answer, answered) = oneshot::channel();
        let closed = || io::Error::other("the zygote is closed");
        self.requests.send(Request { env, stdio, answer }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

struct Keeper {
    runner: Runner,
    base: Arc<Base>,
    queue: mpsc::Receiver<Request>,
    stage: watch::Sender<Stage>,
    closing: CancellationToken,
}

/// A fork that has been asked for.
struct Pending {
    number: u64,
    answer: oneshot::Sender<io::Result<Leader>>,
    deadline: Instant,
}

impl Keeper {
    async fn keep(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let reason = match self.live().await {
                Ok(()) => return,
                Err(error) => error.to_string(),
            };
            self.stage.send_replace(Stage::Away);
            while let Ok(request) = self.queue.try_recv() {
                let _ = request.answer.send(Err(io::Error::other("the zygote has ended")));
            }
            if started.elapsed() > LIVED {
                pause = FIRST_PAUSE;
            }
            tracing::warn!(
                runner = self.runner.name,
                reason,
                ?pause,
                "there is no zygote; it is started again"
            );
            tokio::select! {
                () = sleep(pause) => {}
                () = self.closing.cancelled() => return,
            }
            self.stage.send_replace(Stage::Preparing);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The life of one. Ends without an error when it is not needed any more.
    async fn live(&mut self) -> io::Result<()> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let socket = StdDatagram::from(ours);
        socket.set_nonblocking(true)?;
        let socket = UnixDatagram::from_std(socket)?;
        let program = environment::of_zygote(&self.base, &self.runner).program(&self.runner, &[ARGUMENT])?;
        let spawned = self.base.spawner.spawn(program, Input::Is(theirs), Enrolment::Later).await?;
        let process = Process::new(spawned.leader)?;
        let mut output = Output::new(spawned.stdout, spawned.stderr)?;
        let name = self.runner.name.clone();
        let source = Source::Runner { name: &name, pid: process.pid() };
        let served = self.serve(&socket, &process, &mut output, &source).await;
        drop(socket);
        process.kill();
        let exit = process.reap().await.describe();
        let stderr = output.finish(&source);
        served.map_err(|error| io::Error::other(format!("{error}: {exit}; {stderr}")))
    }

    async fn serve(
        &mut self,
        socket: &UnixDatagram,
        process: &Process,
        output: &mut Output,
        source: &Source<'_>,
    ) -> io::Result<()> {
        let mut number = 0;
        let mut pending: Option<Pending> = None;
        let mut packet = [0; MAX_ANSWER];
        loop {
            let is_free = pending.is_none() && *self.stage.borrow() == Stage::Ready;
            let deadline = pending.as_ref().map(|pending| pending.deadline);
            tokio::select! {
                // A child that nobody has heard of yet would be left.
                () = self.closing.cancelled(), if pending.is_none() => return Ok(()),
                () = process.ended() => return Err(io::Error::other("it has ended")),
                _ = output.pump(source) => {}
                bytes = socket.recv(&mut packet) => match bytes? {
                    0 => return Err(io::Error::other("it has closed its socket")),
                    bytes => {
                        let answer: Answer = serde_json::from_slice(&packet[..bytes])?;
                        if answer.ready {
                            self.stage.send_replace(Stage::Ready);
                        } else if let Some(asked) = pending.take_if(|asked| asked.number == answer.fork) {
                            let leader = self.leader(answer);
                            // Nobody waits any more when the launch was given up: then it ends.
                            let _ = asked.answer.send(leader);
                        } else {
                            return Err(io::Error::other("it answers what was not asked"));
                        }
                    }
                },
                request = self.queue.recv(), if is_free => {
                    let Some(Request { env, stdio, answer }) = request else { return Ok(()) };
                    number += 1;
                    match ask(socket, number, &env, &stdio) {
                        Ok(()) => {
                            let deadline = Instant::now() + ANSWER_WITHIN;
                            pending = Some(Pending { number, answer, deadline });
                        }
                        Err(error) => {
                            let _ = answer.send(Err(error));
                        }
                    }
                }
                () = until(deadline) => return Err(io::Error::other("a fork takes too long")),
            }
        }
    }

    fn leader(&self, answer: Answer) -> io::Result<Leader> {
        if let Some(error) = answer.error {
            return Err(io::Error::other(error));
        }
        let pid = Pid::from_raw(answer.pid).filter(|_| answer.pid > 0);
        Leader::adopt(pid.ok_or_else(|| io::Error::other("it says no pid"))?, &self.base.fence)
    }
}

/// Asks for a fork. The child's ends of its pipes go along.
fn ask(socket: &UnixDatagram, fork: u64, env: &BTreeMap<String, String>, stdio: &Stdio) -> io::Result<()> {
    let host_pid = getpid().as_raw_pid();
    let packet = serde_json::to_vec(&Fork { fork, env, host_pid })?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut descriptors = SendAncillaryBuffer::new(&mut space);
    let stdio = stdio.borrow();
    if !descriptors.push(SendAncillaryMessage::ScmRights(&stdio)) {
        return Err(io::Error::other("no room for descriptors"));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(&packet)], &mut descriptors, flags)?;
    Ok(())
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let read = |text: &str| serde_json::from_str::<Answer>(text).ok();
        let none = Answer::default;
        assert_eq!(
            read(r#"{"ready": true, "pid": 3, "more": []}"#),
            Some(Answer { ready: true, pid: 3, ..none() })
        );
        assert_eq!(read(r#"{"fork": 7, "pid": 42}"#), Some(Answer { fork: 7, pid: 42, ..none() }));
        let error = Some("threads".to_owned());
        assert_eq!(read(r#"{"fork": 7, "error": "threads"}"#), Some(Answer { fork: 7, error, ..none() }));
        for wrong in ["", r#"{"fork": -1}"#, r#"{"pid": "x"}"#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
