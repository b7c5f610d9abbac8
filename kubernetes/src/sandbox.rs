//! A world of its own for each test: fresh namespaces for processes, mounts and the
//! network.
//!
//! The test starts itself again inside of them. So its bridge, its addresses and its ports
//! are nobody else's, and when it ends, however it ends, the kernel kills every process
//! that is left and takes the networks and mounts away.

use std::{
    any::type_name_of_val,
    env, fs,
    io::{BufRead, BufReader, pipe},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{server::last_lines, tool::run};

/// Set inside: the folder of this test.
const INSIDE: &str = "GUILDHALL_KUBERNETES_DIR";

/// The first process of a namespace gets what is orphaned in it, and a shell that waits
/// for its command also reaps those. The `exit` keeps the shell from becoming its command.
const FIRST_PROCESS: &str = r#""$0" "$@"; exit $?"#;

const NEEDS: &str = "tests on a control plane need Linux namespaces: run them as root (in a container: with \
                     CAP_SYS_ADMIN and CAP_NET_ADMIN), with util-linux, iproute2, bubblewrap and redis-server";

/// How much of each log is shown when a test fails.
const LINES_OF_A_LOG: usize = 60;

/// Runs `body` in a sandbox, with a folder that is gone after it. It must be the whole of
/// the test that calls this.
///
/// # Panics
/// When the body does, after all logs of the folder were shown.
pub fn sandboxed(body: impl AsyncFnOnce(PathBuf)) {
    match env::var_os(INSIDE) {
        Some(dir) => inside(Path::new(&dir), body),
        None => {
            let test = name_of(&body);
            if let Err(error) = enter(&test) {
                panic!("{test}: {error:#}");
            }
        }
    }
}

/// The name by which the harness knows the test that a closure is in.
fn name_of<T>(body: &T) -> String {
    let name = type_name_of_val(body).replace("::{{closure}}", "");
    // Without the name of the test binary.
    name.split_once("::").map_or(name.clone(), |(_, test)| test.to_owned())
}

/// Starts the same test again in fresh namespaces.
fn enter(test: &str) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "{NEEDS}");
    for tool in ["setpriv", "unshare", "nsenter", "ip", "mount", "bwrap", "redis-server"] {
        ensure!(
            run(tool, &["--version"]).or_else(|_| run(tool, &["-V"])).is_ok(),
            "there is no {tool}. {NEEDS}"
        );
    }
    // Sockets of agents are in it, and a socket's name may not be long.
    let dir = tempfile::Builder::new().prefix("kubernetes-").tempdir_in("/tmp")?;
    let (said, says) = pipe()?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .args(["sh", "-c", FIRST_PROCESS])
        .arg(env::current_exe()?)
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, dir.path())
        .stdout(says.try_clone()?)
        .stderr(says);
    let mut process = command.spawn().context(NEEDS)?;
    // The command holds the writing end open.
    drop(command);
    // Line by line, so that the harness shows it, or not.
    for line in BufReader::new(said).lines() {
        println!("{}", line?);
    }
    let status = process.wait()?;
    if !status.success() {
        anyhow::bail!("{status}; what it left is in {}", dir.keep().display());
    }
    Ok(())
}

fn inside(dir: &Path, body: impl AsyncFnOnce(PathBuf)) {
    let test = catch_unwind(AssertUnwindSafe(|| {
        furnish().expect(NEEDS);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(body(dir.to_owned()));
    }));
    if let Err(panic) = test {
        show_logs(dir);
        resume_unwind(panic);
    }
}

/// A place for network namespaces that nobody else sees, and a loopback that is up.
fn furnish() -> Result<()> {
    fs::create_dir_all("/run/netns")?;
    run("mount", &["-t", "tmpfs", "none", "/run/netns"])?;
    run("ip", &["link", "set", "lo", "up"])?;
    Ok(())
}

/// The ends of all logs there are in a folder.
fn show_logs(dir: &Path) {
    for path in logs(dir) {
        let log = fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        println!("\n===== the end of {}\n{}", path.display(), last_lines(&log, LINES_OF_A_LOG));
    }
}

fn logs(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(logs(&path)),
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|ending| ending == "log") => {
                found.push(path);
            }
            _ => {}
        }
    }
    found.sort();
    found
}
