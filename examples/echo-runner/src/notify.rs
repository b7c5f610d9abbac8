//! The two words of sd_notify that this runner says.

use std::{env, io, os::unix::net::UnixDatagram, time::Duration};

/// Tells whoever started this process, if they listen.
pub(crate) fn notify(message: &str) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    UnixDatagram::unbound()?.send_to(message.as_bytes(), path).map(drop)
}

/// How often to say `WATCHDOG=1`: twice as often as asked for.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros / 2))
}
