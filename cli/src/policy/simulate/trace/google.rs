//! `task_events` of Google's public cluster trace of 2011: what happened to each task.
//!
//! *Google cluster-usage traces: format + schema* (Reiss, Wilkes, Hellerstein) names the
//! columns, as the files do not. A task is an agent, from its submission on and for as long
//! as it ran; one that was submitted again is another one. Its job is the guild, its
//! scheduling class the class. CPU and memory are shares of the largest machine, here of
//! the largest host. A task that never ran is left out; one that still ran in the end
//! stays until then.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::bail;

use super::{
    Read, Roll, Size,
    rows::{self, Row},
};

pub(super) const COLUMNS: usize = 13;
const TIME: usize = 0;
const JOB: usize = 2;
const TASK: usize = 3;
const EVENT: usize = 5;
const CLASS: usize = 7;
const CPU: usize = 9;
const MEMORY: usize = 10;

/// The time of what happened after the trace's end.
const AFTER_THE_END: u64 = i64::MAX as u64;

/// A task that has not ended.
struct Task {
    submitted: Duration,
    scheduled: Option<Duration>,
    class: String,
    size: Size,
}

#[derive(Default)]
struct Cluster {
    /// Those that have not ended, by job and index.
    tasks: BTreeMap<(u64, u64), Task>,
    /// How often each was submitted.
    submitted: BTreeMap<(u64, u64), u32>,
    /// The time of the last event.
    last: Duration,
    roll: Roll,
}

pub(super) fn read(file: &Path, largest: Size) -> anyhow::Result<Roll> {
    let mut cluster = Cluster::default();
    rows::each(file, |row| cluster.happens(row, largest))?;
    for (id, task) in std::mem::take(&mut cluster.tasks) {
        cluster.ends(id, &task, cluster.last)?;
    }
    Ok(cluster.roll)
}

impl Cluster {
    fn happens(&mut self, row: &Row<'_>, largest: Size) -> anyhow::Result<()> {
        row.must_have(COLUMNS)?;
        let now = match row.whole(TIME, "time")? {
            AFTER_THE_END => self.last,
            micros => Duration::from_micros(micros),
        };
        self.last = self.last.max(now);
        let id = (row.whole(JOB, "job ID")?, row.whole(TASK, "task index")?);
        match row.text(EVENT) {
            "0" => drop(self.tasks.insert(id, task(row, now, largest)?)),
            // Recorded from here on, it was submitted before.
            "1" => match self.tasks.get_mut(&id) {
                Some(task) => task.scheduled = Some(now),
                None => {
                    drop(self.tasks.insert(id, Task { scheduled: Some(now), ..task(row, now, largest)? }));
                }
            },
            // Evicted, failed, finished, killed, lost.
            "2" | "3" | "4" | "5" | "6" => {
                if let Some(task) = self.tasks.remove(&id) {
                    self.ends(id, &task, now)?;
                }
            }
            // Another request while it waits, or runs.
            "7" | "8" => {}
            other => bail!("event type: {other:?} is not from 0 to 8"),
        }
        Ok(())
    }

    fn ends(&mut self, id: (u64, u64), task: &Task, now: Duration) -> anyhow::Result<()> {
        let Some(scheduled) = task.scheduled else { return Ok(()) };
        let times = self.submitted.entry(id).or_default();
        *times += 1;
        let (job, index) = id;
        let agent = match *times {
            1 => index.to_string(),
            times => format!("{index}-{times}"),
        };
        self.roll.add(Read {
            guild: &job.to_string(),
            agent: &agent,
            class: &task.class,
            arrives: task.submitted,
            stays: now.saturating_sub(scheduled),
            size: task.size,
        })
    }
}

fn task(row: &Row<'_>, submitted: Duration, largest: Size) -> anyhow::Result<Task> {
    let share = |at, name, of: u64| match row.text(at) {
        "" => Ok(0),
        _ => Ok::<_, anyhow::Error>((row.number(at, name)? * of as f64).round() as u64),
    };
    Ok(Task {
        submitted,
        scheduled: None,
        class: format!("class-{}", row.text(CLASS)),
        size: Size {
            cpu_millis: share(CPU, "CPU request", largest.cpu_millis)?,
            memory: share(MEMORY, "memory request", largest.memory)?,
        },
    })
}
