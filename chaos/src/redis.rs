//! Redis as fleets have it: one server, a master with replicas and Sentinels, or a
//! Cluster; each server with a small disk of its own.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use redis::{FromRedisValue, Value};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    names::REDIS_NAME,
    network::Place,
    program::{Program, ballast, fill},
    sandbox::{run, small_disk},
};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// The Sentinels' name for the master and its replicas.
const MASTER_NAME: &str = "mymaster";
/// How long a server may take to answer a question of the suite.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);
/// How long a server may take to start or a failover to be over.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// The disk of each server.
const DISK_MEGABYTES: u32 = 48;

/// How Redis is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Setup {
    /// One server.
    Single,
    /// A master and two replicas, with three Sentinels.
    Sentinel,
    /// Three masters with a replica each.
    Cluster,
}

impl Setup {
    fn servers(self) -> u8 {
        match self {
            Self::Single => 1,
            Self::Sentinel => 3,
            Self::Cluster => 6,
        }
    }

    /// Where its servers are to be.
    pub(crate) fn places(self) -> Vec<Place> {
        (1..=self.servers()).map(|n| Place::new(format!("r{n}"), 10 + n)).collect()
    }

    /// Whether another server takes over when one is gone.
    pub(crate) fn fails_over(self) -> bool {
        self != Self::Single
    }
}

/// All servers of one setup.
#[derive(Debug)]
pub(crate) struct Redis {
    setup: Setup,
    servers: Vec<Server>,
    sentinels: Vec<Program>,
}

#[derive(Debug)]
struct Server {
    address: Ipv4Addr,
    disk: PathBuf,
    program: Program,
}

impl Redis {
    /// Starts all servers, and waits until they take writes.
    pub(crate) async fn start(setup: Setup, dir: &Path) -> Result<Self> {
        let mut servers = Vec::new();
        let mut sentinels = Vec::new();
        let places = setup.places();
        for (n, place) in places.iter().enumerate() {
            let disk = dir.join(&place.name);
            small_disk(&disk, DISK_MEGABYTES)?;
            let mut config = settings(&[
                ("port", &PORT.to_string()),
                ("dir", &disk.display().to_string()),
                ("save", ""),
                // What was answered is with the kernel, so SIGKILL loses nothing.
                ("appendonly", "yes"),
                ("appendfsync", "everysec"),
                ("protected-mode", "no"),
                ("enable-debug-command", "yes"),
            ]);
            match setup {
                Setup::Single => {}
                Setup::Sentinel => {
                    config.push_str(&settings(&[("repl-timeout", "5"), ("repl-diskless-sync-delay", "0")]));
                    if n > 0 {
                        config
                            .push_str(&settings(&[("replicaof", &format!("{} {PORT}", places[0].address))]));
                    }
                }
                Setup::Cluster => config.push_str(&settings(&[
                    ("cluster-enabled", "yes"),
                    ("cluster-node-timeout", "1000"),
                    ("repl-diskless-sync-delay", "0"),
                ])),
            }
            // In a file, which Sentinels have written anew: after a failover a server that
            // starts again must not follow whom it followed first.
            let file = dir.join(format!("{}.conf", place.name));
            fs::write(&file, config)?;
            let arguments = vec![file.display().to_string()];
            let log = dir.join(format!("{}.log", place.name));
            let mut program = Program::new(place, "redis-server", arguments, environment(), log);
            program.start()?;
            servers.push(Server { address: place.address, disk, program });
        }
        if setup == Setup::Sentinel {
            for place in &places {
                let config = dir.join(format!("sentinel-{}.conf", place.name));
                fs::write(&config, sentinel_config(places[0].address))?;
                let arguments = vec![config.display().to_string(), "--sentinel".to_owned()];
                let log = dir.join(format!("sentinel-{}.log", place.name));
                let mut program = Program::new(place, "redis-server", arguments, environment(), log);
                program.start()?;
                sentinels.push(program);
            }
        }
        let mut redis = Self { setup, servers, sentinels };
        if setup == Setup::Cluster {
            redis.all_answer().await?;
            let addresses: Vec<_> = redis.servers.iter().map(|s| format!("{}:{PORT}", s.address)).collect();
            let mut arguments = vec!["--cluster", "create"];
            arguments.extend(addresses.iter().map(String::as_str));
            arguments.extend(["--cluster-replicas", "1", "--cluster-yes"]);
            run("redis-cli", &arguments)?;
        }
        redis.until_healthy().await?;
        Ok(redis)
    }

    /// The address of this registry, as hosts and engines are told it.
    pub(crate) fn url(&self) -> String {
        let list = |port: u16| {
            let all: Vec<_> =
                self.servers.iter().map(|server| format!("{}:{port}", server.address)).collect();
            all.join(",")
        };
        match self.setup {
            Setup::Single => format!("redis://{REDIS_NAME}:{PORT}"),
            Setup::Sentinel => format!("redis-sentinel://{}/{MASTER_NAME}", list(SENTINEL_PORT)),
            Setup::Cluster => format!("redis-cluster://{}", list(PORT)),
        }
    }

    /// All addresses that servers have.
    pub(crate) fn addresses(&self) -> Vec<Ipv4Addr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    /// One of the servers that take writes now, by any number.
    pub(crate) async fn master(&self, pick: usize) -> Result<usize> {
        let mut masters = Vec::new();
        for server in 0..self.servers.len() {
            if self.role(server).await.is_ok_and(|role| role == "master") {
                masters.push(server);
            }
        }
        if let Some(named) = self.named_by_sentinels().await {
            masters = vec![named];
        }
        if masters.is_empty() {
            bail!("no Redis is a master")
        }
        Ok(masters[pick % masters.len()])
    }

    /// Sends a server a signal.
    pub(crate) fn signal(&mut self, server: usize, signal: Signal) {
        self.servers[server].program.signal(signal);
    }

    /// Kills a server. A process that was stopped by a signal is killed, too.
    pub(crate) fn kill(&mut self, server: usize) {
        self.servers[server].program.kill();
    }

    /// Where another server takes over from one that was killed: waits until one has.
    /// Else the killed one would be the master again, without its data, and its replicas
    /// would throw away theirs.
    pub(crate) async fn wait_for_failover(&self, killed: usize) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        while self.setup.fails_over() && !self.is_replaced(killed).await {
            ensure!(Instant::now() < until, "no replica took over");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn is_replaced(&self, killed: usize) -> bool {
        match self.setup {
            Setup::Single => false,
            Setup::Sentinel => self.named_by_sentinels().await.is_some_and(|named| named != killed),
            Setup::Cluster => {
                // Whoever answers knows all; the cluster is whole again once it was replaced.
                let other = (killed + 1) % self.servers.len();
                let info = self.ask::<String>(other, &["CLUSTER", "INFO"]).await;
                let nodes = self.ask::<String>(other, &["CLUSTER", "NODES"]).await.unwrap_or_default();
                let address = format!("{}:{PORT}@", self.servers[killed].address);
                // `fail?` is only one node's suspicion.
                let failed = nodes.lines().any(|node| {
                    let flags = node.split_whitespace().nth(2).unwrap_or_default();
                    node.contains(&address) && flags.split(',').any(|flag| flag == "fail")
                });
                failed && info.is_ok_and(|info| info.contains("cluster_state:ok"))
            }
        }
    }

    /// Removes all data of a server that was killed.
    pub(crate) fn wipe(&mut self, server: usize) -> Result<()> {
        for entry in fs::read_dir(&self.servers[server].disk)? {
            let entry = entry?;
            // A node of a Cluster that loses its name is another node, which nobody asked for.
            if entry.file_name() == "nodes.conf" {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Fills the disk of a server.
    pub(crate) fn fill_disk(&self, server: usize) -> Result<()> {
        fill(&self.servers[server].disk).map(drop)
    }

    /// Leaves a server no memory for more data.
    pub(crate) async fn fill_memory(&self, server: usize) -> Result<()> {
        self.ask::<()>(server, &["CONFIG", "SET", "maxmemory", "1"]).await
    }

    /// Closes all connections to a server, so that they have to be made anew.
    pub(crate) async fn disconnect(&self, server: usize) -> Result<()> {
        self.ask::<Value>(server, &["CLIENT", "KILL", "TYPE", "pubsub"]).await?;
        self.ask::<Value>(server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.map(drop)
    }

    /// Lets a server do nothing for this long.
    pub(crate) fn sleep(&self, server: usize, length: Duration) {
        let address = self.servers[server].address;
        tokio::spawn(async move {
            let seconds = length.as_secs_f64().to_string();
            let _ =
                timeout(length * 2, question::<Value>(address, PORT, &["DEBUG", "SLEEP", &seconds])).await;
        });
    }

    /// Makes another server the master, in good order. They may still be busy with the
    /// failover before, and refuse for a while.
    pub(crate) async fn fail_over(&self, pick: usize) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            let Err(error) = self.try_to_fail_over(pick).await else { return Ok(()) };
            if Instant::now() > until {
                return Err(error.context("no server takes over"));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn try_to_fail_over(&self, pick: usize) -> Result<()> {
        match self.setup {
            Setup::Single => bail!("there is no other server"),
            Setup::Sentinel => {
                let sentinel = self.servers[pick % self.servers.len()].address;
                let command = ["SENTINEL", "FAILOVER", MASTER_NAME];
                bounded(question::<Value>(sentinel, SENTINEL_PORT, &command)).await.map(drop)
            }
            Setup::Cluster => {
                for n in 0..self.servers.len() {
                    let server = (pick + n) % self.servers.len();
                    if self.role(server).await.is_ok_and(|role| role == "slave") {
                        return self.ask::<Value>(server, &["CLUSTER", "FAILOVER"]).await.map(drop);
                    }
                }
                bail!("no server is a replica")
            }
        }
    }

    /// Starts what does not run, wakes what was stopped, gives back memory and disks, and
    /// waits until all servers are of use again.
    pub(crate) async fn heal(&mut self) -> Result<()> {
        let mut were_full = Vec::new();
        for (n, server) in self.servers.iter_mut().enumerate() {
            if fs::remove_file(ballast(&server.disk)).is_ok() {
                were_full.push(n);
            }
            server.program.signal(Signal::CONT);
            server.program.start()?;
        }
        for sentinel in &mut self.sentinels {
            sentinel.signal(Signal::CONT);
            sentinel.start()?;
        }
        self.until_healthy().await?;
        for server in were_full {
            self.rewrite_log(server).await?;
        }
        Ok(())
    }

    /// Writes a server's log anew. After a write that its disk had no room for, Redis 7.0
    /// goes on in the middle of it, and cannot read that log any more.
    async fn rewrite_log(&self, server: usize) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        // A replica that has just been filled is at it already, and perhaps began too early.
        while let Err(error) = self.ask::<Value>(server, &["BGREWRITEAOF"]).await {
            let busy = error.to_string().contains("already in progress");
            ensure!(busy && Instant::now() < until, "Redis does not rewrite its log: {error}");
            sleep(Duration::from_millis(50)).await;
        }
        loop {
            let info: String = self.ask(server, &["INFO", "persistence"]).await?;
            if info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0") {
                return Ok(());
            }
            ensure!(Instant::now() < until, "Redis does not rewrite its log: {info}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until_healthy(&mut self) -> Result<()> {
        self.all_answer().await?;
        let until = Instant::now() + READY_WITHIN;
        loop {
            let Err(error) = self.healthy().await else { return Ok(()) };
            if Instant::now() > until {
                return Err(error.context("Redis did not recover"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn all_answer(&mut self) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        for server in 0..self.servers.len() {
            while let Err(error) = self.ask::<()>(server, &["CONFIG", "SET", "maxmemory", "0"]).await {
                if Instant::now() > until {
                    return Err(error.context("a Redis does not answer"));
                }
                // One that could not write its disk has ended.
                self.servers[server].program.start()?;
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    async fn healthy(&self) -> Result<()> {
        match self.setup {
            Setup::Single => self.ask::<()>(0, &["SET", "guildhall-chaos", "1"]).await,
            Setup::Sentinel => {
                let master = self.named_by_sentinels().await.context("the Sentinels know no master")?;
                let value: Value = self.ask(master, &["SET", "guildhall-chaos", "1"]).await?;
                let replicas: i64 = self.ask(master, &["WAIT", "2", "500"]).await?;
                if replicas < 2 {
                    bail!("{replicas} replicas follow, after {value:?}")
                }
                Ok(())
            }
            Setup::Cluster => {
                for server in 0..self.servers.len() {
                    let info: String = self.ask(server, &["CLUSTER", "INFO"]).await?;
                    if !info.contains("cluster_state:ok") {
                        bail!("the cluster is not whole: {info}")
                    }
                    let replication: String = self.ask(server, &["INFO", "replication"]).await?;
                    let alone = replication.contains("role:master") && !replication.contains("state=online")
                        || replication.contains("master_link_status:down");
                    // A failover may leave one master with two replicas and another with none.
                    if alone {
                        bail!("a server of the cluster is alone: {replication}")
                    }
                }
                Ok(())
            }
        }
    }

    async fn role(&self, server: usize) -> Result<String> {
        match self.ask::<Vec<Value>>(server, &["ROLE"]).await?.into_iter().next() {
            Some(role) => Ok(String::from_redis_value(role)?),
            None => bail!("a Redis without a role"),
        }
    }

    /// The master, as most Sentinels see it.
    async fn named_by_sentinels(&self) -> Option<usize> {
        if self.setup != Setup::Sentinel {
            return None;
        }
        let mut votes = vec![0; self.servers.len()];
        for server in &self.servers {
            let command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME];
            let answer = bounded(question::<Vec<String>>(server.address, SENTINEL_PORT, &command)).await;
            let named: Option<Ipv4Addr> = answer.ok().and_then(|answer| answer.first()?.parse().ok());
            if let Some(n) = self.servers.iter().position(|server| Some(server.address) == named) {
                votes[n] += 1;
            }
        }
        votes.iter().position(|votes| *votes * 2 > self.servers.len())
    }

    async fn ask<T: FromRedisValue>(&self, server: usize, command: &[&str]) -> Result<T> {
        bounded(question(self.servers[server].address, PORT, command)).await
    }
}

async fn bounded<T>(question: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(ANSWER_WITHIN, question).await.context("Redis did not answer in time")?
}

/// Asks over a connection of its own.
async fn question<T: FromRedisValue>(address: Ipv4Addr, port: u16, command: &[&str]) -> Result<T> {
    let client = redis::Client::open(format!("redis://{address}:{port}"))?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let mut cmd = redis::cmd(command[0]);
    cmd.arg(&command[1..]);
    Ok(cmd.query_async(&mut connection).await?)
}

/// Lines of a configuration.
fn settings(pairs: &[(&str, &str)]) -> String {
    let line = |(name, value): &(&str, &str)| match *value {
        "" => format!("{name} \"\"\n"),
        value => format!("{name} {value}\n"),
    };
    pairs.iter().map(line).collect()
}

fn environment() -> Vec<(String, String)> {
    vec![("PATH".to_owned(), std::env::var("PATH").unwrap_or_default())]
}

fn sentinel_config(master: Ipv4Addr) -> String {
    format!(
        "port {SENTINEL_PORT}\nprotected-mode no\n\
         sentinel monitor {MASTER_NAME} {master} {PORT} 2\n\
         sentinel down-after-milliseconds {MASTER_NAME} 1000\n\
         sentinel failover-timeout {MASTER_NAME} 3000\n\
         sentinel parallel-syncs {MASTER_NAME} 2\n"
    )
}
