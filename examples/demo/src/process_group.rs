//! The demo's own process group, and killing an agent.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use rustix::{
    process::{Pid, Signal, getpgrp, kill_process, setpgid},
    termios::{tcgetpgrp, tcsetpgrp},
};

/// Puts the demo and its hosts into a process group of their own. On a terminal it
/// takes the foreground along, so that Ctrl-C still reaches it.
pub(crate) fn lead() {
    let before = getpgrp();
    // Refused to a process that leads already, which is as good.
    if setpgid(None, None).is_err() {
        return;
    }
    let terminal = std::io::stdin();
    if terminal.is_terminal() && tcgetpgrp(&terminal) == Ok(before) {
        // As a background group it would be stopped for asking, if it did not block
        // or ignore the signal; the shell's own children do the same race safely
        // because the terminal's settings are not touched.
        let _ = tcsetpgrp(&terminal, getpgrp());
    }
}

/// Sends SIGKILL.
pub(crate) fn kill(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("that is no process id")?;
    kill_process(pid, Signal::KILL).with_context(|| format!("cannot kill process {pid:?}"))
}
