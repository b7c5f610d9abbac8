//! A runner table whose file changes while the host runs.

use std::{path::PathBuf, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::RunnerTable;
use crate::supervisor::Supervisor;

/// How often the file is read.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Has new launches follow the file. One that cannot be used leaves the last in force, and
/// agents that run keep the runner that they were launched with.
pub(crate) async fn follow(file: PathBuf, supervisor: Supervisor, ending: CancellationToken) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ending.cancelled() => return,
        }
        let Ok(text) = tokio::fs::read_to_string(&file).await else { continue };
        let before = last.replace(text.clone());
        if before.is_none_or(|before| before == text) {
            continue;
        }
        match RunnerTable::parse(&text) {
            Ok(table) => {
                info!(file = %file.display(), runners = ?table.names(), "the runner table has changed");
                supervisor.set_runners(table);
            }
            Err(error) => {
                warn!(file = %file.display(), %error, "the runner table has changed and cannot be used; the last one is");
            }
        }
    }
}
