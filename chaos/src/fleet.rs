//! The hosts: an `agent-host` process each, in a namespace of its own, with a small disk
//! for its state and a clock that can be set.
//!
//! A host that ends without being told to is started again, as Kubernetes would.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    network::Place,
    planted::Bug,
    program::{Program, ballast, children_with, fill, processes_with, send},
    sandbox::small_disk,
};

/// The port of each host's service.
const PORT: u16 = 50051;
/// Time between two looks at whether a host has ended.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// A host that was told to end has this long; see `DRAIN_TIMEOUT` below.
const END_WITHIN: Duration = Duration::from_secs(15);
/// A host that starts is waited for this long.
const READY_WITHIN: Duration = Duration::from_secs(10);
const DISK_MEGABYTES: u32 = 4;

/// What all hosts of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The `agent-host` to run.
    pub(crate) program: PathBuf,
    /// The registry.
    pub(crate) redis_url: String,
    /// Servers besides the master that a write must have reached.
    pub(crate) redis_replicas: u8,
    /// How long a lease is.
    pub(crate) lease: Duration,
    /// How long agents go on while the whole registry is away.
    pub(crate) outage_patience: Duration,
    /// Where agents testify.
    pub(crate) witness_dir: PathBuf,
    /// A bug to switch on, if the program was built with them.
    pub(crate) planted: Option<Bug>,
}

/// All hosts of a run.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    hosts: Arc<Vec<Mutex<HostProcess>>>,
}

#[derive(Debug)]
struct HostProcess {
    id: String,
    place: Place,
    program: Program,
    disk: PathBuf,
    /// The file that says how far the host's clock is off, if it can be set.
    clock: Option<PathBuf>,
    /// Somebody wants it to be down.
    down: bool,
    /// How often it ended without being told to.
    ended_by_itself: u32,
}

impl Fleet {
    /// Where so many hosts are to be.
    pub(crate) fn places(hosts: usize) -> Vec<Place> {
        (1..=hosts).map(|n| Place::new(format!("h{n}"), u8::try_from(n).unwrap_or(u8::MAX))).collect()
    }

    /// Starts a host at each place. The clocks of the last two can be set.
    pub(crate) fn start(places: &[Place], settings: &Settings, dir: &Path) -> Result<Self> {
        let runners = dir.join("runners.toml");
        let runner = echo_runner::binary()?;
        let agents = dir.join("agents");
        fs::create_dir_all(&agents)?;
        fs::write(
            &runners,
            format!(
                "[runner.echo]\ncommand = {runner:?}\nclass_name = \"chaos.*\"\nrestart = \"always\"\n\
                 stop_grace = \"1s\"\nenv = {{ ECHO_DIR = {agents:?}, WITNESS_DIR = {:?} }}\n",
                settings.witness_dir,
            ),
        )?;
        let mut hosts = Vec::new();
        for (n, place) in places.iter().enumerate() {
            let disk = dir.join(&place.name);
            small_disk(&disk, DISK_MEGABYTES)?;
            let clock = (n + 2 >= places.len()).then(|| dir.join(format!("{}.clock", place.name)));
            let mut environment = environment(settings, place, &disk, &runners, dir);
            if let Some(clock) = &clock {
                set_clock(clock, 0)?;
                environment.extend(faked_clock(clock)?);
            }
            let log = dir.join(format!("{}.log", place.name));
            let mut program = Program::new(place, &settings.program, Vec::new(), environment, log);
            program.start()?;
            hosts.push(Mutex::new(HostProcess {
                id: place.name.clone(),
                place: place.clone(),
                program,
                disk,
                clock,
                down: false,
                ended_by_itself: 0,
            }));
        }
        let fleet = Self { hosts: Arc::new(hosts) };
        tokio::spawn(fleet.clone().tend());
        Ok(fleet)
    }

    /// How many hosts there are.
    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// The id of a host.
    pub(crate) fn id(&self, host: usize) -> String {
        self.host(host).id.clone()
    }

    /// The place of a host.
    pub(crate) fn place(&self, host: usize) -> Place {
        self.host(host).place.clone()
    }

    /// How often hosts ended without being told to.
    pub(crate) fn ended_by_themselves(&self) -> u32 {
        (0..self.len()).map(|host| self.host(host).ended_by_itself).sum()
    }

    /// Kills a host. It stays down until it is [raised](Self::raise).
    pub(crate) fn kill(&self, host: usize) {
        let mut host = self.host(host);
        host.down = true;
        host.program.kill();
    }

    /// Tells a host to end, and waits until it has. It stays down until it is
    /// [raised](Self::raise).
    pub(crate) async fn end(&self, host: usize) {
        {
            let mut host = self.host(host);
            host.down = true;
            host.program.signal(Signal::TERM);
        }
        let until = Instant::now() + END_WITHIN;
        while self.host(host).program.runs() {
            if Instant::now() > until {
                tracing::warn!(host = self.id(host), "the host did not end in time");
                self.kill(host);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts a host, unless it runs.
    pub(crate) fn raise(&self, host: usize) -> Result<()> {
        let mut host = self.host(host);
        host.down = false;
        host.program.start()
    }

    /// Waits until a host that was raised listens, but not for ever: it is one of many.
    pub(crate) async fn until_ready(&self, host: usize) {
        let address = (self.place(host).address, PORT);
        let until = Instant::now() + READY_WITHIN;
        while TcpStream::connect(address).await.is_err() && Instant::now() < until {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a signal to the process of a host alone.
    pub(crate) fn signal(&self, host: usize, signal: Signal) {
        self.host(host).program.signal(signal);
    }

    /// The processes of a host's agents.
    pub(crate) fn agents(&self, host: usize) -> Vec<u32> {
        processes_with("GUILDHALL_HOST_ID", &self.id(host))
    }

    /// The process that ends a host's agents when the host cannot.
    pub(crate) fn fences(&self, host: usize) -> Vec<u32> {
        let pid = self.host(host).program.pid();
        pid.map(|pid| children_with(pid, "fence")).unwrap_or_default()
    }

    /// Sets the clock of a host, by so many seconds from the true time. `false` when its
    /// clock cannot be set.
    pub(crate) fn set_clock(&self, host: usize, seconds: i64) -> Result<bool> {
        match &self.host(host).clock {
            Some(clock) => set_clock(clock, seconds).map(|()| true),
            None => Ok(false),
        }
    }

    /// Fills a host's disk. Answers with the file to remove.
    pub(crate) fn fill_disk(&self, host: usize) -> Result<PathBuf> {
        fill(&self.host(host).disk)
    }

    /// Allows a host no more descriptors than it has. Answers the limit that it had.
    pub(crate) fn exhaust_descriptors(&self, host: usize) -> Result<Option<Rlimit>> {
        let Some(pid) = self.host(host).program.pid() else { return Ok(None) };
        let used = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        let limit =
            prlimit(pid_of(pid), Resource::Nofile, Rlimit { current: Some(used), maximum: Some(used) })?;
        Ok(Some(limit))
    }

    /// Gives a host a limit on descriptors.
    pub(crate) fn allow_descriptors(&self, host: usize, limit: Rlimit) {
        if let Some(pid) = self.host(host).program.pid() {
            // It may have ended since.
            let _ = prlimit(pid_of(pid), Resource::Nofile, limit);
        }
    }

    /// Lets everything go on that was stopped or is down, and gives back clocks and disks.
    pub(crate) fn heal(&self) -> Result<()> {
        for host in 0..self.len() {
            self.signal(host, Signal::CONT);
            self.fences(host).into_iter().for_each(|pid| send(pid, Signal::CONT));
            self.agents(host).into_iter().for_each(|pid| send(pid, Signal::CONT));
            self.set_clock(host, 0)?;
            let _ = fs::remove_file(ballast(&self.host(host).disk));
            self.raise(host)?;
        }
        Ok(())
    }

    /// Starts hosts again that ended by themselves, for as long as the program runs.
    async fn tend(self) {
        loop {
            sleep(LOOK_EVERY).await;
            for host in self.hosts.iter() {
                let mut host = host.lock().unwrap_or_else(PoisonError::into_inner);
                if !host.down && !host.program.runs() {
                    host.ended_by_itself += 1;
                    tracing::warn!(host = host.id, "the host ended by itself; it is started again");
                    if let Err(error) = host.program.start() {
                        tracing::error!(%error, "it does not start");
                    }
                }
            }
        }
    }

    fn host(&self, host: usize) -> MutexGuard<'_, HostProcess> {
        self.hosts[host].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn environment(
    settings: &Settings,
    place: &Place,
    disk: &Path,
    runners: &Path,
    dir: &Path,
) -> Vec<(String, String)> {
    let text = |value: &str| value.to_owned();
    let millis = |duration: Duration| format!("{}ms", duration.as_millis());
    let mut environment = vec![
        ("PATH", std::env::var("PATH").unwrap_or_default()),
        ("HOSTNAME", place.name.clone()),
        ("REDIS_URL", settings.redis_url.clone()),
        ("REDIS_REPLICAS", settings.redis_replicas.to_string()),
        ("RUNNERS", runners.display().to_string()),
        ("RUNTIME_DIR", disk.display().to_string()),
        ("STATE_DIR", disk.display().to_string()),
        ("POLICY_CACHE", dir.join("policies").display().to_string()),
        ("LISTEN_ADDRESS", place.address.to_string()),
        ("GRPC_PORT", PORT.to_string()),
        ("ADVERTISE_URL", format!("http://{}:{PORT}", place.address)),
        ("INSECURE", text("true")),
        ("CONSISTENCY", text("strict")),
        ("LEASE", millis(settings.lease)),
        ("OUTAGE_PATIENCE", millis(settings.outage_patience)),
        ("HEARTBEAT_INTERVAL", text("1s")),
        ("DRAIN_TIMEOUT", text("10s")),
        // Agents are killed far more often than in earnest.
        ("RESTART_LIMIT", text("1000")),
        ("LOG", std::env::var("LOG").unwrap_or_else(|_| text("info,guildhall_host::tenure=debug"))),
    ];
    if let Some(bug) = settings.planted {
        environment.push((Bug::VARIABLE, text(bug.name())));
    }
    environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What makes a program see the clock that a file describes.
fn faked_clock(clock: &Path) -> Result<Vec<(String, String)>> {
    let library = fs::read_dir("/usr/lib")?
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
        .context("there is no libfaketime: `make setup` installs what the suite needs")?;
    let variables = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        // Seconds between two looks at the file.
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        // The time since the start of a machine cannot be set by anybody.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Says how far the clock is off. The file is replaced, so that nobody reads half of it.
fn set_clock(file: &Path, seconds: i64) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, format!("{seconds:+}\n"))?;
    Ok(fs::rename(new, file)?)
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}
