//! A world of its own for the suite: fresh namespaces for processes, mounts and the
//! network.
//!
//! The program starts itself again inside of them. So nothing that it does to networks,
//! mounts or name resolution reaches the machine, and when it ends, however it ends, the
//! kernel kills every process that is left and takes the networks and mounts away.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Serialize, de::DeserializeOwned};
use signal_hook::consts::SIGINT;

/// Set inside: the folder of this run.
const INSIDE: &str = "GUILDHALL_CHAOS_DIR";
const SCENARIO: &str = "scenario.json";
const OUTCOME: &str = "outcome.json";

/// The first process of a namespace gets what is orphaned in it, and a shell that waits
/// for its command also reaps those. The `exit` keeps the shell from becoming its command.
const FIRST_PROCESS: &str = r#""$0" "$@"; exit $?"#;

const NEEDS: &str = "the chaos suite needs Linux namespaces and TUN devices: run it as root (in a container: \
                     with CAP_SYS_ADMIN, CAP_NET_ADMIN and /dev/net/tun), with util-linux and iproute2";

/// The folder of this run, when inside.
pub(crate) fn run_dir() -> Option<PathBuf> {
    env::var_os(INSIDE).map(Into::into)
}

/// Starts this program again in a sandbox of its own, with the scenario in its run's
/// folder, and answers with what it left there as its outcome. The folder is kept when
/// `keep` says so of the outcome, or when there is none.
pub(crate) fn enter<S: Serialize, O: DeserializeOwned>(
    scenario: &S,
    keep: impl FnOnce(&O) -> bool,
) -> Result<O> {
    check()?;
    // Sockets of agents are in it, and a socket's name may not be long.
    let dir = tempfile::Builder::new().prefix("chaos-").tempdir_in("/tmp")?;
    fs::write(dir.path().join(SCENARIO), serde_json::to_vec(scenario)?)?;
    // On Ctrl-C this program waits for the one inside, which gets it, too.
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGINT, interrupted.clone())?;
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .args(["sh", "-c", FIRST_PROCESS])
        .arg(env::current_exe()?)
        .env(INSIDE, dir.path())
        .status()
        .context(NEEDS)?;
    ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
    let outcome = fs::read(dir.path().join(OUTCOME)).ok().map(|bytes| serde_json::from_slice(&bytes));
    let outcome = outcome.transpose()?;
    if outcome.as_ref().is_none_or(keep) {
        eprintln!("the logs and testimonies of this run are kept in {}", dir.keep().display());
    }
    match outcome {
        Some(outcome) if status.success() => Ok(outcome),
        _ => bail!("the run did not come to its end: {status}"),
    }
}

/// Inside: what to do.
pub(crate) fn scenario<S: DeserializeOwned>(dir: &Path) -> Result<S> {
    Ok(serde_json::from_slice(&fs::read(dir.join(SCENARIO))?)?)
}

/// Inside: what came of it.
pub(crate) fn conclude<O: Serialize>(dir: &Path, outcome: &O) -> Result<()> {
    Ok(fs::write(dir.join(OUTCOME), serde_json::to_vec(outcome)?)?)
}

/// Whether what a sandbox needs is there.
fn check() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "{NEEDS}");
    fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").context(NEEDS)?;
    for tool in ["setpriv", "unshare", "ip", "mount", "redis-server", "redis-cli", "faketime"] {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        ensure!(found.is_ok(), "there is no {tool}: `make setup` installs what the suite needs");
    }
    Ok(())
}

/// Makes the inside ready: a place for network namespaces that nobody else sees, and
/// name resolution that asks `name_server` alone.
pub(crate) fn furnish(dir: &Path, name_server: &str) -> Result<()> {
    let _ = fs::create_dir_all("/run/netns");
    run("mount", &["-t", "tmpfs", "none", "/run/netns"]).context(NEEDS)?;
    let resolv = dir.join("resolv.conf");
    fs::write(&resolv, format!("nameserver {name_server}\noptions timeout:2 attempts:5\n"))?;
    run("mount", &["--bind", path(&resolv)?, "/etc/resolv.conf"])?;
    let nsswitch = dir.join("nsswitch.conf");
    fs::write(&nsswitch, "hosts: files dns\npasswd: files\ngroup: files\n")?;
    if Path::new("/etc/nsswitch.conf").exists() {
        run("mount", &["--bind", path(&nsswitch)?, "/etc/nsswitch.conf"])?;
    }
    run("ip", &["link", "set", "lo", "up"])
}

/// A small disk of its own, at a folder that is made for it.
pub(crate) fn small_disk(at: &Path, megabytes: u32) -> Result<()> {
    fs::create_dir_all(at)?;
    run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=755"), "none", path(at)?])
}

/// A path as text.
pub(crate) fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Runs a tool to its end.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{tool} cannot be run"))?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "{tool} {} failed: {}", arguments.join(" "), said());
    Ok(())
}
