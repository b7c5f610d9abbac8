//! The variables that a process gets.
//!
//! They are what the host passes on, then what the operator wrote, then what the
//! contract says; the last of one name counts. One that is started ahead of its launch
//! gets nothing that says whose it will be: that stands in the launch document.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::Path,
};

use guildhall::{
    ids::{AgentKey, Epoch},
    launch::Launch,
};

use super::{Base, vfork::Program};
use crate::runner::Runner;

/// Variables by their names.
pub(super) struct Environment<'a>(BTreeMap<&'a OsStr, Cow<'a, OsStr>>);

/// For a process of one launch.
pub(super) fn of_launch<'a>(
    base: &'a Base,
    runner: &'a Runner,
    launch: &'a Launch,
    epoch: Epoch,
    notify: &'a Path,
) -> Environment<'a> {
    let operators = runner.env.iter().map(|(name, value)| (name, value.fill(launch, epoch, &base.host)));
    let mut environment = Environment::new(base, runner, operators, Some(notify));
    let AgentKey { guild, agent } = &launch.key;
    environment.0.extend([
        (OsStr::new("GUILDHALL_GUILD_ID"), Cow::from(OsStr::new(guild.as_str()))),
        (OsStr::new("GUILDHALL_AGENT_ID"), Cow::from(OsStr::new(agent.as_str()))),
        (OsStr::new("GUILDHALL_EPOCH"), Cow::from(OsString::from(epoch.to_string()))),
    ]);
    environment
}

/// For a process that waits for a launch.
pub(super) fn ahead<'a>(base: &'a Base, runner: &'a Runner, notify: &'a Path) -> Environment<'a> {
    Environment::new(base, runner, written_ahead(base, runner), Some(notify))
}

/// For a process that others are forked of.
pub(super) fn of_zygote<'a>(base: &'a Base, runner: &'a Runner) -> Environment<'a> {
    Environment::new(base, runner, written_ahead(base, runner), None)
}

/// What the operator wrote. Values that say something of a launch were refused with the
/// table.
fn written_ahead<'a>(base: &Base, runner: &'a Runner) -> impl Iterator<Item = (&'a String, String)> {
    runner.env.iter().filter_map(|(name, value)| Some((name, value.ahead_of_launch(&base.host)?)))
}

impl<'a> Environment<'a> {
    fn new(
        base: &'a Base,
        runner: &Runner,
        operators: impl Iterator<Item = (&'a String, String)>,
        notify: Option<&'a Path>,
    ) -> Self {
        let mut variables = BTreeMap::new();
        variables.extend(base.inherited.iter().map(|(name, value)| (name.as_os_str(), Cow::from(value))));
        variables.extend(operators.map(|(name, value)| (OsStr::new(name), Cow::from(OsString::from(value)))));
        variables.insert(OsStr::new("GUILDHALL_HOST_ID"), Cow::from(OsStr::new(base.host.as_str())));
        if let Some(notify) = notify {
            variables.insert(OsStr::new("NOTIFY_SOCKET"), Cow::from(notify.as_os_str()));
            if let Some(watchdog) = runner.watchdog {
                // No WATCHDOG_PID: it is optional, and not known before the fork.
                let micros = OsString::from(watchdog.as_micros().to_string());
                variables.insert(OsStr::new("WATCHDOG_USEC"), Cow::from(micros));
            }
        }
        Self(variables)
    }

    /// The runner's command with these variables, and with `more` arguments.
    pub(super) fn program(&self, runner: &Runner, more: &[&str]) -> io::Result<Program> {
        let args = runner.args.iter().map(String::as_str).chain(more.iter().copied());
        Program::new(&runner.command, args, self.0.iter().map(|(name, value)| (*name, value.as_ref())))
    }

    /// As text, for one who is told of it.
    ///
    /// # Errors
    /// When a value is not UTF-8.
    pub(super) fn texts(&self) -> io::Result<BTreeMap<String, String>> {
        let text = |text: &OsStr| text.to_str().map(str::to_owned);
        let pair = |(name, value): (&&OsStr, &Cow<'_, OsStr>)| Some((text(name)?, text(value)?));
        let texts: Option<_> = self.0.iter().map(pair).collect();
        texts.ok_or_else(|| io::Error::other("a variable is not UTF-8"))
    }
}

/// What of the host's own environment may be passed on.
pub(super) fn inherited(allowed: &[String]) -> Vec<(OsString, OsString)> {
    let is_allowed = |name: &OsString| {
        let name = name.to_string_lossy();
        allowed.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *allowed,
        })
    };
    std::env::vars_os().filter(|(name, _)| is_allowed(name)).collect()
}
