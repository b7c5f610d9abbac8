//! What was written: every flag and variable, as text.

use std::path::PathBuf;

use clap::{
    Parser,
    builder::{OsStringValueParser, TypedValueParser},
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
    /// The host's id, unique in the fleet. Unset: the pod's name and the first digits of its
    /// uid, or `HOSTNAME`, or the machine's name and the port.
    #[arg(long, env = "HOST_ID", value_name = "ID")]
    pub host_id: Option<String>,

    /// The name that the machine or the container was given.
    #[arg(long, env = "HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,

    /// In Kubernetes: the pod's name. A pod of the same name that takes its place is another
    /// host.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,

    /// In Kubernetes: the pod's uid.
    #[arg(long, env = "POD_UID", value_name = "UID")]
    pub pod_uid: Option<String>,

    /// In Kubernetes: the pod's address, which is advertised unless `ADVERTISE_URL` is set.
    #[arg(long, env = "POD_IP", value_name = "IP")]
    pub pod_ip: Option<String>,

    /// In Kubernetes: the pod's namespace.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    pub pod_namespace: Option<String>,

    /// In Kubernetes: keeps the pod's annotation `controller.kubernetes.io/pod-deletion-cost`
    /// at the number of its agents, so that the emptiest pods are ended first. Needs `patch`
    /// on `pods`.
    #[arg(long, env = "POD_DELETION_COST", value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    pub pod_deletion_cost: String,

    /// The name of the node, a label `kubernetes.io/hostname` of this host.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// The zone of the node, a label `topology.kubernetes.io/zone` of this host.
    #[arg(long, env = "ZONE", value_name = "NAME")]
    pub zone: Option<String>,

    /// The registry, as `redis://[user:password@]host:port[/db]`,
    /// `redis-sentinel://host,host/master` or `redis-cluster://host,host`, with `rediss` for
    /// TLS. Unset: in the memory of this process, so that the host is a fleet of its own.
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<String>,

    /// The authorities that may have signed the certificate of Redis, in PEM. Unset: those
    /// that the system trusts.
    #[arg(long, env = "REDIS_CA", value_name = "FILE", value_parser = path())]
    pub redis_ca: Option<PathBuf>,

    /// The certificate that the host shows to Redis, in PEM. Unset: none.
    #[arg(long, env = "REDIS_CERTIFICATE", value_name = "FILE", value_parser = path())]
    pub redis_certificate: Option<PathBuf>,

    /// The private key of that certificate, in PEM.
    #[arg(long, env = "REDIS_KEY", value_name = "FILE", value_parser = path())]
    pub redis_key: Option<PathBuf>,

    /// How many replicas of Redis must have a renewal or a claim before it counts. Unset: 1
    /// with Sentinels and in a Cluster, else 0.
    #[arg(long, env = "REDIS_REPLICAS", value_name = "N", default_value = "")]
    pub redis_replicas: String,

    /// The operator's runner table, a TOML file: what is executed for which class. It is read
    /// again when it has changed.
    #[arg(long, env = "RUNNERS", value_name = "FILE", value_parser = path())]
    pub runners: Option<PathBuf>,

    /// The port of the gRPC service; 0 takes a free one.
    #[arg(long, env = "GRPC_PORT", value_name = "PORT", default_value = "50051")]
    pub grpc_port: String,

    /// The port, at the same address, of the health service alone in plain text, for probes
    /// that do not speak TLS. Unset: none.
    #[arg(long, env = "HEALTH_PORT", value_name = "PORT", default_value = "")]
    pub health_port: String,

    /// The port, at the same address, of `/metrics` for Prometheus, in plain text. Unset: none.
    #[arg(long, env = "METRICS_PORT", value_name = "PORT", default_value = "")]
    pub metrics_port: String,

    /// The address that the gRPC service listens on. Beyond loopback it needs TLS or
    /// `--insecure`.
    #[arg(long, env = "LISTEN_ADDRESS", value_name = "IP", default_value = "127.0.0.1")]
    pub listen_address: String,

    /// Where engines and other hosts reach this one, such as `http://10.1.2.3:50051`.
    /// Unset: the address it listens on.
    #[arg(long, env = "ADVERTISE_URL", value_name = "URL")]
    pub advertise_url: Option<String>,

    /// The certificate that this host shows to engines and other hosts, in PEM, with those
    /// between it and the authority. It is read again when it has changed. Unset: plain text.
    #[arg(long, env = "TLS_CERTIFICATE", value_name = "FILE", value_parser = path())]
    pub tls_certificate: Option<PathBuf>,

    /// The private key of that certificate, in PEM.
    #[arg(long, env = "TLS_KEY", value_name = "FILE", value_parser = path())]
    pub tls_key: Option<PathBuf>,

    /// The authorities that the certificates of callers and of other hosts must come from,
    /// in PEM.
    #[arg(long, env = "TLS_CA", value_name = "FILE", value_parser = path())]
    pub tls_ca: Option<PathBuf>,

    /// Names in certificates of hosts, URIs or DNS names, with `*` for any characters. A host
    /// may call and be called by the others.
    #[arg(long, env = "TLS_HOSTS", value_name = "NAME,…", default_value = "spiffe://guildhall/host")]
    pub tls_hosts: String,

    /// Names in certificates of engines, which may start, find and stop agents.
    #[arg(long, env = "TLS_ENGINES", value_name = "NAME,…", default_value = "spiffe://guildhall/engine")]
    pub tls_engines: String,

    /// Names in certificates of operators, who may also cordon, drain and move.
    #[arg(long, env = "TLS_OPERATORS", value_name = "NAME,…", default_value = "spiffe://guildhall/operator")]
    pub tls_operators: String,

    /// Names in certificates of observers, who may only look.
    #[arg(long, env = "TLS_OBSERVERS", value_name = "NAME,…", default_value = "spiffe://guildhall/observer")]
    pub tls_observers: String,

    /// Allows to listen beyond loopback without TLS: whoever reaches the port may
    /// start and stop agents.
    #[arg(long, env = "INSECURE", value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    pub insecure: String,

    /// Calls that one caller (a certificate, or without TLS an address) may make a second, and
    /// as many at once; more are refused for a moment. 0 for any number.
    #[arg(long, env = "CALLS_PER_SECOND", value_name = "N", default_value = "5000")]
    pub calls_per_second: String,

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
    #[arg(long, env = "RECORD_DECISIONS", value_name = "FOLDER", value_parser = path())]
    pub record_decisions: Option<PathBuf>,

    /// Where compiled policies are kept. Unset: in the user's cache folder; empty: nowhere.
    #[arg(long, env = "POLICY_CACHE", value_name = "FOLDER", value_parser = path())]
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
    #[arg(long, env = "RUNTIME_DIR", value_name = "FOLDER", value_parser = path())]
    pub runtime_dir: Option<PathBuf>,

    /// Folder in which the host notes its lease, so that its next process can take its
    /// agents up at once. On a disk of this machine, never a network file system or a
    /// volume that moves. Unset: `RUNTIME_DIR`.
    #[arg(long, env = "STATE_DIR", value_name = "FOLDER", value_parser = path())]
    pub state_dir: Option<PathBuf>,

    /// What is logged, as `info` or `guildhall_host=debug,agent=info`.
    #[arg(long, env = "LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// The form of the log: `text` or `json`.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: String,
}

impl HostArgs {
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

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A path that may be empty, as a variable is that was set to nothing.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}
