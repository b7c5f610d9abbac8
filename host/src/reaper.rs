//! Reaps what the host inherits from its agents.
//!
//! The host is a subreaper: what an agent's process leaves behind becomes the host's
//! child. What stayed in the agent's process group is killed and reaped by the
//! supervisor. What left the group, as a daemon does, would stay a zombie.
//!
//! The kernel keeps children by thread. An inherited child is one of the process's
//! main thread, an agent's process one of the supervisor's thread that started it. So
//! the main thread, when it asks for its own children alone, reaps all that is
//! inherited and can never take an agent's exit from the supervisor.

use rustix::{
    io::Errno,
    process::{WaitId, WaitIdOptions, waitid},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, warn};

/// Only children of the calling thread. `rustix` has no name for it.
const OWN: WaitIdOptions = WaitIdOptions::from_bits_retain(libc::__WNOTHREAD.cast_unsigned());

/// Reaps inherited children as they end, for ever. To be polled on the main thread,
/// as `Runtime::block_on` does there with its own future.
pub(crate) async fn reap_inherited() {
    match signal(SignalKind::child()) {
        Ok(mut ended) => {
            while ended.recv().await.is_some() {
                reap();
            }
        }
        Err(error) => warn!(%error, "inherited processes stay zombies"),
    }
    std::future::pending().await
}

fn reap() {
    loop {
        match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | OWN) {
            Ok(Some(_)) => debug!("reaped a process that an agent left behind"),
            Err(Errno::INTR) => {}
            // None has ended, or there are none.
            Ok(None) | Err(_) => return,
        }
    }
}
