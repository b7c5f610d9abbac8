//! What agents write to standard output and standard error.
//!
//! It is read as fast as it comes, so that no agent ever waits for its log; it
//! becomes `tracing` events (target `agent`), so much a second and no more; and the
//! end of standard error is kept, to be shown with the agent's last exit. An agent
//! that writes nothing costs no buffer.

use std::{io, os::fd::OwnedFd, time::Duration};

use guildhall::ids::{AgentKey, Epoch};
use rustix::io::Errno;
use tokio::{net::unix::pipe, time::Instant};

/// Longest line that is logged, bytes; the rest of a longer one is cut off.
const MAX_LINE: usize = 8 * 1024;

/// How much of the end of standard error is kept, bytes.
const TAIL: usize = 2 * 1024;

/// Read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// Read at most after the end of the process, bytes a stream: several full pipes,
/// in case a child that outlived its group goes on writing.
const AFTER_END: usize = 1024 * 1024;

/// What of one stream is logged: bytes a second, and bytes at once.
const LOG_RATE: f64 = 256.0 * 1024.0;
const LOG_BURST: f64 = 1024.0 * 1024.0;

/// What each line costs besides its bytes, as an event has fields.
const LINE_COST: usize = 64;

/// Both streams of one process.
#[derive(Debug)]
pub(super) struct Output {
    stdout: Stream,
    stderr: Stream,
    tail: Tail,
}

impl Output {
    pub(super) fn new(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            stdout: Stream::new("stdout", stdout)?,
            stderr: Stream::new("stderr", stderr)?,
            tail: Tail::default(),
        })
    }

    /// Looks for a text in what is written, until it was there once.
    pub(super) fn look_for(&mut self, text: &str) {
        self.stdout.sought = Some(Sought::new(text));
        self.stderr.sought = Some(Sought::new(text));
    }

    /// Waits for output and takes a bounded part of it; pending when both streams
    /// have ended. Answers whether what is looked for was in it. Dropping the future loses
    /// nothing.
    pub(super) async fn pump(&mut self, agent: &Source<'_>) -> bool {
        tokio::select! {
            () = self.stdout.readable() => self.stdout.take_chunk(agent, None),
            () = self.stderr.readable() => self.stderr.take_chunk(agent, Some(&mut self.tail)),
        }
        let found = [&self.stdout, &self.stderr].iter().any(|stream| stream.has_found());
        if found {
            self.stdout.sought = None;
            self.stderr.sought = None;
        }
        found
    }

    /// Takes what a process that has ended left in the pipes, without waiting for a
    /// child of it that may hold them open. Answers with the end of standard error.
    pub(super) fn finish(mut self, agent: &Source<'_>) -> String {
        self.stdout.finish(agent, None);
        self.stderr.finish(agent, Some(&mut self.tail));
        self.tail.text()
    }
}

/// Whose output it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Agent {
        key: &'a AgentKey,
        epoch: Epoch,
    },
    /// A process of a runner that is nobody's yet.
    Runner {
        name: &'a str,
        pid: u32,
    },
}

#[derive(Debug)]
struct Stream {
    name: &'static str,
    /// `None` after its end.
    pipe: Option<pipe::Receiver>,
    lines: Lines,
    sought: Option<Sought>,
}

impl Stream {
    fn new(name: &'static str, pipe: OwnedFd) -> io::Result<Self> {
        let pipe = Some(pipe::Receiver::from_owned_fd(pipe)?);
        Ok(Self { name, pipe, lines: Lines::new(Instant::now()), sought: None })
    }

    async fn readable(&self) {
        match &self.pipe {
            Some(pipe) if pipe.readable().await.is_ok() => {}
            _ => std::future::pending().await,
        }
    }

    fn has_found(&self) -> bool {
        self.sought.as_ref().is_some_and(|sought| sought.found)
    }

    fn take_chunk(&mut self, agent: &Source<'_>, tail: Option<&mut Tail>) {
        let Some(pipe) = &self.pipe else { return };
        let mut chunk = [0; CHUNK];
        match pipe.try_read(&mut chunk) {
            Ok(0) => {
                self.pipe = None;
                self.lines.end(&mut |event| event.log(agent, self.name));
            }
            Ok(bytes) => self.take(&chunk[..bytes], agent, tail),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.pipe = None,
        }
    }

    fn finish(&mut self, agent: &Source<'_>, mut tail: Option<&mut Tail>) {
        let Some(pipe) = self.pipe.take() else { return };
        let mut chunk = [0; CHUNK];
        let mut taken = 0;
        while taken < AFTER_END {
            // Not through the runtime, which may not yet know that there is something.
            match rustix::io::read(&pipe, &mut chunk) {
                Ok(0) => break,
                Ok(bytes) => {
                    self.take(&chunk[..bytes], agent, tail.as_deref_mut());
                    taken += bytes;
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.lines.end(&mut |event| event.log(agent, self.name));
    }

    fn take(&mut self, chunk: &[u8], agent: &Source<'_>, tail: Option<&mut Tail>) {
        if let Some(tail) = tail {
            tail.push(chunk);
        }
        if let Some(sought) = &mut self.sought {
            sought.look(chunk);
        }
        if tracing::enabled!(target: "agent", tracing::Level::INFO) {
            self.lines.push(chunk, Instant::now(), &mut |event| event.log(agent, self.name));
        }
    }
}

/// A text that is looked for in a stream.
#[derive(Debug)]
struct Sought {
    text: Vec<u8>,
    /// The end of what came, which may be the text's beginning.
    before: Vec<u8>,
    found: bool,
}

impl Sought {
    fn new(text: &str) -> Self {
        Self { text: text.into(), before: Vec::new(), found: false }
    }

    fn look(&mut self, chunk: &[u8]) {
        self.before.extend_from_slice(chunk);
        self.found |= self.before.windows(self.text.len()).any(|part| part == self.text);
        let may_begin = self.before.len().min(self.text.len() - 1);
        self.before.drain(..self.before.len() - may_begin);
    }
}

/// Something to log.
#[derive(Debug, PartialEq)]
enum LogEvent<'a> {
    Line(&'a [u8]),
    Dropped(u64),
}

impl LogEvent<'_> {
    fn log(&self, source: &Source<'_>, stream: &'static str) {
        match (self, source) {
            (Self::Line(line), Source::Agent { key: AgentKey { guild, agent }, epoch }) => {
                let line = String::from_utf8_lossy(line);
                tracing::info!(target: "agent", %guild, %agent, %epoch, stream, "{line}");
            }
            (Self::Line(line), Source::Runner { name, pid }) => {
                let line = String::from_utf8_lossy(line);
                tracing::info!(target: "agent", runner = name, pid, stream, "{line}");
            }
            (Self::Dropped(lines), Source::Agent { key: AgentKey { guild, agent }, epoch }) => {
                tracing::warn!(target: "agent", %guild, %agent, %epoch, stream, lines, "output dropped");
            }
            (Self::Dropped(lines), Source::Runner { name, pid }) => {
                tracing::warn!(target: "agent", runner = name, pid, stream, lines, "output dropped");
            }
        }
    }
}

/// Cuts a stream into lines, of which it passes on so many a second.
#[derive(Debug)]
struct Lines {
    /// The line that has begun, when its start was not in the present chunk.
    begun: Vec<u8>,
    /// Bytes that may be logged at `at`; grows up to the burst.
    allowance: f64,
    at: Instant,
    dropped: u64,
}

impl Lines {
    fn new(now: Instant) -> Self {
        Self { begun: Vec::new(), allowance: LOG_BURST, at: now, dropped: 0 }
    }

    fn push(&mut self, chunk: &[u8], now: Instant, log: &mut impl FnMut(LogEvent<'_>)) {
        let since = now.duration_since(self.at).min(Duration::from_secs(60));
        self.allowance = (self.allowance + since.as_secs_f64() * LOG_RATE).min(LOG_BURST);
        self.at = now;
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if self.allowance <= 0.0 {
                // Counting is all there is time for in a flood.
                let (lines, begun) =
                    rest.split_at(rest.iter().rposition(|byte| *byte == b'\n').unwrap_or(end) + 1);
                self.dropped += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
                self.begun = Vec::new();
                rest = begun;
                break;
            }
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            self.line(line, log);
            rest = after;
        }
        let room = MAX_LINE.saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&rest[..rest.len().min(room)]);
    }

    /// Logs what was begun, and what was dropped, when no more comes.
    fn end(&mut self, log: &mut impl FnMut(LogEvent<'_>)) {
        if !self.begun.is_empty() {
            self.line(b"", log);
        }
        self.report_dropped(log);
    }

    fn line(&mut self, end: &[u8], log: &mut impl FnMut(LogEvent<'_>)) {
        self.report_dropped(log);
        let begun = std::mem::take(&mut self.begun);
        let line = if begun.is_empty() {
            &end[..end.len().min(MAX_LINE)]
        } else {
            let room = MAX_LINE.saturating_sub(begun.len());
            &[&begun, &end[..end.len().min(room)]].concat()
        };
        self.allowance -= (line.len() + LINE_COST) as f64;
        log(LogEvent::Line(line.strip_suffix(b"\r").unwrap_or(line)));
    }

    fn report_dropped(&mut self, log: &mut impl FnMut(LogEvent<'_>)) {
        if self.dropped > 0 {
            log(LogEvent::Dropped(std::mem::take(&mut self.dropped)));
        }
    }
}

/// The last bytes of a stream.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    fn push(&mut self, chunk: &[u8]) {
        let kept = &chunk[chunk.len().saturating_sub(TAIL)..];
        let excess = (self.bytes.len() + kept.len()).saturating_sub(TAIL);
        self.cut |= excess > 0 || kept.len() < chunk.len();
        self.bytes.drain(..excess);
        self.bytes.extend_from_slice(kept);
    }

    /// Whole lines where there are any.
    fn text(&self) -> String {
        let whole = match self.bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) if self.cut && end + 1 < self.bytes.len() => &self.bytes[end + 1..],
            _ => &self.bytes,
        };
        String::from_utf8_lossy(whole).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn logged(lines: &mut Lines, chunk: &[u8], now: Instant) -> Vec<String> {
        let mut events = Vec::new();
        lines.push(chunk, now, &mut |event| events.push(show(event)));
        events
    }

    fn show(event: LogEvent<'_>) -> String {
        match event {
            LogEvent::Line(line) => String::from_utf8_lossy(line).into_owned(),
            LogEvent::Dropped(lines) => format!("<{lines} dropped>"),
        }
    }

    #[test]
    fn a_flood_is_dropped_counted_and_over_when_time_passes() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        let flood = b"0123456789\n".repeat(100_000);
        let first = logged(&mut lines, &flood, start).len();
        assert_eq!(first, (LOG_BURST / (10 + LINE_COST) as f64).ceil() as usize);
        assert!(logged(&mut lines, &flood, start).is_empty());
        let later = logged(&mut lines, b"calm\n", start + Duration::from_secs(1));
        assert_eq!(later, [format!("<{} dropped>", 200_000 - first), "calm".to_owned()]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        let mut events = Vec::new();
        for _ in 0..100 {
            events.extend(logged(&mut lines, &[b'x'; 1000], start));
        }
        assert!(lines.begun.capacity() <= 2 * MAX_LINE);
        events.extend(logged(&mut lines, b"\nnext\r\nrest", start));
        lines.end(&mut |event| events.push(show(event)));
        assert_eq!(events, ["x".repeat(MAX_LINE), "next".to_owned(), "rest".to_owned()]);
    }

    proptest! {
        #[test]
        fn a_text_is_found_wherever_the_chunks_end(
            text in "[ab]{1,4}", written in "[ab]{0,40}", size in 1usize..10
        ) {
            let mut sought = Sought::new(&text);
            written.as_bytes().chunks(size).for_each(|chunk| sought.look(chunk));
            prop_assert_eq!(sought.found, written.contains(&text));
            prop_assert!(sought.before.len() < text.len());
        }

        #[test]
        fn chunks_do_not_matter(text in "[ab\n]{0,200}", sizes in prop::collection::vec(1usize..20, 1..20)) {
            let start = Instant::now();
            let (mut lines, mut tail, mut events) = (Lines::new(start), Tail::default(), Vec::new());
            let mut rest = text.as_bytes();
            for size in sizes.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, after) = rest.split_at(rest.len().min(*size));
                events.extend(logged(&mut lines, chunk, start));
                tail.push(chunk);
                rest = after;
            }
            lines.end(&mut |event| events.push(show(event)));
            let wanted: Vec<_> = text.lines().map(str::to_owned).collect();
            prop_assert_eq!(events, wanted);
            prop_assert_eq!(tail.text(), text.trim_end());
        }

        #[test]
        fn the_tail_is_the_end(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..8)) {
            let mut tail = Tail::default();
            chunks.iter().for_each(|chunk| tail.push(chunk));
            let all = chunks.concat();
            prop_assert_eq!(&tail.bytes[..], &all[all.len().saturating_sub(TAIL)..]);
            prop_assert_eq!(tail.cut, all.len() > TAIL);
        }
    }
}
