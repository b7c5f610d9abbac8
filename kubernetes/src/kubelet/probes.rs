//! Probes: whether a container has started, is ready, and lives.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
};
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::container::{Exec, Process};

/// What came of the probes of one run of a container.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It has started.
    Started,
    /// Whether it is ready, which is another than before.
    Ready(bool),
    /// It is to be ended, and started again.
    Failed {
        /// Which probe said so, and why.
        why: String,
        /// How long it may take to end, if the probe says so.
        grace: Option<Duration>,
    },
}

/// The probes of a container that runs.
#[derive(Debug)]
pub(super) struct Probes {
    startup: Option<Prober>,
    readiness: Option<Prober>,
    liveness: Option<Prober>,
}

#[derive(Debug)]
struct Prober {
    probe: Probe,
    question: Question,
}

#[derive(Debug)]
enum Question {
    Grpc { address: SocketAddr, service: String },
    Tcp(SocketAddr),
    Exec(Exec),
}

impl Probes {
    /// Those of a container at this address.
    pub(super) fn new(container: &Container, address: IpAddr, process: &Process) -> Result<Self> {
        let prober = |probe: &Option<Probe>| -> Result<Option<Prober>> {
            let Some(probe) = probe else { return Ok(None) };
            let question = question(probe, container, address, process)?;
            Ok(Some(Prober { probe: probe.clone(), question }))
        };
        Ok(Self {
            startup: prober(&container.startup_probe)?,
            readiness: prober(&container.readiness_probe)?,
            liveness: prober(&container.liveness_probe)?,
        })
    }

    /// Asks until the container is to be ended, or nobody listens any more.
    pub(super) async fn run(self, verdicts: mpsc::Sender<Verdict>) {
        if let Some(startup) = &self.startup
            && let Err(why) = startup.until_it_succeeds().await
        {
            let grace = startup.grace();
            let _ =
                verdicts.send(Verdict::Failed { why: format!("the startup probe: {why:#}"), grace }).await;
            return;
        }
        if verdicts.send(Verdict::Started).await.is_err() {
            return;
        }
        let (ready, alive) = (verdicts.clone(), verdicts);
        let readiness = async {
            match &self.readiness {
                Some(prober) => prober.tell_of_readiness(ready).await,
                None => drop(ready.send(Verdict::Ready(true)).await),
            }
        };
        let liveness = async {
            let Some(prober) = &self.liveness else { return };
            let why = prober.until_it_fails().await;
            let grace = prober.grace();
            let _ = alive.send(Verdict::Failed { why: format!("the liveness probe: {why:#}"), grace }).await;
        };
        tokio::join!(readiness, liveness);
    }
}

impl Prober {
    async fn until_it_succeeds(&self) -> Result<()> {
        let mut failures = 0;
        sleep(self.delay()).await;
        loop {
            match self.ask().await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    failures += 1;
                    if failures >= self.failures() {
                        return Err(error);
                    }
                }
            }
            sleep(self.period()).await;
        }
    }

    async fn until_it_fails(&self) -> anyhow::Error {
        let mut failures = 0;
        sleep(self.delay()).await;
        loop {
            match self.ask().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if failures >= self.failures() {
                        return error;
                    }
                }
            }
            sleep(self.period()).await;
        }
    }

    async fn tell_of_readiness(&self, verdicts: mpsc::Sender<Verdict>) {
        let successes_needed = self.probe.success_threshold.unwrap_or(1);
        let (mut ready, mut failures, mut successes) = (false, 0, 0);
        sleep(self.delay()).await;
        loop {
            match self.ask().await {
                Ok(()) => (successes, failures) = (successes + 1, 0),
                Err(_) => (successes, failures) = (0, failures + 1),
            }
            let now = if ready { failures < self.failures() } else { successes >= successes_needed };
            if now != ready && verdicts.send(Verdict::Ready(now)).await.is_err() {
                return;
            }
            ready = now;
            sleep(self.period()).await;
        }
    }

    async fn ask(&self) -> Result<()> {
        let limit = seconds(self.probe.timeout_seconds, 1);
        let asking = async {
            match &self.question {
                Question::Grpc { address, service } => ask_health(*address, service).await,
                Question::Tcp(address) => {
                    TcpStream::connect(address).await?;
                    Ok(())
                }
                Question::Exec(exec) => exec.run().await,
            }
        };
        timeout(limit, asking).await.with_context(|| format!("there was no answer in {limit:?}"))?
    }

    fn delay(&self) -> Duration {
        seconds(self.probe.initial_delay_seconds, 0)
    }

    fn period(&self) -> Duration {
        seconds(self.probe.period_seconds, 10)
    }

    fn failures(&self) -> i32 {
        self.probe.failure_threshold.unwrap_or(3)
    }

    fn grace(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.probe.termination_grace_period_seconds?.try_into().ok()?))
    }
}

fn question(probe: &Probe, container: &Container, address: IpAddr, process: &Process) -> Result<Question> {
    if let Some(grpc) = &probe.grpc {
        let address = SocketAddr::new(address, grpc.port.try_into()?);
        Ok(Question::Grpc { address, service: grpc.service.clone().unwrap_or_default() })
    } else if let Some(tcp) = &probe.tcp_socket {
        ensure!(tcp.host.is_none(), "a probe of another host is not covered");
        Ok(Question::Tcp(SocketAddr::new(address, port(&tcp.port, container)?)))
    } else if let Some(exec) = &probe.exec {
        Ok(Question::Exec(process.exec(exec.command.as_deref().unwrap_or_default())))
    } else {
        bail!("a probe of {} is of a kind that is not covered", container.name)
    }
}

/// A port by its number, or by its name in the container.
fn port(port: &IntOrString, container: &Container) -> Result<u16> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
        }
    };
    Ok(number.with_context(|| format!("{} has no port of that name", container.name))?.try_into()?)
}

async fn ask_health(address: SocketAddr, service: &str) -> Result<()> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let status = HealthClient::new(channel).check(request).await?.into_inner().status();
    ensure!(status == ServingStatus::Serving, "it says {}", status.as_str_name());
    Ok(())
}

fn seconds(given: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(given.and_then(|given| given.try_into().ok()).unwrap_or(default))
}
