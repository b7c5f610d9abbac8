//! `agent-host`: one host as a process. See `HostArgs` for its flags and exit codes.

mod reaper;

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use guildhall::registry::{MemoryRegistry, RedisOptions, RedisRegistry, Registry, RegistryError};
use guildhall_host::{
    Host, HostArgs, HostConfig, HostError,
    config::{LogFormat, RegistryAddress},
    fence::{self, FenceBy},
    supervisor::SupervisorError,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

/// Three pipes, a notification socket and the process itself.
const DESCRIPTORS_PER_AGENT: u64 = 5;
/// Connections, the log, the runtime.
const DESCRIPTORS_OF_HOST: u64 = 512;

const FAILED: u8 = 1;
const WRONG_CONFIGURATION: u8 = 2;
const NO_REGISTRY: u8 = 3;
const CANNOT_LISTEN: u8 = 4;

fn main() -> ExitCode {
    // Not for people, so it is in no help. It has no runtime and no configuration.
    if std::env::args_os().skip(1).eq(["fence"]) {
        return fence::main();
    }
    keep_secrets();
    let args = HostArgs::parse();
    let mut config = match args.validate() {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("agent-host: {errors}");
            return WRONG_CONFIGURATION.into();
        }
    };
    // This very program, even if another lies in its place by now.
    config.supervisor.fence = FenceBy::Process("/proc/self/exe".into());
    log(&args);
    info!(?config, "starting");
    // Orphans of agents come to this process, so that none becomes a zombie of
    // somebody else's. The supervisor ends those of an agent's process group; those
    // that left it go on, and are reaped when they end.
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        warn!(%error, "orphans of agents go to the system's first process");
    }
    allow_descriptors(config.supervisor.capacity);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the runtime cannot be started");
            return FAILED.into();
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            code = run(config) => code,
            () = reaper::reap_inherited() => FAILED,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code.into()
}

/// Keeps what is in this process' environment and memory from agents, which mostly run as
/// the same user: the registry's password, the keys. There are no core dumps either.
fn keep_secrets() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        eprintln!("agent-host: agents may read this process' environment: {error}");
    }
}

/// Raises the limit on open descriptors as far as the capacity asks for and the
/// system allows. No further, because agents inherit it.
fn allow_descriptors(agents: u32) {
    let needed = DESCRIPTORS_OF_HOST + DESCRIPTORS_PER_AGENT * u64::from(agents);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let allowed = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), ..limit }) {
        warn!(%error, "the limit on open descriptors cannot be raised");
    } else if allowed < needed {
        warn!(allowed, needed, "the system allows fewer descriptors than a full host needs");
    }
}

fn log(args: &HostArgs) {
    let filter = args.log_filter().unwrap_or_default();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format() {
        Some(LogFormat::Json) => log.json().init(),
        _ => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
}

async fn run(config: HostConfig) -> u8 {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                error!(%error, "signals cannot be received");
                return FAILED;
            }
        };
    let start = async {
        let registry: Arc<dyn Registry> = match &config.registry {
            RegistryAddress::Memory => Arc::new(MemoryRegistry::new()),
            RegistryAddress::Redis(url) => {
                let options = RedisOptions {
                    connect_within: config.registry_patience,
                    replicas: config.redis_replicas,
                    tls: config.redis_tls.clone(),
                    ..RedisOptions::default()
                };
                let registry = RedisRegistry::connect(url, options).await?;
                registry.check_durability().await?;
                Arc::new(registry)
            }
        };
        Host::start(config, registry).await
    };
    let host = tokio::select! {
        started = start => match started {
            Ok(host) => host,
            Err(error) => {
                error!(%error, "the host did not start");
                return match error {
                    HostError::Registry(
                        RegistryError::Address { .. }
                        | RegistryError::Options { .. }
                        | RegistryError::WouldEvict { .. },
                    )
                    | HostError::Engine(_)
                    | HostError::IdInUse { .. }
                    | HostError::State(_)
                    | HostError::Setting(_)
                    | HostError::Tls(_)
                    | HostError::Supervisor(SupervisorError::RuntimeDir { .. }) => WRONG_CONFIGURATION,
                    HostError::Registry(_) => NO_REGISTRY,
                    HostError::Listen { .. } => CANNOT_LISTEN,
                    _ => FAILED,
                };
            }
        },
        _ = terminate.recv() => return 0,
        _ = interrupt.recv() => return 0,
    };
    let asked = tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
        () = host.failed() => {
            error!("a part of the host has failed; ending");
            false
        }
    };
    tokio::select! {
        peaceful = host.drain() => if peaceful && asked { 0 } else { FAILED },
        _ = terminate.recv() => again(),
        _ = interrupt.recv() => again(),
    }
}

/// A second signal ends the drain: the agents die with this process.
fn again() -> u8 {
    warn!("told to end a second time; the agents are killed");
    FAILED
}
