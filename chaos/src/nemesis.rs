//! The nemesis: which faults a seed stands for, in which order, where, and for how long.
//!
//! Pure: a seed gives the same schedule on every machine. What real processes make of it
//! is theirs. [`faults`](super::faults) carries it out.

use std::{fmt, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::redis::Setup;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident => $name:literal, $expected:literal;)+) => {
        /// A kind of fault. Each begins, holds for a while, and is healed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault {
            $($(#[doc = $doc])+ $fault,)+
        }

        impl Fault {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$fault),+];

            /// Its name in reports.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$fault => $name),+ }
            }

            /// What it is, in words.
            pub(crate) fn what(self) -> &'static str {
                match self { $(Self::$fault => concat!($($doc),+).trim_ascii()),+ }
            }

            /// What must come of it, in words.
            pub(crate) fn expected(self) -> &'static str {
                match self { $(Self::$fault => $expected),+ }
            }
        }
    };
}

faults! {
    /// SIGKILL of a host, which stays down until its agents run elsewhere
    HostKill => "host-kill", "its agents die with it, and run elsewhere once its lease is buried";
    /// SIGKILL of a host, which is started again at once
    HostCrash => "host-crash", "the new process buries its predecessor's lease; its agents run again within a second or two";
    /// SIGSTOP of a host for longer than a lease, then SIGCONT
    HostPause => "host-pause", "the fence ends its agents, they run elsewhere, and the host is refused when it goes on";
    /// SIGSTOP of a host and of its agents for longer than a lease, then SIGCONT
    HostAndAgentsPause => "host-and-agents-pause", "the fence ends the agents though they are stopped";
    /// SIGKILL of a host's fence
    FenceKill => "fence-kill", "the host starts another";
    /// SIGKILL of an agent
    AgentKill => "agent-kill", "its host starts it again under a new epoch";
    /// SIGSTOP of an agent, then SIGCONT
    AgentPause => "agent-pause", "it goes on where it was";
    /// SIGKILL of Redis, which comes back with its data after more than a lease
    RedisKill => "redis-kill", "agents go on under their peers' promises; where a replica takes over, hosts renew there";
    /// SIGSTOP of Redis for longer than a lease, then SIGCONT
    RedisPause => "redis-pause", "as redis-kill";
    /// Redis is restarted with its data
    RedisRestart => "redis-restart", "agents go on";
    /// Redis is restarted without its data
    RedisLoseData => "redis-lose-data", "agents go on; their hosts claim them anew under higher epochs";
    /// `DEBUG SLEEP` of Redis for longer than a lease
    RedisSleep => "redis-sleep", "as redis-pause";
    /// Redis may not use any more memory
    RedisMemoryFull => "redis-memory-full", "renewals are refused; agents go on under promises; launches fail";
    /// Redis' disk is full
    RedisDiskFull => "redis-disk-full", "as redis-memory-full";
    /// A replica becomes the master, in good order
    RedisFailover => "redis-failover", "hosts follow; nothing is buried until the new master has served for a lease";
    /// Nothing reaches a host or comes from it
    PartitionHost => "partition-host", "it ends its agents; they run elsewhere";
    /// What a host sends arrives nowhere
    PartitionOut => "partition-out", "as partition-host";
    /// What others send does not arrive at a host
    PartitionIn => "partition-in", "as partition-host";
    /// A host and Redis do not reach each other
    PartitionHostRedis => "partition-host-redis", "its peers reach Redis and promise nothing; it ends its agents; they run elsewhere";
    /// Hosts do not reach each other, only Redis
    PartitionHosts => "partition-hosts", "nothing stops: every host renews its lease";
    /// Two groups of hosts do not reach each other, and one of them does not reach Redis
    PartitionHalves => "partition-halves", "those without Redis have no majority or end their agents; nothing runs twice";
    /// Nobody reaches Redis
    PartitionRedis => "partition-redis", "agents go on under promises";
    /// Packets of a host arrive 100 to 300 ms late
    NetworkDelay => "network-delay", "nothing stops";
    /// A tenth to three tenths of a host's packets are lost
    NetworkLoss => "network-loss", "its lease may end; nothing runs twice";
    /// The clock of a host jumps by an hour or a day, forward or back
    ClockJump => "clock-jump", "nothing: no clock's date is compared";
    /// The disk of a host is full
    HostDiskFull => "host-disk-full", "agents that run go on";
    /// A host may open no more descriptors
    HostDescriptors => "host-descriptors", "agents that run go on; launches are refused, or the host ends them with its lease";
    /// The name server takes 3 s, while connections to Redis have to be made anew
    SlowNames => "slow-names", "agents go on";
    /// Each host ends in peace and starts again, one after the other
    RollingRestart => "rolling-restart", "agents are handed over or started again; none is lost";
    /// SIGKILL of all hosts at once, which are started again
    AllHostsKill => "all-hosts-kill", "each buries its predecessor's lease; all agents run again";
}

impl Fault {
    fn suits(self, setup: Setup) -> bool {
        match self {
            Self::RedisFailover => setup.fails_over(),
            // Only the single server is known by a name.
            Self::SlowNames => setup == Setup::Single,
            _ => true,
        }
    }

    /// Whether it begins only when all agents run: what exists in the registry alone, such
    /// as an agent that waits for a host, is truly lost with it.
    pub(crate) fn needs_calm(self) -> bool {
        matches!(self, Self::RedisLoseData)
    }

    /// Whether it is done to the registry alone, so that all agents go on.
    pub(crate) fn is_of_registry(self) -> bool {
        use Fault::*;
        matches!(
            self,
            RedisKill
                | RedisPause
                | RedisRestart
                | RedisLoseData
                | RedisSleep
                | RedisMemoryFull
                | RedisDiskFull
                | RedisFailover
                | PartitionHosts
                | PartitionRedis
                | SlowNames
        )
    }

    /// Whether it is one host's alone, so that another host may have one meanwhile.
    fn is_of_one_host(self) -> bool {
        use Fault::*;
        matches!(
            self,
            HostKill
                | HostCrash
                | HostPause
                | HostAndAgentsPause
                | FenceKill
                | AgentKill
                | AgentPause
                | PartitionHost
                | PartitionOut
                | PartitionIn
                | PartitionHostRedis
                | NetworkDelay
                | NetworkLoss
                | ClockJump
                | HostDiskFull
                | HostDescriptors
        )
    }

    /// How long it holds, in leases: at least and at most.
    fn leases(self) -> (f64, f64) {
        use Fault::*;
        match self {
            // Until the failover is over; this is how long that may take.
            HostKill => (6.0, 6.0),
            HostCrash | FenceKill | AgentKill | RedisRestart | RedisLoseData | RedisFailover => (0.2, 0.6),
            AgentPause | AllHostsKill => (0.3, 1.0),
            RollingRestart => (0.0, 0.0),
            // Half of them are over before the lease is.
            RedisSleep | NetworkDelay | NetworkLoss | SlowNames => (0.5, 2.0),
            _ => (0.6, 2.5),
        }
    }
}

/// One fault to come.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planned {
    /// What.
    pub(crate) fault: Fault,
    /// Which host, for those that are one host's.
    pub(crate) host: usize,
    /// Any number, for what else is to be chosen.
    pub(crate) pick: usize,
    /// For how long.
    pub(crate) hold: Duration,
    /// How long to leave things alone afterwards.
    pub(crate) gap: Duration,
}

/// Faults that hold at the same time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Round(pub(crate) Vec<Planned>);

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, planned) in self.0.iter().enumerate() {
            let Planned { fault, host, hold, .. } = planned;
            let lead = if n == 0 { "" } else { ", and meanwhile " };
            write!(f, "{lead}{} for {:.1} s", fault.name(), hold.as_secs_f64())?;
            if fault.is_of_one_host() {
                write!(f, " at h{}", host + 1)?;
            }
        }
        Ok(())
    }
}

/// The schedule of a seed: so many faults, each kind once before any comes again.
pub(crate) fn schedule(seed: u64, faults: usize, setup: Setup, hosts: usize, lease: Duration) -> Vec<Round> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut deck: Vec<Fault> = Vec::new();
    let mut rounds: Vec<Round> = Vec::new();
    let mut planned = 0;
    while planned < faults {
        if deck.is_empty() {
            deck = Fault::ALL.iter().copied().filter(|fault| fault.suits(setup)).collect();
            deck.shuffle(&mut random);
        }
        let Some(fault) = deck.pop() else { break };
        let (least, most) = fault.leases();
        let next = Planned {
            fault,
            host: random.random_range(0..hosts),
            pick: random.random_range(0..1_000_000),
            hold: lease.mul_f64(random.random_range(least..=most)),
            gap: lease.mul_f64(random.random_range(0.1..=0.8)),
        };
        // A quarter of the faults come while another holds, where both can be told apart.
        let beside = random.random_bool(0.25);
        match rounds.last_mut() {
            Some(Round(faults))
                if beside
                    && faults.len() == 1
                    && faults[0].host != next.host
                    && faults[0].fault.is_of_one_host()
                    && fault.is_of_one_host() =>
            {
                faults.push(next);
            }
            _ => rounds.push(Round(vec![next])),
        }
        planned += 1;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LEASE: Duration = Duration::from_secs(2);

    #[test]
    fn a_seed_is_a_schedule() {
        let of = |seed| schedule(seed, 200, Setup::Single, 5, LEASE);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        let faults: usize = of(7).iter().map(|round| round.0.len()).sum();
        assert_eq!(faults, 200);
        assert!(of(7).iter().any(|round| round.0.len() == 2), "some hold at the same time");
    }

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        for setup in [Setup::Single, Setup::Sentinel, Setup::Cluster] {
            let suited: BTreeSet<_> = Fault::ALL.iter().copied().filter(|fault| fault.suits(setup)).collect();
            let rounds = schedule(3, suited.len(), setup, 5, LEASE);
            let planned: BTreeSet<_> =
                rounds.iter().flat_map(|round| &round.0).map(|next| next.fault).collect();
            assert_eq!(planned, suited);
        }
    }

    #[test]
    fn names_are_told_apart() {
        let names: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
    }
}
