//! What was written, understood; or everything that is wrong with it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use guildhall::{
    host::Consistency,
    ids::HostId,
    placement::{
        BuiltIn, CompiledCache, Imports, PolicyArtifact, PolicyChoice, PublicKey, Sha256Digest, Trust,
    },
    registry::{RedisRegistry, RedisTls},
    transport::{NamePattern, Tls, TlsFiles},
};

use super::{
    ConfigErrors, HostArgs, HostConfig, RegistryAddress,
    check::{Check, amounts, parts},
};
#[cfg(feature = "kubernetes")]
use crate::deletion_cost::OwnPod;
use crate::{
    runner::RunnerTable,
    server::Roles,
    supervisor::{SupervisorConfig, restart::RestartLimits},
};

/// Labels that Kubernetes gives to nodes, and this host takes from its environment.
const NODE_LABEL: &str = "kubernetes.io/hostname";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

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
        let tls = self.tls(&mut check);
        if !ip.is_loopback() && !insecure && tls.is_none() {
            check.mistake("LISTEN_ADDRESS", &self.listen_address, "is not loopback, and without TLS whoever reaches the port may start and stop agents: set TLS_CERTIFICATE, or INSECURE=true if only trusted peers can");
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut port_of = |name, written: &str| match written.trim() {
            "" => None,
            written => check.parse::<u16>(name, written, "a port from 0 to 65535"),
        };
        let health_port = port_of("HEALTH_PORT", &self.health_port);
        let metrics_port = port_of("METRICS_PORT", &self.metrics_port);
        let advertise = given(&self.advertise_url).map(str::to_owned).or_else(|| {
            let ip: IpAddr = check.parse("POD_IP", given(&self.pod_ip)?, "an IP address")?;
            Some(format!("{scheme}://{}", SocketAddr::new(ip, port)))
        });
        if let Some(url) = &advertise {
            let fine = url
                .parse::<tonic::transport::Uri>()
                .is_ok_and(|uri| uri.host().is_some() && uri.scheme_str() == Some(scheme));
            if !fine {
                check.mistake(
                    "ADVERTISE_URL",
                    url,
                    &format!("is not a URL such as {scheme}://10.1.2.3:50051"),
                );
            }
        } else if ip.is_unspecified() {
            check.missing("ADVERTISE_URL", "the host listens on all addresses, so it must be told where others reach it, such as http://10.1.2.3:50051");
        }

        let id = given(&self.host_id)
            .map(str::to_owned)
            .or_else(|| Some(pod_id(given(&self.pod_name)?, given(&self.pod_uid)?)))
            .or_else(|| given(&self.hostname).map(str::to_owned))
            .unwrap_or_else(|| format!("{}-{port}", machine_name()));
        let id = check.check("HOST_ID", &id, HostId::new(&id));

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

        let runners = match set(&self.runners) {
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

        let calls_a_second: Option<u32> =
            check.parse("CALLS_PER_SECOND", &self.calls_per_second, "a number of calls");

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
        for (label, value) in [(NODE_LABEL, &self.node_name), (ZONE_LABEL, &self.zone)] {
            labels.extend(given(value).map(|value| (label.to_owned(), value.to_owned())));
        }
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

        let runtime_dir = set(&self.runtime_dir).map_or_else(std::env::temp_dir, Path::to_owned);
        if !runtime_dir.is_dir() {
            check.mistake("RUNTIME_DIR", &runtime_dir.to_string_lossy(), "is not a folder");
        }
        let state_dir = set(&self.state_dir).unwrap_or(&runtime_dir).to_owned();
        if set(&self.state_dir).is_some() && !state_dir.is_dir() {
            check.mistake("STATE_DIR", &state_dir.to_string_lossy(), "is not a folder");
        }

        let deletion_cost: bool =
            check.parse("POD_DELETION_COST", &self.pod_deletion_cost, "true or false").unwrap_or_default();
        #[cfg(feature = "kubernetes")]
        let own_pod = match (deletion_cost, given(&self.pod_namespace), given(&self.pod_name)) {
            (false, ..) => None,
            (true, Some(namespace), Some(name)) => {
                Some(OwnPod { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            (true, ..) => {
                check.missing(
                    "POD_NAME and POD_NAMESPACE",
                    "POD_DELETION_COST needs to know which pod this is",
                );
                None
            }
        };
        #[cfg(not(feature = "kubernetes"))]
        if deletion_cost {
            check.mistake(
                "POD_DELETION_COST",
                &self.pod_deletion_cost,
                "needs an agent-host that is built with the feature kubernetes",
            );
        }

        let named = |list: &str| parts(list).map(NamePattern::new).collect();
        let roles = Roles {
            hosts: named(&self.tls_hosts),
            engines: named(&self.tls_engines),
            operators: named(&self.tls_operators),
            observers: named(&self.tls_observers),
        };

        let (Some(id), Some(runners), true) = (id, runners, check.0.is_empty()) else {
            return Err(ConfigErrors(check.0));
        };
        let mut supervisor = SupervisorConfig::new(id.clone(), runtime_dir);
        supervisor.capacity = capacity;
        supervisor.ready_timeout = ready_timeout;
        supervisor.stop_grace = stop_grace;
        supervisor.restart = RestartLimits { limit: restart_limit, ..supervisor.restart };
        Ok(HostConfig {
            runners_file: set(&self.runners).map(Path::to_owned),
            #[cfg(feature = "kubernetes")]
            own_pod,
            registry,
            registry_patience,
            redis_tls,
            redis_replicas,
            listen: SocketAddr::new(ip, port),
            advertise,
            health_listen: health_port.map(|port| SocketAddr::new(ip, port)),
            metrics_listen: metrics_port.map(|port| SocketAddr::new(ip, port)),
            tls,
            roles,
            calls_a_second: calls_a_second.and_then(NonZeroU32::new),
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
            record_decisions: set(&self.record_decisions).map(Path::to_owned),
            policy_cache,
            drain_timeout,
            state_dir: Some(state_dir),
            supervisor,
            ..HostConfig::new(id, runners)
        })
    }

    /// The host's own certificate, if it has one.
    fn tls(&self, check: &mut Check) -> Option<TlsFiles> {
        let files = [
            ("TLS_CERTIFICATE", set(&self.tls_certificate)),
            ("TLS_KEY", set(&self.tls_key)),
            ("TLS_CA", set(&self.tls_ca)),
        ];
        if files.iter().all(|(_, path)| path.is_none()) {
            return None;
        }
        for (name, path) in files {
            if path.is_none() {
                check.missing(
                    name,
                    "TLS needs a certificate, its key, and the authority that others' come from",
                );
            }
        }
        let [certificate, key, ca] = files.map(|(_, path)| path.map(Path::to_owned));
        let files = TlsFiles { certificate: certificate?, key: key?, ca: ca? };
        check.check("TLS_CERTIFICATE", &files.certificate.display(), Tls::load(files.clone(), Vec::new()));
        Some(files)
    }

    fn redis_tls(&self, check: &mut Check) -> RedisTls {
        let mut file = |name, path: &Option<PathBuf>| {
            let path = set(path)?;
            check.check(name, &path.display(), std::fs::File::open(path));
            Some(path.to_owned())
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
}

/// A text that is set, and not to nothing.
fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

/// A pod's name, and enough of its uid to tell it from one of the same name before it.
fn pod_id(name: &str, uid: &str) -> String {
    format!("{name}-{}", uid.chars().take(8).collect::<String>())
}

/// One that is set, and not to nothing.
fn set(path: &Option<PathBuf>) -> Option<&Path> {
    path.as_deref().filter(|path| !path.as_os_str().is_empty())
}

fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
