//! How each fault is done to real processes, and undone.

use std::{fs, net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::Result;
use echo_runner::witness;
use rustix::process::{Rlimit, Signal};
use tokio::time::{Instant, sleep};

use crate::{
    checker::{Death, victims},
    fleet::Fleet,
    history::History,
    names::Names,
    nemesis::{Fault, Planned},
    network::{DRIVER, Network},
    program::send,
    redis::Redis,
    wire::{RuleId, Treatment, both_ways, one_way},
};

/// How slow the name server is when it is.
const SLOW_NAMES: Duration = Duration::from_secs(3);

/// What undoes a fault.
#[derive(Debug)]
pub(crate) enum Undo {
    /// It heals by itself.
    Nothing,
    /// Start this host, once the agents that it had run elsewhere.
    RaiseAfter(usize, Death),
    /// Start all hosts.
    RaiseAll,
    /// Let these processes go on.
    Continue(Vec<u32>),
    /// Let this host go on, and then these processes.
    ContinueHost(usize, Vec<u32>),
    /// Treat packets as before.
    Packets(RuleId),
    /// Bring Redis back, as far as it is away.
    Redis,
    /// Set the clock of this host right.
    Clock(usize),
    /// Give back the disk of this host.
    Disk(PathBuf),
    /// Give this host its limit back.
    Descriptors(usize, Rlimit),
    /// Answer at once again.
    Names,
}

/// Everything that faults are done to.
#[derive(Debug)]
pub(crate) struct Targets {
    /// The wire.
    pub(crate) network: Network,
    /// The name server.
    pub(crate) names: Names,
    /// The registry.
    pub(crate) redis: Redis,
    /// The hosts.
    pub(crate) fleet: Fleet,
    /// Where agents testify.
    pub(crate) witness_dir: PathBuf,
    /// Hosts that were killed and stayed down for a while.
    pub(crate) deaths: Vec<Death>,
}

impl Targets {
    /// Begins a fault. `None` when there is nothing that it could be done to now.
    pub(crate) async fn begin(&mut self, planned: &Planned) -> Result<Option<Undo>> {
        let Planned { host, pick, hold, .. } = *planned;
        Ok(Some(match planned.fault {
            Fault::HostKill => {
                let death = Death { host: self.fleet.id(host), at: witness::now() };
                self.fleet.kill(host);
                self.deaths.push(death.clone());
                Undo::RaiseAfter(host, death)
            }
            Fault::HostCrash => {
                self.fleet.kill(host);
                self.fleet.raise(host)?;
                Undo::Nothing
            }
            Fault::HostPause => {
                self.fleet.signal(host, Signal::STOP);
                Undo::ContinueHost(host, Vec::new())
            }
            Fault::HostAndAgentsPause => {
                let agents = self.fleet.agents(host);
                agents.iter().for_each(|pid| send(*pid, Signal::STOP));
                self.fleet.signal(host, Signal::STOP);
                Undo::ContinueHost(host, agents)
            }
            Fault::FenceKill => {
                let fences = self.fleet.fences(host);
                if fences.is_empty() {
                    return Ok(None);
                }
                fences.into_iter().for_each(|pid| send(pid, Signal::KILL));
                Undo::Nothing
            }
            Fault::AgentKill | Fault::AgentPause => {
                let agents = self.fleet.agents(host);
                let Some(agent) = agents.get(pick % agents.len().max(1)).copied() else { return Ok(None) };
                if planned.fault == Fault::AgentKill {
                    send(agent, Signal::KILL);
                    Undo::Nothing
                } else {
                    send(agent, Signal::STOP);
                    Undo::Continue(vec![agent])
                }
            }
            Fault::RedisKill => {
                let server = self.redis.master(pick).await?;
                self.redis.kill(server);
                Undo::Redis
            }
            Fault::RedisPause => {
                let server = self.redis.master(pick).await?;
                self.redis.signal(server, Signal::STOP);
                Undo::Redis
            }
            Fault::RedisRestart => {
                let server = self.redis.master(pick).await?;
                self.redis.signal(server, Signal::TERM);
                sleep(Duration::from_millis(300)).await;
                self.redis.kill(server);
                Undo::Redis
            }
            Fault::RedisLoseData => {
                let server = self.redis.master(pick).await?;
                self.redis.kill(server);
                self.redis.wait_for_failover(server).await?;
                self.redis.wipe(server)?;
                Undo::Redis
            }
            Fault::RedisSleep => {
                let server = self.redis.master(pick).await?;
                self.redis.sleep(server, hold);
                Undo::Redis
            }
            Fault::RedisMemoryFull => {
                let server = self.redis.master(pick).await?;
                self.redis.fill_memory(server).await?;
                Undo::Redis
            }
            Fault::RedisDiskFull => {
                let server = self.redis.master(pick).await?;
                self.redis.fill_disk(server)?;
                Undo::Redis
            }
            Fault::RedisFailover => {
                self.redis.fail_over(pick).await?;
                Undo::Redis
            }
            Fault::PartitionHost => {
                let others = self.all_but(&[self.address(host)]);
                self.cut(&both_ways(&[self.address(host)], &others))
            }
            Fault::PartitionOut => {
                let others = self.all_but(&[self.address(host)]);
                self.cut(&one_way(&[self.address(host)], &others))
            }
            Fault::PartitionIn => {
                let others = self.all_but(&[self.address(host)]);
                self.cut(&one_way(&others, &[self.address(host)]))
            }
            Fault::PartitionHostRedis => self.cut(&both_ways(&[self.address(host)], &self.redis.addresses())),
            Fault::PartitionHosts => {
                let hosts = self.hosts();
                self.cut(&one_way(&hosts, &hosts))
            }
            Fault::PartitionHalves => {
                // Two of five, three of five, …: either may have Redis.
                let hosts = self.hosts();
                let size = (1 + pick % (hosts.len() - 1).max(1)).min(hosts.len());
                let cut_off: Vec<_> = (0..size).map(|n| hosts[(host + n) % hosts.len()]).collect();
                let others = self.all_but(&cut_off);
                self.cut(&both_ways(&cut_off, &others))
            }
            Fault::PartitionRedis => {
                let servers = self.redis.addresses();
                let mut others = self.hosts();
                others.push(DRIVER);
                self.cut(&both_ways(&servers, &others))
            }
            Fault::NetworkDelay => {
                let delay = Duration::from_millis(100 + pick as u64 % 200);
                let treatment = Treatment { delay, ..Treatment::default() };
                self.treat(host, treatment)
            }
            Fault::NetworkLoss => {
                let loss = 0.1 + (pick % 200) as f64 / 1000.0;
                self.treat(host, Treatment { loss, ..Treatment::default() })
            }
            Fault::ClockJump => {
                // The last hosts have clocks that can be set.
                let host = self.fleet.len() - 1 - host % 2.min(self.fleet.len());
                let seconds = [3_600, -3_600, 86_400, -86_400][pick % 4];
                if !self.fleet.set_clock(host, seconds)? {
                    return Ok(None);
                }
                Undo::Clock(host)
            }
            Fault::HostDiskFull => Undo::Disk(self.fleet.fill_disk(host)?),
            Fault::HostDescriptors => match self.fleet.exhaust_descriptors(host)? {
                Some(limit) => Undo::Descriptors(host, limit),
                None => return Ok(None),
            },
            Fault::SlowNames => {
                self.names.delay(SLOW_NAMES);
                let server = self.redis.master(pick).await?;
                self.redis.disconnect(server).await?;
                Undo::Names
            }
            Fault::RollingRestart => {
                for host in 0..self.fleet.len() {
                    self.fleet.end(host).await;
                    self.fleet.raise(host)?;
                    self.fleet.until_ready(host).await;
                }
                Undo::Nothing
            }
            Fault::AllHostsKill => {
                (0..self.fleet.len()).for_each(|host| self.fleet.kill(host));
                Undo::RaiseAll
            }
        }))
    }

    /// Undoes a fault that has held for long enough.
    pub(crate) async fn undo(&mut self, undo: Undo, hold: Duration) -> Result<()> {
        match undo {
            Undo::Nothing => {}
            Undo::RaiseAfter(host, death) => {
                self.until_elsewhere(&death, hold).await?;
                self.fleet.raise(host)?;
            }
            Undo::RaiseAll => (0..self.fleet.len()).try_for_each(|host| self.fleet.raise(host))?,
            Undo::Continue(pids) => pids.into_iter().for_each(|pid| send(pid, Signal::CONT)),
            Undo::ContinueHost(host, agents) => {
                self.fleet.signal(host, Signal::CONT);
                // Those that the fence has ended are not there any more, and their numbers
                // are not given to others so soon.
                agents.into_iter().for_each(|pid| send(pid, Signal::CONT));
            }
            Undo::Packets(rule) => self.network.heal(rule),
            Undo::Redis => self.redis.heal().await?,
            Undo::Clock(host) => drop(self.fleet.set_clock(host, 0)?),
            Undo::Disk(ballast) => fs::remove_file(ballast)?,
            Undo::Descriptors(host, limit) => self.fleet.allow_descriptors(host, limit),
            Undo::Names => self.names.delay(Duration::ZERO),
        }
        Ok(())
    }

    /// How long to wait before a fault is undone: as planned, but for a dead host's
    /// failover, which is waited for as it is undone.
    pub(crate) fn hold(planned: &Planned, undo: &Undo) -> Duration {
        if matches!(undo, Undo::RaiseAfter(..)) { Duration::ZERO } else { planned.hold }
    }

    /// Waits until each agent that died with a host lives elsewhere, but not for ever.
    async fn until_elsewhere(&self, death: &Death, at_most: Duration) -> Result<()> {
        let until = Instant::now() + at_most;
        while Instant::now() < until {
            sleep(Duration::from_millis(200)).await;
            let history = History::read(&self.witness_dir)?;
            let lives_again = |agent| history.lives[agent].iter().any(|life| life.first > death.at);
            if victims(&history, death).all(|(agent, _)| lives_again(agent)) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn cut(&self, pairs: &[(Ipv4Addr, Ipv4Addr)]) -> Undo {
        Undo::Packets(self.network.treat(pairs, Treatment::CUT))
    }

    /// What a host sends and gets.
    fn treat(&self, host: usize, treatment: Treatment) -> Undo {
        let others = self.all_but(&[self.address(host)]);
        Undo::Packets(self.network.treat(&both_ways(&[self.address(host)], &others), treatment))
    }

    fn address(&self, host: usize) -> Ipv4Addr {
        self.fleet.place(host).address
    }

    fn hosts(&self) -> Vec<Ipv4Addr> {
        (0..self.fleet.len()).map(|host| self.address(host)).collect()
    }

    fn all_but(&self, these: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
        let mut all = self.hosts();
        all.extend(self.redis.addresses());
        all.push(DRIVER);
        all.retain(|address| !these.contains(address));
        all
    }
}
