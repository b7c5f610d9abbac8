//! How many agents a host starts in a second, against how many processes of the same
//! program `tokio::process` alone would start.
//!
//! Both sides start the same number of echo-runners, as many of them at once, write
//! the same kind of launch document to each, and wait for its `READY=1`. On one side
//! that is the whole way: the engine places, calls the host, the host claims the
//! identity in Redis, starts the process and has it recorded as running. On the other
//! it is a spawn, a write and a read in this process, with neither identity nor
//! supervision nor output, but on all cores. Both sides make their sockets in the same
//! folder for temporary files, and stopping is not timed.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use guildhall::{
    ids::{Epoch, HostId},
    launch::Launch,
};
use guildhall_host::launch_document;
use tokio::{
    io::AsyncWriteExt,
    net::UnixDatagram,
    process::{Child, Command},
};

use crate::{
    report::Row,
    stage::{CONCURRENCY, Stage},
    stats::in_turns,
    workload,
};

/// Agents that one round starts.
const AGENTS: usize = 192;

const ROUNDS: usize = 15;

/// Agents started a second on both sides, and their ratio.
pub(crate) async fn take() -> Result<Vec<Row>> {
    let stage = Stage::start(AGENTS).await?;
    let sockets = tempfile::Builder::new().prefix("guildhall-bare-").tempdir_in(stage.folder())?;
    let runner = echo_runner::binary()?;
    let rates = in_turns(
        ROUNDS,
        async |round| real(&stage, workload::launches(&format!("real-{round}"), AGENTS)?).await,
        async |round| {
            bare(&runner, sockets.path(), workload::launches(&format!("bare-{round}"), AGENTS)?).await
        },
    )
    .await?;
    stage.end().await?;
    Ok(vec![
        Row::new("start rate: by the engine, one host, Redis", rates.a(), "agents/s"),
        Row::new("start rate: bare tokio::process", rates.b(), "agents/s"),
        Row::new("start rate: engine / bare", rates.ratio(), "ratio").at_least(0.5),
    ])
}

async fn real(stage: &Stage, launches: Vec<Launch>) -> Result<f64> {
    let begun = Instant::now();
    let agents = stage.run(launches).await?;
    let rate = agents.len() as f64 / begun.elapsed().as_secs_f64();
    stage.stop(agents).await?;
    Ok(rate)
}

async fn bare(runner: &Path, sockets: &Path, launches: Vec<Launch>) -> Result<f64> {
    let host = HostId::new("bare")?;
    let begun = Instant::now();
    let children: Vec<_> = stream::iter(launches.iter().enumerate())
        .map(|(at, launch)| {
            let document = launch_document::render(launch, Epoch(1), &host);
            // A task each, so that every core spawns.
            tokio::spawn(spawn(runner.to_owned(), sockets.to_owned(), at, document))
        })
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    let rate = children.len() as f64 / begun.elapsed().as_secs_f64();
    for child in children {
        let mut child = child??;
        // The end of its standard input tells a runner to end, too.
        drop(child.stdin.take());
        ensure!(child.wait().await?.success());
    }
    Ok(rate)
}

/// Spawns one process and waits until it is ready.
async fn spawn(runner: PathBuf, sockets: PathBuf, at: usize, document: String) -> Result<Child> {
    let path = sockets.join(at.to_string());
    let socket = UnixDatagram::bind(&path)?;
    let mut child = Command::new(runner)
        .env_clear()
        .env("NOTIFY_SOCKET", &path)
        .env(echo_runner::DIR_VARIABLE, sockets)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let stdin = child.stdin.as_mut().context("no standard input")?;
    stdin.write_all((document + "\n").as_bytes()).await?;
    let mut said = [0; 256];
    let bytes = socket.recv(&mut said).await?;
    ensure!(said[..bytes].starts_with(b"READY=1"), "it said {:?}", said[..bytes].escape_ascii().to_string());
    std::fs::remove_file(path)?;
    Ok(child)
}
