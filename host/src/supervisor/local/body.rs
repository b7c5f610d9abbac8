//! A process with everything the host holds of it: before it is an agent's, and after.

use std::{io, os::fd::OwnedFd};

use async_trait::async_trait;

use super::{
    super::{
        incarnation::{Body, Sign},
        notify::{Notice, NotifySocket},
        output::{Output, Source},
    },
    process::{Exit, Leader, Process},
    stdin::Stdin,
};

/// A process that waits for a launch. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Idle {
    process: Process,
    stdin: OwnedFd,
    output: Output,
    notify: NotifySocket,
}

impl Idle {
    pub(super) fn new(
        leader: Leader,
        stdin: OwnedFd,
        output: Output,
        notify: NotifySocket,
    ) -> io::Result<Self> {
        Ok(Self { process: Process::new(leader)?, stdin, output, notify })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Makes it the agent that the document says, once the fence knows of it.
    pub(super) async fn launch(self, document: String) -> io::Result<LocalBody> {
        let Self { process, stdin, output, notify } = self;
        if let Err(error) = process.enrol() {
            drop(stdin);
            process.kill();
            process.reap().await;
            return Err(error);
        }
        Ok(LocalBody { process, stdin: Stdin::deliver(stdin, document)?, output, notify })
    }

    /// Waits for a sign of it, and logs what it writes meanwhile. Dropping the future
    /// loses nothing.
    pub(super) async fn sign(&mut self, source: &Source<'_>) -> Sign {
        loop {
            tokio::select! {
                () = self.process.ended() => return Sign::Ended,
                notice = self.notify.notice() => return Sign::Notice(notice),
                _ = self.output.pump(source) => {}
            }
        }
    }

    /// Ends it. Answers with how it ended, and the end of its standard error.
    pub(super) async fn end(self, source: &Source<'_>) -> (Exit, String) {
        self.process.kill();
        let exit = self.process.reap().await;
        (exit, self.output.finish(source))
    }
}

/// A process that is an agent's.
pub(super) struct LocalBody {
    pub(super) process: Process,
    pub(super) stdin: Stdin,
    pub(super) output: Output,
    pub(super) notify: NotifySocket,
}

#[async_trait]
impl Body for LocalBody {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    async fn sign(&mut self, source: &Source<'_>) -> Sign {
        loop {
            tokio::select! {
                () = self.process.ended() => return Sign::Ended,
                notice = self.notify.notice() => return Sign::Notice(notice),
                () = self.stdin.progress() => {}
                is_ready = self.output.pump(source) => {
                    if is_ready {
                        return Sign::Notice(Notice { ready: true, ..Notice::default() });
                    }
                }
            }
        }
    }

    fn was_ready(&self) -> bool {
        self.notify.was_ready()
    }

    fn terminate(&self) {
        self.process.terminate();
    }

    fn kill(&self) {
        self.process.kill();
    }

    async fn finish(self: Box<Self>, source: &Source<'_>) -> (Exit, String) {
        let Self { process, output, .. } = *self;
        let exit = process.reap().await;
        (exit, output.finish(source))
    }
}
