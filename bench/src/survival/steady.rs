//! What a fleet costs Redis while nothing happens.
//!
//! Counted by `MONITOR`, which tells the commands that clients send from those that scripts
//! carry out within Redis. The goal is about what clients send.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use super::fleet::{Fleet, Terms};
use crate::{report::Row, workload};

const HOSTS: usize = 20;
const AGENTS: usize = 2_000;

/// The launches are over for this long before anything counts.
const REST: Duration = Duration::from_secs(20);
const COUNTED: Duration = Duration::from_secs(60);

/// Commands a second that all clients together may send.
const COMMANDS: f64 = 50.0;

pub(crate) async fn take() -> Result<Vec<Row>> {
    let terms = Terms {
        hosts: HOSTS,
        lease: Duration::from_secs(10),
        capacity: AGENTS / HOSTS * 2,
        testify_every: None,
    };
    let fleet = Fleet::start(terms).await?;
    fleet.run(workload::launches("steady", AGENTS)?).await?;
    sleep(REST).await;
    let Counts { sent, within } = count(fleet.redis.port()).await?;
    let each = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>() as f64 / COUNTED.as_secs_f64();
    eprintln!("sent in {COUNTED:?}: {sent:?}; within scripts: {within:?}");
    let name = format!("steady: {HOSTS} hosts, {AGENTS} agents");
    Ok(vec![
        Row::new(format!("{name}, commands sent to Redis"), each(&sent), "1/s").below(COMMANDS),
        Row::new(format!("{name}, commands within scripts"), each(&within), "1/s"),
    ])
}

/// Commands by name.
#[derive(Default)]
struct Counts {
    sent: BTreeMap<String, u64>,
    within: BTreeMap<String, u64>,
}

async fn count(port: u16) -> Result<Counts> {
    let mut redis = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    redis.write_all(b"MONITOR\r\n").await?;
    let (mut counts, mut line) = (Counts::default(), String::new());
    let until = Instant::now() + COUNTED;
    while let Ok(read) = timeout_at(until, redis.read_line(&mut line)).await {
        read?;
        // +1700000000.123456 [0 127.0.0.1:5555] "evalsha" …, or [0 lua] for a script's.
        if let Some((client, command)) = line.split_once("] \"") {
            let of = if client.ends_with(" lua") { &mut counts.within } else { &mut counts.sent };
            let name = command.split('"').next().unwrap_or_default().to_lowercase();
            *of.entry(name).or_default() += 1;
        }
        line.clear();
    }
    Ok(counts)
}
