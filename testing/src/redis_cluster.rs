//! A Redis Cluster of a test's own.

use std::io;

use crate::{
    RedisServer, StartError,
    redis::{ask, wait_until},
};

const MASTERS: usize = 3;
const SLOTS: usize = 16384;

/// Six nodes, of which each of the first three has a replica among the last three, which
/// replaces a master that has been silent for a second. All end with this value.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the nodes, and waits until they are one cluster whose replicas follow.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn start() -> Result<Self, StartError> {
        let node = || {
            RedisServer::start_with(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--cluster-replica-validity-factor",
                "0",
                "--repl-diskless-sync-delay",
                "0",
                "--repl-ping-replica-period",
                "1",
                // Else it is the port and ten thousand, which may be no port.
                "--cluster-port",
                &crate::redis::free_port()?.to_string(),
            ])
        };
        let nodes = (0..2 * MASTERS).map(|_| node()).collect::<Result<Vec<_>, _>>()?;
        for (at, node) in nodes.iter().enumerate().take(MASTERS) {
            let (first, last) = (at * SLOTS / MASTERS, (at + 1) * SLOTS / MASTERS - 1);
            ask(node, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"))?;
            ask(node, &format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1))?;
        }
        for node in &nodes[1..] {
            let bus = ask(node, "CONFIG GET cluster-port")?;
            let bus = bus.lines().last().unwrap_or_default().trim().to_owned();
            ask(&nodes[0], &format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port()))?;
        }
        wait_until("the nodes know each other", || {
            nodes.iter().all(|node| says(node, "CLUSTER INFO", "cluster_known_nodes:6"))
        })?;
        for (master, replica) in nodes.iter().zip(&nodes[MASTERS..]) {
            let id = ask(master, "CLUSTER MYID")?;
            let id = id.lines().last().unwrap_or_default().trim().to_owned();
            wait_until("a replica takes its master", || {
                ask(replica, &format!("CLUSTER REPLICATE {id}")).is_ok_and(|said| said.starts_with("+OK"))
            })?;
        }
        wait_until("the cluster is well, and its replicas follow", || {
            nodes.iter().all(|node| says(node, "CLUSTER INFO", "cluster_state:ok"))
                && nodes[..MASTERS].iter().all(|node| says(node, "INFO replication", "state=online"))
                && nodes.iter().all(|node| {
                    ask(node, "CLUSTER SLOTS").is_ok_and(|slots| {
                        slots.starts_with("*3")
                            && slots.matches("*4\r\n").count() + slots.matches("*3\r\n").count() > 0
                    })
                })
        })?;
        Ok(Self { nodes })
    }

    /// Where it is: `redis-cluster://127.0.0.1:PORT,…`, with three of the nodes.
    pub fn url(&self) -> String {
        let hosts: Vec<_> =
            self.nodes[..MASTERS].iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// The nodes.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The nodes, to be ended and started.
    pub fn nodes_mut(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// Which of the nodes is the master that serves a key.
    ///
    /// # Errors
    /// When none says so at the moment.
    pub fn master_of(&self, key: &str) -> io::Result<usize> {
        let serves = |node: &RedisServer| {
            // Another node would say MOVED, and so does a replica.
            ask(node, &format!("EXISTS {key}")).is_ok_and(|said| said.starts_with(':'))
        };
        self.nodes.iter().position(serves).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The replica of a node that is a master.
    ///
    /// # Errors
    /// When it has none at the moment.
    pub fn replica_of(&self, master: usize) -> io::Result<usize> {
        let said = ask(&self.nodes[master], "INFO replication")?;
        let follows = |node: &RedisServer| said.contains(&format!("port={},", node.port()));
        self.nodes.iter().position(follows).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Sends a command, its words parted by spaces, to one of the nodes; what it says, as
    /// it says it.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(&self, node: usize, command: &str) -> io::Result<String> {
        ask(&self.nodes[node], command)
    }
}

fn says(node: &RedisServer, question: &str, wanted: &str) -> bool {
    ask(node, question).is_ok_and(|answer| answer.contains(wanted))
}
