//! A Redis with replicas and Sentinels, of a test's own.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    RedisServer, StartError,
    redis::{ask, wait_until},
};

/// What the Sentinels call the master.
const MASTER: &str = "guildhall";

const SENTINELS: usize = 3;

/// How long a master may be silent, milliseconds.
const DOWN_AFTER: u32 = 700;

/// One master, two replicas and three Sentinels, which replace a master that has been
/// silent for less than a second. All end with this value.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinel {
    /// Starts them all, and waits until the replicas follow and the Sentinels know all.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn start() -> Result<Self, StartError> {
        // A replica that lost its master for a moment is to come back soon.
        let usual = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
        let master = RedisServer::start_with(&usual)?;
        let port = master.port().to_string();
        let mut servers = vec![master];
        for _ in 0..2 {
            let follow = ["--replicaof", "127.0.0.1", &port];
            servers.push(RedisServer::start_with(&[usual.as_slice(), &follow].concat())?);
        }
        wait_until("both replicas follow", || {
            info(&servers[0], "replication").is_ok_and(|info| info.matches("state=online").count() == 2)
        })?;
        let sentinel = || {
            let config = format!(
                "bind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds {MASTER} {DOWN_AFTER}\n\
                 sentinel failover-timeout {MASTER} 5000\n"
            );
            let prepare = move |port: u16, folder: &std::path::Path| {
                let path = folder.join("sentinel.conf");
                // What it wrote there itself is kept when it starts again.
                if path.exists() {
                    return Ok(());
                }
                std::fs::write(path, format!("port {port}\ndir {}\n{config}", folder.display()))
            };
            RedisServer::start_bare(
                vec!["DIR/sentinel.conf".to_owned(), "--sentinel".to_owned()],
                Box::new(prepare),
            )
        };
        let sentinels = (0..SENTINELS).map(|_| sentinel()).collect::<Result<Vec<_>, _>>()?;
        wait_until("the Sentinels know each other", || {
            sentinels.iter().all(|sentinel| {
                info(sentinel, "sentinel")
                    .is_ok_and(|info| info.contains(&format!("slaves=2,sentinels={SENTINELS}")))
            })
        })?;
        Ok(Self { servers, sentinels })
    }

    /// Where it is: `redis-sentinel://127.0.0.1:PORT,…/guildhall`.
    pub fn url(&self) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("redis-sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// The master and its replicas, in no order that means anything.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The same, to be ended and started.
    pub fn servers_mut(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    /// The Sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// Which of [`servers`](Self::servers) says that it is the master, and is the one that
    /// the first Sentinel names.
    ///
    /// # Errors
    /// When there is none at the moment.
    pub fn master(&self) -> io::Result<usize> {
        let named = self.sentinels.iter().find(|sentinel| sentinel.pid().is_some());
        let named = ask(
            named.ok_or(io::ErrorKind::NotFound)?,
            &format!("SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER}"),
        )?;
        let is_master = |server: &RedisServer| {
            named.contains(&format!("{}\r\n", server.port()))
                && info(server, "replication").is_ok_and(|info| info.contains("role:master"))
        };
        self.servers.iter().position(is_master).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Waits until another server than this is the master.
    ///
    /// # Errors
    /// When none is after 30 s.
    pub fn wait_for_other_master(&self, than: usize) -> io::Result<usize> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match self.master() {
                Ok(master) if master != than => return Ok(master),
                _ if Instant::now() > until => return Err(io::ErrorKind::TimedOut.into()),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

fn info(server: &RedisServer, section: &str) -> io::Result<String> {
    ask(server, &format!("INFO {section}"))
}
