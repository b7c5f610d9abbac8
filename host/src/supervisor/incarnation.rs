//! One process of an agent with everything the host holds of it.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::Path,
    time::Duration,
};

use guildhall::{
    ids::{AgentKey, Epoch, HostId},
    launch::Launch,
};
use tokio::time::Instant;

use super::{
    Shared,
    notify::{Notice, NotifySocket},
    output::{Output, Source},
    process::{Exit, Input, Process},
    stdin::Stdin,
    vfork::Program,
};
use crate::{
    launch_document,
    runner::{Delivery, Runner},
};

/// What a process can do that its agent's task must know of.
#[derive(Debug)]
pub(super) enum Sign {
    /// It has ended, and waits to be reaped.
    Ended,
    /// It said something.
    Notice(Notice),
}

#[derive(Debug)]
pub(super) struct Incarnation {
    process: Process,
    stdin: Stdin,
    output: Output,
    notify: NotifySocket,
    spawned: Instant,
    ready: Option<Instant>,
}

impl Incarnation {
    /// Starts the process and hands it its launch document.
    pub(super) async fn start(
        shared: &Shared,
        runner: &Runner,
        launch: &Launch,
        epoch: Epoch,
    ) -> io::Result<Self> {
        let host = &shared.config.host;
        let spawned = Instant::now();
        let notify = NotifySocket::open(shared.runtime_dir.path(), shared.next_socket())?;
        let program = program(runner, launch, epoch, host, &shared.inherited, notify.path())?;
        let input = match runner.delivery {
            Delivery::Stdin => Input::Pipe,
            Delivery::Env => Input::Empty,
        };
        let process = shared.spawner.spawn(program, input).await?;
        let stdin = match process.stdin {
            Some(pipe) => Stdin::deliver(pipe, launch_document::render(launch, epoch, host) + "\n")?,
            None => Stdin::Closed,
        };
        let output = Output::new(process.stdout, process.stderr)?;
        Ok(Self { process: Process::new(process.leader)?, stdin, output, notify, spawned, ready: None })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for a sign of the process, and sees to its pipes meanwhile. Dropping
    /// the future loses nothing.
    pub(super) async fn sign(&mut self, source: &Source<'_>) -> Sign {
        loop {
            tokio::select! {
                () = self.process.ended() => return Sign::Ended,
                notice = self.notify.notice() => return Sign::Notice(notice),
                () = self.stdin.progress() => {}
                () = self.output.pump(source) => {}
            }
        }
    }

    /// Notes that it is ready. Answers with how long that took.
    pub(super) fn set_ready(&mut self) -> Duration {
        let now = Instant::now();
        self.ready = Some(now);
        now - self.spawned
    }

    /// Whether it said that it is ready before it ended.
    pub(super) fn was_ready(&self) -> bool {
        self.notify.was_ready()
    }

    /// How long it has been ready.
    pub(super) fn ready_for(&self) -> Duration {
        self.ready.map_or(Duration::ZERO, |ready| ready.elapsed())
    }

    pub(super) fn terminate(&self) {
        self.process.terminate();
    }

    pub(super) fn kill(&self) {
        self.process.kill();
    }

    /// Waits for its end and clears up behind it. Answers with how it ended, and the
    /// end of its standard error.
    pub(super) async fn finish(self, source: &Source<'_>) -> (Exit, String) {
        let exit = self.process.reap().await;
        (exit, self.output.finish(source))
    }
}

/// The environment is what the host passes on, then what the operator wrote, then
/// what the contract says; the last of one name counts.
fn program(
    runner: &Runner,
    launch: &Launch,
    epoch: Epoch,
    host: &HostId,
    inherited: &[(OsString, OsString)],
    notify: &Path,
) -> io::Result<Program> {
    let mut env = BTreeMap::new();
    env.extend(inherited.iter().map(|(name, value)| (name.as_os_str(), Cow::from(value))));
    env.extend(runner.env.iter().map(|(name, value)| {
        let value = OsString::from(value.fill(launch, epoch, host));
        (OsStr::new(name), Cow::from(value))
    }));
    let AgentKey { guild, agent } = &launch.key;
    let epoch = OsString::from(epoch.to_string());
    env.extend([
        (OsStr::new("GUILDHALL_HOST_ID"), Cow::from(OsStr::new(host.as_str()))),
        (OsStr::new("GUILDHALL_GUILD_ID"), Cow::from(OsStr::new(guild.as_str()))),
        (OsStr::new("GUILDHALL_AGENT_ID"), Cow::from(OsStr::new(agent.as_str()))),
        (OsStr::new("GUILDHALL_EPOCH"), Cow::from(epoch)),
        (OsStr::new("NOTIFY_SOCKET"), Cow::from(notify.as_os_str())),
    ]);
    if let Some(watchdog) = runner.watchdog {
        // No WATCHDOG_PID: it is optional, and not known before the fork.
        let micros = OsString::from(watchdog.as_micros().to_string());
        env.insert(OsStr::new("WATCHDOG_USEC"), Cow::from(micros));
    }
    let env = env.iter().map(|(name, value)| (*name, value.as_ref()));
    Program::new(&runner.command, &runner.args, env)
}
