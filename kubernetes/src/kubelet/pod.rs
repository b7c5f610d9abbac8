//! The life of one pod: its volumes, its container, again and again, and its end.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{Client, ResourceExt};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Ground,
    container::{Process, Recipe, log_of},
    environment,
    probes::{Probes, Verdict},
    status::{Reporter, Status},
    volumes::{Mount, Volumes},
};
use crate::{names, network::Place};

/// Time between two attempts to get at what a pod needs.
const AGAIN: Duration = Duration::from_secs(1);

/// How often ConfigMaps and Secrets are looked at; the kubelet takes a minute.
const REFRESH: Duration = Duration::from_secs(2);

/// The pauses before a container is started again; the kubelet's are ten times as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the API server said of a pod last.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) pod: Arc<Pod>,
    /// It is not there any more.
    pub(super) gone: bool,
}

/// Why a container is not to run on.
enum Ending {
    /// It has ended by itself, with this code.
    Exited(i32),
    /// A probe had it ended.
    Probed(i32),
    /// The pod is deleted, and the container has ended with this code.
    Deleted(i32),
}

/// Lives a pod's life until it is gone.
pub(super) async fn live(mut told: watch::Receiver<Told>, client: Client, ground: Arc<Ground>) {
    let pod = Arc::clone(&told.borrow_and_update().pod);
    let reporter = Reporter::new(client.clone(), &pod);
    if let Err(error) = Life::lead(&pod, &mut told, client, &ground, &reporter).await {
        tracing::error!(pod = pod.name_any(), "{error:#}");
        let message = format!("{error:#}");
        reporter.tell(serde_json::json!({"status": {
            "phase": "Failed", "reason": "NotCoveredByTestKubelet", "message": message,
        }}));
        deletion(&mut told).await;
    }
    reporter.conclude().await;
}

/// What a life is led with.
struct Life<'a> {
    pod: &'a Pod,
    container: &'a Container,
    client: Client,
    ground: &'a Ground,
    reporter: &'a Reporter,
    folder: PathBuf,
    place: Place,
    mounts: Vec<Mount>,
    status: Status,
}

impl Life<'_> {
    /// From the first volume to the last process.
    async fn lead(
        pod: &Pod,
        told: &mut watch::Receiver<Told>,
        client: Client,
        ground: &Ground,
        reporter: &Reporter,
    ) -> Result<()> {
        let container = only_container(pod)?;
        let mut status = Status::new(pod, container);
        reporter.tell(status.patch());
        let folder = ground.folder.join(format!("{}-{}", pod.name_any(), pod.uid().unwrap_or_default()));
        fs::create_dir_all(&folder)?;
        let place = ground.network.place()?;
        status.address = Some(IpAddr::V4(place.address));
        let volumes = Volumes::new(pod.clone(), client.clone(), folder.join("volumes"));
        let mounts = loop {
            match volumes.prepare(container).await {
                Ok(mounts) => break mounts,
                // It may be there later.
                Err(error) => {
                    status.is_waiting("ContainerCreating", &format!("{error:#}"));
                    reporter.tell(status.patch());
                }
            }
            tokio::select! {
                () = sleep(AGAIN) => {}
                _ = deletion(told) => return Ok(()),
            }
        };
        let _refreshing = AbortOnDropHandle::new(tokio::spawn(refresh(volumes)));
        let hosts = folder.join("hosts");
        let address = IpAddr::V4(place.address);
        let write = {
            let (pod, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
            move |names: &names::Names, path: &Path| {
                write(path, &names::hosts(names, &pod, &namespace, address))
            }
        };
        let mut known = ground.names.clone();
        write(&known.borrow_and_update(), &hosts)?;
        let path = hosts.clone();
        let _naming = AbortOnDropHandle::new(tokio::spawn(async move {
            while known.changed().await.is_ok() {
                if let Err(error) = write(&known.borrow_and_update(), &path) {
                    tracing::warn!(%error, "a pod is not told of a name");
                }
            }
        }));
        Life { pod, container, client, ground, reporter, folder, place, mounts, status }.run(told).await
    }

    /// Starts the container as often as it has to be.
    async fn run(mut self, told: &mut watch::Receiver<Told>) -> Result<()> {
        let policy = self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.clone());
        let policy = policy.unwrap_or_else(|| "Always".to_owned());
        let mut pause = FIRST_PAUSE;
        loop {
            match self.start().await {
                Err(error) => self.status.is_waiting("CreateContainerError", &format!("{error:#}")),
                Ok(process) => {
                    let began = Instant::now();
                    let (code, probed) = match self.supervise(process, told).await? {
                        Ending::Deleted(code) => {
                            self.status.has_ended(code);
                            self.status.phase = if code == 0 { "Succeeded" } else { "Failed" };
                            self.tell();
                            return Ok(());
                        }
                        Ending::Exited(code) => (code, false),
                        Ending::Probed(code) => (code, true),
                    };
                    self.status.has_ended(code);
                    let again = probed || policy == "Always" || (policy == "OnFailure" && code != 0);
                    if !again || (probed && policy == "Never") {
                        self.status.phase = if code == 0 { "Succeeded" } else { "Failed" };
                        self.tell();
                        deletion(told).await;
                        return Ok(());
                    }
                    if began.elapsed() > 2 * LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    self.status.is_waiting("CrashLoopBackOff", "");
                    self.status.restarts += 1;
                }
            }
            self.tell();
            tokio::select! {
                () = sleep(pause) => pause = LONGEST_PAUSE.min(pause * 2),
                _ = deletion(told) => return Ok(()),
            }
        }
    }

    async fn start(&mut self) -> Result<Process> {
        let Self { pod, container, client, place, .. } = self;
        let address = IpAddr::V4(place.address);
        let variables = environment::resolve(pod, container, address, client).await?;
        let image = self.ground.images.find(container.image.as_deref().unwrap_or_default())?;
        let recipe = Recipe {
            pod,
            container,
            image: &image,
            variables: &variables,
            mounts: &self.mounts,
            network: &place.file(),
            hosts: &self.folder.join("hosts"),
            log: &log_of(&self.folder, &container.name),
        };
        let process = recipe.start().await?;
        self.ground.know(self.pod, process.id());
        self.status.is_running();
        self.tell();
        Ok(process)
    }

    /// Until the container has ended, and why.
    async fn supervise(&mut self, mut process: Process, told: &mut watch::Receiver<Told>) -> Result<Ending> {
        let probes = Probes::new(self.container, IpAddr::V4(self.place.address), &process)?;
        let (verdict, mut verdicts) = mpsc::channel(8);
        let _probing = AbortOnDropHandle::new(tokio::spawn(probes.run(verdict)));
        let (grace, deleted) = loop {
            tokio::select! {
                code = process.ended() => return Ok(Ending::Exited(code)),
                grace = deletion(told) => break (grace, true),
                Some(verdict) = verdicts.recv() => match self.judge(verdict) {
                    Some(grace) => break (grace, false),
                    None => self.tell(),
                },
            }
        };
        let code = self.end(&mut process, grace, told, &mut verdicts).await;
        Ok(if deleted { Ending::Deleted(code) } else { Ending::Probed(code) })
    }

    /// Answers how long the container may take to end, if it has to.
    fn judge(&mut self, verdict: Verdict) -> Option<Duration> {
        match verdict {
            Verdict::Started => self.status.started = true,
            Verdict::Ready(ready) => self.status.ready = ready,
            Verdict::Failed { why, grace } => {
                tracing::info!(pod = self.pod.name_any(), why, "a container has to end");
                let of_pod = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
                let of_pod = Duration::from_secs(of_pod.and_then(|of| of.try_into().ok()).unwrap_or(30));
                return Some(grace.unwrap_or(of_pod));
            }
        }
        None
    }

    /// The hook, SIGTERM, and SIGKILL when the time is over, or when the pod is gone.
    async fn end(
        &mut self,
        process: &mut Process,
        grace: Duration,
        told: &mut watch::Receiver<Told>,
        verdicts: &mut mpsc::Receiver<Verdict>,
    ) -> i32 {
        let until = Instant::now() + grace;
        if !grace.is_zero() {
            let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
            if let Some(exec) = hook.and_then(|hook| hook.exec.as_ref()) {
                let hook = process.exec(exec.command.as_deref().unwrap_or_default());
                if let Ok(Err(error)) = timeout_at(until, hook.run()).await {
                    tracing::warn!(%error, pod = self.pod.name_any(), "the preStop hook failed");
                }
            }
            process.terminate();
            loop {
                tokio::select! {
                    code = process.ended() => return code,
                    () = tokio::time::sleep_until(until) => break,
                    () = gone(told) => break,
                    // Whether it is ready is told to the end.
                    Some(verdict) = verdicts.recv() => {
                        self.judge(verdict);
                        self.tell();
                    }
                }
            }
        }
        process.kill();
        process.ended().await
    }

    fn tell(&mut self) {
        self.reporter.tell(self.status.patch());
    }
}

/// Waits until the pod is deleted; answers how long its container may take to end.
async fn deletion(told: &mut watch::Receiver<Told>) -> Duration {
    let told = told.wait_for(|told| told.gone || told.pod.metadata.deletion_timestamp.is_some()).await;
    // The kubelet ends: its pods end with it.
    let Ok(told) = told else { return Duration::ZERO };
    if told.gone {
        return Duration::ZERO;
    }
    let seconds = told.pod.metadata.deletion_grace_period_seconds.and_then(|of| of.try_into().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

async fn gone(told: &mut watch::Receiver<Told>) {
    let _ = told.wait_for(|told| told.gone).await;
}

async fn refresh(volumes: Volumes) {
    loop {
        sleep(REFRESH).await;
        if let Err(error) = volumes.refresh().await {
            tracing::debug!("volumes are as they were: {error:#}");
        }
    }
}

/// Writes over a file that is in use, without a moment at which it is empty.
fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    let before = usize::try_from(file.seek(SeekFrom::End(0))?)?;
    file.rewind()?;
    let padding = "\n".repeat(before.saturating_sub(text.len()));
    Ok(file.write_all(format!("{text}{padding}").as_bytes())?)
}

/// The container of a pod that has what is covered here.
fn only_container(pod: &Pod) -> Result<&Container> {
    let spec = pod.spec.as_ref().context("the pod has no spec")?;
    ensure!(spec.init_containers.as_ref().is_none_or(Vec::is_empty), "init containers are not covered");
    ensure!(spec.host_network != Some(true), "the host's network is not covered");
    match &*spec.containers {
        [container] => Ok(container),
        _ => bail!("pods of several containers are not covered"),
    }
}
