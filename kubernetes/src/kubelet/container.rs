//! A container: a process in namespaces of its own, in the place of an image.
//!
//! The namespace of its network is the pod's; those for processes, mounts, names and
//! semaphores are made by `bwrap`. Its root is a tmpfs with the machine's `/usr`, the
//! programs of its image and the pod's volumes. It is the first process there, under the
//! pod's user and groups, without capabilities and with no way to gain any.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{
    environment::expand,
    images::{BIN, Image},
    volumes::Mount,
};

/// How long `bwrap` may take.
const START_WITHIN: Duration = Duration::from_secs(20);

/// `bwrap` tells of the process on its standard error, which is not the container's:
/// that one is joined with standard output.
const JOIN_OUTPUTS: &str = r#"exec "$@" 2>&1"#;

/// Who a container is, in numbers.
#[derive(Clone, Copy, Debug)]
struct User {
    user: u32,
    group: u32,
    /// The group of the pod's files.
    files: u32,
}

/// What a container is made of.
#[derive(Debug)]
pub(super) struct Recipe<'a> {
    pub(super) pod: &'a Pod,
    pub(super) container: &'a Container,
    pub(super) image: &'a Image,
    pub(super) variables: &'a BTreeMap<String, String>,
    pub(super) mounts: &'a [Mount],
    /// The file of the pod's network.
    pub(super) network: &'a str,
    /// Its `/etc/hosts`.
    pub(super) hosts: &'a Path,
    /// Where what it says is added.
    pub(super) log: &'a Path,
}

/// A running container. It is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    outer: Child,
    first: Pid,
    user: User,
    variables: BTreeMap<String, String>,
}

impl Recipe<'_> {
    /// Starts it.
    pub(super) async fn start(&self) -> Result<Process> {
        let user = self.user()?;
        let log = OpenOptions::new().create(true).append(true).open(self.log)?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network)).arg("bwrap").args(self.isolation()?);
        command.args(["--", "sh", "-c", JOIN_OUTPUTS, "sh"]).args(user.become_it());
        command.args(self.command()?);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(Stdio::piped()).kill_on_drop(true);
        let mut outer = command.spawn().context("bwrap cannot be run")?;
        let said = outer.stderr.take().context("it is piped")?;
        let mut lines = BufReader::new(said).lines();
        let told = timeout(START_WITHIN, lines.next_line()).await.context("bwrap is silent")??;
        let told = told.unwrap_or_default();
        let status: serde_json::Value =
            serde_json::from_str(&told).with_context(|| format!("bwrap failed: {told}"))?;
        let first = status["child-pid"].as_i64().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        let first = first.context("bwrap does not say which process it is")?;
        tokio::spawn(keep(lines, log));
        Ok(Process { outer, first, user, variables: self.variables.clone() })
    }

    fn user(&self) -> Result<User> {
        let of_pod = self.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let of_container = self.container.security_context.as_ref();
        let user = of_container.and_then(|of| of.run_as_user).or(of_pod.and_then(|of| of.run_as_user));
        let group = of_container.and_then(|of| of.run_as_group).or(of_pod.and_then(|of| of.run_as_group));
        let files = of_pod.and_then(|of| of.fs_group);
        let user = user.context("it has no runAsUser, and what user an image has is not known here")?;
        let group = group.unwrap_or(0);
        ensure!(user != 0, "it would be root, which is not covered");
        Ok(User {
            user: user.try_into()?,
            group: group.try_into()?,
            files: files.unwrap_or(group).try_into()?,
        })
    }

    fn command(&self) -> Result<Vec<String>> {
        let Self { container, image, variables, .. } = self;
        let arguments = container.args.iter().flatten();
        let command = container.command.as_ref().unwrap_or(&image.entrypoint).iter();
        let command: Vec<_> = command.chain(arguments).map(|text| expand(text, variables)).collect();
        ensure!(!command.is_empty(), "it has no command");
        ensure!(container.working_dir.is_none(), "a workingDir is not covered");
        Ok(command)
    }

    /// The arguments of `bwrap` up to the command.
    fn isolation(&self) -> Result<Vec<String>> {
        let mut arguments = words(&[
            "--json-status-fd 2 --unshare-pid --as-pid-1 --unshare-ipc --unshare-uts",
            "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/sbin /sbin",
            "--symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev",
            "--tmpfs /usr/local --dir /etc --dir /run --dir /tmp --dir /var",
            "--ro-bind-try /etc/ld.so.cache /etc/ld.so.cache --ro-bind-try /etc/ssl /etc/ssl",
            "--ro-bind-try /etc/passwd /etc/passwd --ro-bind-try /etc/group /etc/group",
        ]);
        let hosts = text(self.hosts)?;
        let names = self.hosts.with_file_name("nsswitch.conf");
        fs::write(&names, "hosts: files\npasswd: files\ngroup: files\n")?;
        arguments.extend(["--hostname".to_owned(), self.pod.name_any()]);
        let mut say = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
        say(&["--ro-bind", &hosts, "/etc/hosts"]);
        say(&["--ro-bind", &text(&names)?, "/etc/nsswitch.conf"]);
        // Folders that it makes by itself on the way are closed to all but root.
        say(&["--perms", "0755", "--dir", BIN]);
        for (program, name) in &self.image.programs {
            say(&["--ro-bind", &text(program)?, &format!("{BIN}/{name}")]);
        }
        for mount in self.mounts {
            let way: Vec<_> = Path::new(&mount.target).ancestors().skip(1).collect();
            for folder in way.into_iter().rev().skip(1) {
                say(&["--perms", "0755", "--dir", &text(folder)?]);
            }
            let how = if mount.read_only { "--ro-bind" } else { "--bind" };
            say(&[how, &text(&mount.source)?, &mount.target]);
        }
        let security = self.container.security_context.as_ref();
        if security.and_then(|security| security.read_only_root_filesystem) == Some(true) {
            arguments.extend(words(&["--remount-ro /usr/local --remount-ro /"]));
        }
        arguments.push("--clearenv".to_owned());
        for (name, value) in self.variables {
            arguments.extend(["--setenv".to_owned(), name.clone(), value.clone()]);
        }
        Ok(arguments)
    }
}

impl User {
    /// The command that the rest is to be run by.
    fn become_it(&self) -> Vec<String> {
        let Self { user, group, files } = self;
        words(&[&format!(
            "setpriv --reuid={user} --regid={group} --groups={files} --no-new-privs --bounding-set=-all \
             --inh-caps=-all --"
        )])
    }
}

impl Process {
    /// The first process of the container.
    pub(super) fn id(&self) -> i32 {
        self.first.as_raw_nonzero().get()
    }

    /// Waits for its end: the code, or 128 and the signal. Dropping the future loses
    /// nothing.
    pub(super) async fn ended(&mut self) -> i32 {
        self.outer.wait().await.ok().as_ref().and_then(ExitStatus::code).unwrap_or(255)
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it, and all processes in it.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// It may have ended meanwhile.
    fn signal(&self, signal: Signal) {
        let _ = kill_process(self.first, signal);
    }

    /// Runs a command in it. Not within `limit` is a failure, too.
    pub(super) fn exec(&self, command: &[String]) -> Exec {
        Exec {
            first: self.id(),
            user: self.user,
            variables: self.variables.clone(),
            command: command.to_vec(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command to run within a container.
#[derive(Clone, Debug)]
pub(super) struct Exec {
    first: i32,
    user: User,
    variables: BTreeMap<String, String>,
    command: Vec<String>,
}

impl Exec {
    /// Runs it to its end.
    pub(super) async fn run(&self) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string()]);
        command.args(words(&["--mount --net --pid --uts --ipc --root --wd --"]));
        command.args(self.user.become_it()).args(&self.command);
        command.env_clear().envs(&self.variables).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{:?} failed, {}: {}", self.command, output.status, said.trim());
        }
        Ok(())
    }
}

/// What else `bwrap` says stands in the container's log, but for the code it ended with.
async fn keep(mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>, mut log: File) {
    use std::io::Write as _;
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.contains("exit-code") {
            // The log is for people; a test does not fail for it.
            let _ = writeln!(log, "{line}");
        }
    }
}

fn words(lines: &[&str]) -> Vec<String> {
    lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
}

fn text(path: &Path) -> Result<String> {
    Ok(crate::tool::text(path)?.to_owned())
}

/// Where the log of a container is.
pub(super) fn log_of(folder: &Path, container: &str) -> PathBuf {
    folder.join(format!("{container}.log"))
}
