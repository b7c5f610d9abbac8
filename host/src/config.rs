//! Configuration from flags and environment, validated whole: whoever starts a
//! host with three mistakes is told of all three.
//!
//! [`HostArgs`] is what was written, as text; [`HostConfig`] is what it means.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Parser;
use guildhall::{
    host::Consistency,
    ids::HostId,
    placement::{
        BuiltIn, CompiledCache, Imports, PolicyArtifact, PolicyChoice, PublicKey, Sha256Digest, Trust,
    },
    registry::{RedisRegistry, RedisTls},
    resources::Amounts,
};

use crate::{
    clock::Clock,
    runner::RunnerTable,
    supervisor::{SupervisorConfig, restart::RestartLimits},
};

/// Runs agents: one operating-system process each.
///
/// Every flag can be given as an environment variable. Durations are written as
/// `500ms`, `20s`, `1m 30s`, or as a number of seconds.
///
/// Exit codes: 0 after a drain, 1 for an error while running or a drain that was
/// not complete, 2 for a wrong configuration, 3 when the registry cannot be
/// reached at the start, 4 when the address cannot be listened on.
#[derive(Clone, Parser)]
#[command(name = "agent-host", version)]
pub struct HostArgs {
    /// The host's id, unique in the fleet. Unset: the machine's name and the port.
    #[arg(long, env = "HOSTNAME", value_name = "ID")]
    pub host_id: Option<String>,

    /// The registry, as `redis://[user:password@]host:port[/db]`,
    /// `redis-sentinel://host,host/master` or `redis-cluster://host,host`, with `rediss` for
    /// TLS. Unset: in the memory of this process, so that the host is a fleet of its own.
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<String>,

    /// The authorities that may have signed the certificate of Redis, in PEM. Unset: those
    /// that the system trusts.
    #[arg(long, env = "REDIS_CA", value_name = "FILE")]
    pub redis_ca: Option<PathBuf>,

    /// The certificate that the host shows to Redis, in PEM. Unset: none.
    #[arg(long, env = "REDIS_CERTIFICATE", value_name = "FILE")]
    pub redis_certificate: Option<PathBuf>,

    /// The private key of that certificate, in PEM.
    #[arg(long, env = "REDIS_KEY", value_name = "FILE")]
    pub redis_key: Option<PathBuf>,

    /// How many replicas of Redis must have a renewal or a claim before it counts. Unset: 1
    /// with Sentinels and in a Cluster, else 0.
    #[arg(long, env = "REDIS_REPLICAS", value_name = "N", default_value = "")]
    pub redis_replicas: String,

    /// The operator's runner table, a TOML file: what is executed for which class.
    #[arg(long, env = "RUNNERS", value_name = "FILE")]
    pub runners: Option<PathBuf>,

    /// The port of the gRPC service; 0 takes a free one.
    #[arg(long, env = "GRPC_PORT", value_name = "PORT", default_value = "50051")]
    pub grpc_port: String,

    /// The address that the gRPC service listens on. Beyond loopback it needs `--insecure`.
    #[arg(long, env = "LISTEN_ADDRESS", value_name = "IP", default_value = "127.0.0.1")]
    pub listen_address: String,

    /// Where engines and other hosts reach this one, such as `http://10.1.2.3:50051`.
    /// Unset: the address it listens on.
    #[arg(long, env = "ADVERTISE_URL", value_name = "URL")]
    pub advertise_url: Option<String>,

    /// Allows to listen beyond loopback without TLS: whoever reaches the port may
    /// start and stop agents.
    #[arg(long, env = "INSECURE", value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    pub insecure: String,

    /// Agents that the host takes at most.
    #[arg(long, env = "MAX_PROCESSES", value_name = "N", default_value = "100")]
    pub max_processes: String,

    /// Time between two load reports.
    #[arg(long, env = "HEARTBEAT_INTERVAL", value_name = "DURATION", default_value = "20s")]
    pub heartbeat_interval: String,

    /// How long the host's claims hold without a renewal. It is renewed three times
    /// in this time.
    #[arg(long, env = "LEASE", value_name = "DURATION", default_value = "10s")]
    pub lease: String,

    /// What the host does when it cannot renew its lease: `strict` stops its agents before
    /// another host may start them, `available` lets them go on beside those.
    #[arg(long, env = "CONSISTENCY", value_name = "WHAT", default_value = "strict")]
    pub consistency: String,

    /// How long a strict host goes on without the registry when its peers cannot reach it
    /// either; `0` for not at all. Agents of more than half of a fleet that is gone at once
    /// wait for as long.
    #[arg(long, env = "OUTAGE_PATIENCE", value_name = "DURATION", default_value = "10m")]
    pub outage_patience: String,

    /// How long to try to reach the registry at the start before giving up.
    #[arg(long, env = "REGISTRY_PATIENCE", value_name = "DURATION", default_value = "30s")]
    pub registry_patience: String,

    /// The policy for `RunAgent`: `fleet` for the one that the registry names (round-robin
    /// as long as it names none), `round-robin`, `least-loaded`, or the path of a component
    /// or of a folder with `policy.wasm` and `settings.json`. A path is followed: what is
    /// put in its place takes over.
    #[arg(long, env = "POLICY", value_name = "NAME|PATH", default_value = "fleet")]
    pub policy: String,

    /// The settings of a policy that brings none along, a JSON object.
    #[arg(long, env = "POLICY_SETTINGS", value_name = "JSON", default_value = "{}")]
    pub policy_settings: String,

    /// SHA-256 digests of the only policies that may decide. Unset: any may.
    #[arg(long, env = "POLICY_SHA256", value_name = "DIGEST,…", default_value = "")]
    pub policy_sha256: String,

    /// Files with ed25519 public keys in PEM: only policies that one of them has signed may
    /// decide. Unset: unsigned ones too.
    #[arg(long, env = "POLICY_KEYS", value_name = "FILE,…", default_value = "")]
    pub policy_keys: String,

    /// What decides when the policy has failed three times in a row: a built-in policy, or
    /// `refuse` for nothing.
    #[arg(long, env = "POLICY_FALLBACK", value_name = "NAME", default_value = "round-robin")]
    pub policy_fallback: String,

    /// What a policy may import: `nothing`, or `wasi` for stand-ins whose clocks stand still
    /// and whose random numbers come from a fixed seed, without files or network.
    #[arg(long, env = "POLICY_IMPORTS", value_name = "WHAT", default_value = "nothing")]
    pub policy_imports: String,

    /// A policy that decides in the shadow of the one in charge, and changes nothing; the
    /// log says once a minute how often it differs. As for `POLICY`, without `fleet`.
    #[arg(long, env = "SHADOW_POLICY", value_name = "NAME|PATH", default_value = "")]
    pub shadow_policy: String,

    /// A folder without a log, in which all that the policy is told and asked is written
    /// down, for `guildhall policy replay`. Unset: nowhere.
    #[arg(long, env = "RECORD_DECISIONS", value_name = "FOLDER")]
    pub record_decisions: Option<PathBuf>,

    /// Where compiled policies are kept. Unset: in the user's cache folder; empty: nowhere.
    #[arg(long, env = "POLICY_CACHE", value_name = "FOLDER")]
    pub policy_cache: Option<PathBuf>,

    /// Labels that policies may look at, as `zone=a,disk=ssd`.
    #[arg(long, env = "LABELS", value_name = "KEY=VALUE,…", default_value = "")]
    pub labels: String,

    /// What there is for agents, as `cpus=3.5,memory=8Gi,gpus=2` with any resources of your
    /// own. Unset: the machine's CPUs and memory, or the container's.
    #[arg(long, env = "ALLOCATABLE", value_name = "NAME=AMOUNT,…", default_value = "")]
    pub allocatable: String,

    /// How long an agent may take to become ready, unless its runner says otherwise.
    #[arg(long, env = "READY_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    pub ready_timeout: String,

    /// Time between SIGTERM and SIGKILL, unless an agent's runner says otherwise.
    #[arg(long, env = "STOP_GRACE", value_name = "DURATION", default_value = "10s")]
    pub stop_grace: String,

    /// How long a drain may take after SIGTERM before what is left is killed.
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "DURATION", default_value = "25s")]
    pub drain_timeout: String,

    /// Agents that are moved at most a minute after hosts joined, if the policy proposes
    /// moves; 0 for none.
    #[arg(long, env = "REBALANCE", value_name = "N", default_value = "10")]
    pub rebalance: String,

    /// Restarts in a row before an agent is recorded as failed.
    #[arg(long, env = "RESTART_LIMIT", value_name = "N", default_value = "10")]
    pub restart_limit: String,

    /// Folder for the sockets that agents send their notifications to. Unset: the
    /// system's folder for temporary files.
    #[arg(long, env = "RUNTIME_DIR", value_name = "FOLDER")]
    pub runtime_dir: Option<PathBuf>,

    /// Folder in which the host notes its lease, so that its next process can take its
    /// agents up at once. On a disk of this machine, never a network file system or a
    /// volume that moves. Unset: `RUNTIME_DIR`.
    #[arg(long, env = "STATE_DIR", value_name = "FOLDER")]
    pub state_dir: Option<PathBuf>,

    /// What is logged, as `info` or `guildhall_host=debug,agent=info`.
    #[arg(long, env = "LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// The form of the log: `text` or `json`.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: String,
}

/// Where the registry is.
#[derive(Clone, PartialEq, Eq)]
pub enum RegistryAddress {
    /// In the memory of this process.
    Memory,
    /// At this URL, which may hold a password.
    Redis(String),
}

/// Never shows the URL: it may hold a password.
impl fmt::Debug for RegistryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Redis(_) => "redis",
        })
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a host is told once, when it starts. Printed without secrets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostConfig {
    /// Where the registry is.
    pub registry: RegistryAddress,
    /// How long to try to reach it at the start.
    pub registry_patience: Duration,
    /// The certificates of the connection to it.
    pub redis_tls: RedisTls,
    /// How many replicas must have what others rely on; `None`: as is usual for its form.
    pub redis_replicas: Option<u32>,
    /// What is executed for which class.
    pub runners: RunnerTable,
    /// What the gRPC service listens on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where others reach it; `None`: where it listens.
    pub advertise: Option<String>,
    /// Labels that policies may look at.
    pub labels: BTreeMap<String, String>,
    /// What there is for agents; `None`: what the machine or the container has.
    pub allocatable: Option<Amounts>,
    /// Time between two load reports.
    pub heartbeat: Duration,
    /// How long claims hold without a renewal.
    pub lease: Duration,
    /// What the host does when it cannot renew it.
    pub consistency: Consistency,
    /// How long it goes on under the promises of its peers, while the registry is away for
    /// all.
    pub outage_patience: Duration,
    /// What its tenure is measured on.
    pub clock: Clock,
    /// Agents that are moved at most a minute after hosts joined, if the policy proposes it.
    pub rebalance: usize,
    /// The policy for `RunAgent`.
    pub policy: PolicyChoice,
    /// The settings of a policy that brings none along.
    pub policy_settings: serde_json::Value,
    /// Which policies may decide.
    pub trust: Trust,
    /// What decides when the policy fails again and again; `None`: nothing.
    pub policy_fallback: Option<BuiltIn>,
    /// What a policy may import.
    pub policy_imports: Imports,
    /// A policy in the shadow of the one in charge.
    pub shadow_policy: Option<PolicyArtifact>,
    /// Where decisions are written down.
    pub record_decisions: Option<PathBuf>,
    /// Where compiled policies are kept.
    pub policy_cache: CompiledCache,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// Where the host notes its lease; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// What the supervisor is told, the host's id included.
    pub supervisor: SupervisorConfig,
}

impl HostConfig {
    /// The defaults: a free port of the loopback interface, the in-memory registry,
    /// and else what the flags' defaults say.
    pub fn new(id: HostId, runners: RunnerTable) -> Self {
        Self {
            registry: RegistryAddress::Memory,
            registry_patience: Duration::from_secs(30),
            redis_tls: RedisTls::default(),
            redis_replicas: None,
            runners,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            labels: BTreeMap::new(),
            allocatable: None,
            heartbeat: Duration::from_secs(20),
            lease: Duration::from_secs(10),
            consistency: Consistency::Strict,
            outage_patience: Duration::from_secs(600),
            clock: Clock::Machine,
            rebalance: 10,
            policy: PolicyChoice::default(),
            policy_settings: serde_json::Value::Null,
            trust: Trust::default(),
            policy_fallback: Some(BuiltIn::RoundRobin),
            policy_imports: Imports::default(),
            shadow_policy: None,
            record_decisions: None,
            policy_cache: CompiledCache::default(),
            drain_timeout: Duration::from_secs(25),
            state_dir: None,
            supervisor: SupervisorConfig::new(id, std::env::temp_dir()),
        }
    }

    /// The host's id.
    pub fn id(&self) -> &HostId {
        &self.supervisor.host
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<String>);

impl ConfigErrors {
    /// One sentence for each mistake.
    pub fn messages(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

impl std::error::Error for ConfigErrors {}

impl HostArgs {
    /// What was written, understood; or everything that is wrong with it.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every mistake there is.
    pub fn validate(&self) -> Result<HostConfig, ConfigErrors> {
        let mut check = Check::default();

        let port: u16 = check.parse("GRPC_PORT", &self.grpc_port, "a port from 0 to 65535").unwrap_or(0);
        let ip: IpAddr = check
            .parse("LISTEN_ADDRESS", &self.listen_address, "an IP address such as 127.0.0.1 or ::")
            .unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let insecure: bool = check.parse("INSECURE", &self.insecure, "true or false").unwrap_or_default();
        if !ip.is_loopback() && !insecure {
            check.mistake("LISTEN_ADDRESS", &self.listen_address, "is not loopback, and without TLS whoever reaches the port may start and stop agents: set INSECURE=true if only trusted peers can");
        }
        let advertise = self.advertise_url.clone().filter(|url| !url.is_empty());
        if let Some(url) = &advertise {
            let fine = url
                .parse::<tonic::transport::Uri>()
                .is_ok_and(|uri| uri.host().is_some() && uri.scheme_str() == Some("http"));
            if !fine {
                check.mistake("ADVERTISE_URL", url, "is not a URL such as http://10.1.2.3:50051");
            }
        } else if ip.is_unspecified() {
            check.missing("ADVERTISE_URL", "the host listens on all addresses, so it must be told where others reach it, such as http://10.1.2.3:50051");
        }

        let id = self.host_id.clone().filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| format!("{}-{port}", machine_name()));
        let id = check.check("HOSTNAME", &id, HostId::new(&id));

        let registry = match self.redis_url.clone().filter(|url| !url.is_empty()) {
            None => RegistryAddress::Memory,
            Some(url) => {
                if let Err(error) = RedisRegistry::check_url(&url) {
                    // The value is shown by the error alone, which leaves out a password.
                    check.0.push(format!("REDIS_URL cannot be used: {error}"));
                }
                RegistryAddress::Redis(url)
            }
        };

        let redis_tls = self.redis_tls(&mut check);
        let redis_replicas = match self.redis_replicas.trim() {
            "" => None,
            written => check.parse("REDIS_REPLICAS", written, "a number of replicas"),
        };

        let runners = match &self.runners {
            None => {
                check.missing("RUNNERS", "without a runner table the host cannot run anything");
                None
            }
            Some(path) => check.check("RUNNERS", &path.display(), RunnerTable::read(path)),
        };

        let capacity: u32 =
            check.parse("MAX_PROCESSES", &self.max_processes, "a number of agents, 1 or more").unwrap_or(1);
        if capacity == 0 {
            check.mistake("MAX_PROCESSES", &self.max_processes, "is not a number of agents, 1 or more");
        }
        let restart_limit =
            check.parse("RESTART_LIMIT", &self.restart_limit, "a number of restarts").unwrap_or(0);

        let heartbeat = check.duration("HEARTBEAT_INTERVAL", &self.heartbeat_interval);
        let lease = check.duration("LEASE", &self.lease);
        let registry_patience = check.duration("REGISTRY_PATIENCE", &self.registry_patience);
        let ready_timeout = check.duration("READY_TIMEOUT", &self.ready_timeout);
        let stop_grace = check.duration("STOP_GRACE", &self.stop_grace);
        let drain_timeout = check.duration("DRAIN_TIMEOUT", &self.drain_timeout);
        if lease < Duration::from_secs(1) {
            check.mistake("LEASE", &self.lease, "is shorter than 1s: a short pause of the host would end it");
        }

        let consistency = match self.consistency.as_str() {
            "strict" => Consistency::Strict,
            "available" => Consistency::Available,
            other => {
                check.mistake("CONSISTENCY", other, "is neither strict nor available");
                Consistency::Strict
            }
        };
        let outage_patience = match self.outage_patience.trim() {
            "0" | "0s" => Duration::ZERO,
            _ => check.duration("OUTAGE_PATIENCE", &self.outage_patience),
        };

        let rebalance = check.parse("REBALANCE", &self.rebalance, "a number of agents").unwrap_or(0);

        let policy = PolicyChoice::parse(&self.policy);
        check.check("POLICY", &self.policy, policy.check());
        let pinned = parts(&self.policy_sha256)
            .filter_map(|text| check.check("POLICY_SHA256", &text, Sha256Digest::try_from(text.to_owned())))
            .collect();
        let keys = parts(&self.policy_keys)
            .filter_map(|file| check.check("POLICY_KEYS", &file, PublicKey::read(file)))
            .collect();
        let policy_fallback = BuiltIn::named(&self.policy_fallback);
        if policy_fallback.is_none() && self.policy_fallback != "refuse" {
            check.mistake(
                "POLICY_FALLBACK",
                &self.policy_fallback,
                "is neither a built-in policy nor refuse",
            );
        }
        let policy_settings = check
            .check("POLICY_SETTINGS", &self.policy_settings, serde_json::from_str(&self.policy_settings))
            .unwrap_or(serde_json::Value::Null);
        if !policy_settings.is_object() && !policy_settings.is_null() {
            check.mistake("POLICY_SETTINGS", &self.policy_settings, "is not a JSON object");
        }
        let policy_imports = match self.policy_imports.as_str() {
            "nothing" => Imports::Refused,
            "wasi" => Imports::WasiStubs,
            other => {
                check.mistake("POLICY_IMPORTS", other, "is neither nothing nor wasi");
                Imports::Refused
            }
        };
        let shadow_policy = match self.shadow_policy.as_str() {
            "" => None,
            shadow => check.check("SHADOW_POLICY", &shadow, PolicyArtifact::named(shadow)),
        };
        let policy_cache = match &self.policy_cache {
            None => CompiledCache::default(),
            Some(path) if path.as_os_str().is_empty() => CompiledCache::off(),
            Some(path) => CompiledCache::at(path),
        };

        let mut labels = BTreeMap::new();
        for label in parts(&self.labels) {
            match label.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    labels.insert(key.trim().to_owned(), value.trim().to_owned());
                }
                _ => check.mistake("LABELS", label, "is not of the form key=value"),
            }
        }

        let allocatable = check
            .check("ALLOCATABLE", &self.allocatable, amounts(parts(&self.allocatable)))
            .filter(|_| !self.allocatable.trim().is_empty());

        if let Err(error) = self.log_filter() {
            check.mistake("LOG", &self.log, &error);
        }
        if self.log_format().is_none() {
            check.mistake("LOG_FORMAT", &self.log_format, "is neither text nor json");
        }

        let runtime_dir = self.runtime_dir.clone().unwrap_or_else(std::env::temp_dir);
        if !runtime_dir.is_dir() {
            check.mistake("RUNTIME_DIR", &runtime_dir.to_string_lossy(), "is not a folder");
        }
        let state_dir = self.state_dir.clone().unwrap_or_else(|| runtime_dir.clone());
        if self.state_dir.is_some() && !state_dir.is_dir() {
            check.mistake("STATE_DIR", &state_dir.to_string_lossy(), "is not a folder");
        }

        let (Some(id), Some(runners), true) = (id, runners, check.0.is_empty()) else {
            return Err(ConfigErrors(check.0));
        };
        let mut supervisor = SupervisorConfig::new(id.clone(), runtime_dir);
        supervisor.capacity = capacity;
        supervisor.ready_timeout = ready_timeout;
        supervisor.stop_grace = stop_grace;
        supervisor.restart = RestartLimits { limit: restart_limit, ..supervisor.restart };
        Ok(HostConfig {
            registry,
            registry_patience,
            redis_tls,
            redis_replicas,
            listen: SocketAddr::new(ip, port),
            advertise,
            labels,
            allocatable,
            heartbeat,
            lease,
            consistency,
            outage_patience,
            rebalance,
            policy,
            policy_settings,
            trust: Trust { pinned, keys },
            policy_fallback,
            policy_imports,
            shadow_policy,
            record_decisions: self.record_decisions.clone().filter(|folder| !folder.as_os_str().is_empty()),
            policy_cache,
            drain_timeout,
            state_dir: Some(state_dir),
            supervisor,
            ..HostConfig::new(id, runners)
        })
    }

    fn redis_tls(&self, check: &mut Check) -> RedisTls {
        let mut file = |name, path: &Option<PathBuf>| {
            let path = path.clone().filter(|path| !path.as_os_str().is_empty())?;
            check.check(name, &path.display(), std::fs::File::open(&path));
            Some(path)
        };
        let tls = RedisTls {
            ca: file("REDIS_CA", &self.redis_ca),
            certificate: file("REDIS_CERTIFICATE", &self.redis_certificate),
            key: file("REDIS_KEY", &self.redis_key),
        };
        match (&tls.certificate, &tls.key) {
            (Some(_), None) => {
                check.missing("REDIS_KEY", "the certificate of REDIS_CERTIFICATE needs its key")
            }
            (None, Some(_)) => {
                check.missing("REDIS_CERTIFICATE", "the key of REDIS_KEY needs its certificate")
            }
            _ => {}
        }
        let url = self.redis_url.as_deref().unwrap_or_default();
        if tls != RedisTls::default() && !(url.starts_with("rediss") || url.starts_with("valkeys")) {
            check.0.push(
                "REDIS_CA, REDIS_CERTIFICATE and REDIS_KEY are for TLS, but REDIS_URL does not begin with rediss"
                    .to_owned(),
            );
        }
        tls
    }

    /// The filter of the log.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn log_filter(&self) -> Result<tracing_subscriber::EnvFilter, String> {
        tracing_subscriber::EnvFilter::try_new(&self.log).map_err(|error| error.to_string())
    }

    /// The form of the log, if it is one.
    pub fn log_format(&self) -> Option<LogFormat> {
        match self.log_format.as_str() {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }
    }
}

/// Collects mistakes.
#[derive(Default)]
struct Check(Vec<String>);

impl Check {
    fn mistake(&mut self, name: &str, value: &str, what: &str) {
        self.0.push(format!("{name}={value:?} {what}"));
    }

    fn missing(&mut self, name: &str, why: &str) {
        self.0.push(format!("{name} is not set: {why}"));
    }

    fn parse<T: std::str::FromStr>(&mut self, name: &str, value: &str, what: &str) -> Option<T> {
        let parsed = value.trim().parse().ok();
        if parsed.is_none() {
            self.mistake(name, value, &format!("is not {what}"));
        }
        parsed
    }

    fn check<T, E: fmt::Display>(
        &mut self,
        name: &str,
        value: &dyn fmt::Display,
        result: Result<T, E>,
    ) -> Option<T> {
        result
            .map_err(|error| self.mistake(name, &value.to_string(), &format!("cannot be used: {error}")))
            .ok()
    }

    /// A duration that is not zero; a bare number counts seconds.
    fn duration(&mut self, name: &str, value: &str) -> Duration {
        let seconds = value.trim().parse().ok().map(Duration::from_secs);
        let parsed = seconds.or_else(|| humantime::parse_duration(value.trim()).ok());
        match parsed.filter(|duration| !duration.is_zero()) {
            Some(duration) => duration,
            None => {
                self.mistake(name, value, "is not a duration such as 20s, 500ms or 20");
                // Stands in until all mistakes are told.
                Duration::from_secs(3600)
            }
        }
    }
}

/// Amounts of resources as an operator writes them.
fn amounts<'a>(parts: impl Iterator<Item = &'a str>) -> Result<Amounts, String> {
    let mut amounts = Amounts::default();
    for part in parts {
        let not_an_amount = || format!("{part} is not of the form cpus=3.5, memory=8Gi or name=2");
        let (name, amount) = part.split_once('=').ok_or_else(not_an_amount)?;
        let amount = quantity(amount.trim()).ok_or_else(not_an_amount)?;
        match name.trim() {
            "" => return Err(not_an_amount()),
            "cpus" => amounts.cpu_millis = (amount * 1000.0) as u64,
            "gpus" => amounts.accelerator_millis = (amount * 1000.0) as u64,
            "memory" => amounts.memory = amount as u64,
            name => drop(amounts.custom.insert(name.to_owned(), amount)),
        }
    }
    Ok(amounts)
}

/// A number that is not negative, with or without a binary unit.
fn quantity(text: &str) -> Option<f64> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    let (number, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).unwrap_or((text, 0));
    let number: f64 = number.parse().ok()?;
    (number.is_finite() && number >= 0.0).then(|| number * (1_u64 << shift) as f64)
}

/// The parts of a list with commas; none of an empty one.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
