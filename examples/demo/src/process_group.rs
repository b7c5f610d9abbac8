//! The demo's own process group, and killing an agent.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal, setpgid};

/// Puts the demo and its hosts into a process group of their own. Ctrl-C on a
/// terminal no longer reaches it there, so it ends with whoever started it.
pub(crate) fn lead() {
    // Refused to a process that leads a session, which is as good.
    let _ = setpgid(None, None);
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
}

/// Sends SIGKILL.
pub(crate) fn kill(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("that is no process id")?;
    kill_process(pid, Signal::KILL).with_context(|| format!("cannot kill process {pid:?}"))
}
