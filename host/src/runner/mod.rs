//! The operator's runner table: which command becomes which agent.
//!
//! A client never names a command. It names a class, and may name a runner; what
//! is executed stands in a TOML file that only the operator writes:
//!
//! ```
//! use guildhall_host::runner::RunnerTable;
//!
//! let table = RunnerTable::parse(r#"
//!     [runner.echo]
//!     command = "echo-runner"
//!     class_name = "examples.*"
//!
//!     [runner.forge]
//!     command = "python3"
//!     args = ["-m", "rustic_ai.forge.agent_runner"]
//!     class_name = "*"
//!     delivery = "env"
//!     ready_output = "initialized successfully"
//!     restart = "always"
//!     ready_timeout = "60s"
//!     env = { FORGE_AGENT_CONFIG_JSON = "{{agent_spec}}" }
//! "#)?;
//! assert_eq!(table.names(), ["echo", "forge"]);
//! # Ok::<(), guildhall_host::runner::RunnerTableError>(())
//! ```
//!
//! `docs/runners.md` describes every key, and what a runner has to do.

mod file;
mod pattern;
pub(crate) mod reload;
mod template;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use guildhall::launch::Launch;
use serde::Deserialize;

pub use self::{
    pattern::ClassPattern,
    template::{Template, TemplateError},
};
pub use crate::supervisor::restart::RestartPolicy;

/// How an agent learns what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// One line of JSON on standard input, which then stays open until the host
    /// ends.
    #[default]
    Stdin,
    /// Only by the variables of [`Runner::env`]. Standard input is empty.
    Env,
}

/// How processes come to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Each is the command, executed anew.
    #[default]
    Spawn,
    /// The command is executed once, with `--zygote` after its arguments, prepares what
    /// all agents need, and is forked for each. While there is none, as by
    /// [`Spawn`](Self::Spawn).
    Fork,
}

/// What comes first when an agent moves to another host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handoff {
    /// The end of the old process: no two run at once.
    #[default]
    StopFirst,
    /// The readiness of the new process: for a moment both run, told apart by their
    /// epochs.
    Overlap,
}

/// One entry of the table.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Runner {
    /// Its name.
    pub name: String,
    /// What is executed: a path, or a name that is looked up in `PATH`.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables it gets besides those that it inherits.
    pub env: BTreeMap<String, Template>,
    /// Classes it takes. Without one it is used only when a launch names it.
    pub class_name: Option<ClassPattern>,
    /// How its agents learn what they are.
    pub delivery: Delivery,
    /// When its agents are started again.
    pub restart: RestartPolicy,
    /// A text that its agents write when they are ready, for programs that do not say
    /// `READY=1`.
    pub ready_output: Option<String>,
    /// How long its agents may take to become ready; the host's default if none.
    pub ready_timeout: Option<Duration>,
    /// How long its agents have to stop; the host's default if none.
    pub stop_grace: Option<Duration>,
    /// Its agents send `WATCHDOG=1` at least this often, once they are ready, or
    /// are killed and started again. Without one nobody watches.
    pub watchdog: Option<Duration>,
    /// How its agents move.
    pub handoff: Handoff,
    /// How its processes come to be.
    pub start: Start,
    /// How many processes wait for a launch at least.
    pub warm: u32,
    /// How many do at most, after many launches at once.
    pub warm_max: u32,
}

impl Runner {
    /// A runner that takes every class, delivers on standard input and restarts on
    /// failure.
    pub fn new(name: impl Into<String>, command: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            command: command.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            class_name: Some(ClassPattern::new("*")),
            delivery: Delivery::default(),
            restart: RestartPolicy::default(),
            ready_output: None,
            ready_timeout: None,
            stop_grace: None,
            watchdog: None,
            handoff: Handoff::default(),
            start: Start::default(),
            warm: 0,
            warm_max: 0,
        }
    }

    /// Whether its processes may be started before it is known whose they are.
    pub(crate) fn starts_ahead(&self) -> bool {
        self.warm_max > 0 || self.start == Start::Fork
    }
}

/// The runners of a host, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct RunnerTable {
    runners: Vec<Arc<Runner>>,
}

impl RunnerTable {
    /// Reads a table from the text of a TOML file. It has at least one runner.
    ///
    /// # Errors
    /// [`RunnerTableError`] says which entry is wrong and why.
    pub fn parse(toml: &str) -> Result<Self, RunnerTableError> {
        let runners = file::parse(toml)?;
        if runners.is_empty() {
            return Err(RunnerTableError::Empty);
        }
        Ok(runners.into_iter().collect())
    }

    /// Reads a table from a TOML file.
    ///
    /// # Errors
    /// [`RunnerTableError::Read`] when the file cannot be read, and those of
    /// [`parse`](Self::parse).
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, RunnerTableError> {
        let path = path.into();
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text),
            Err(source) => Err(RunnerTableError::Read { path, source }),
        }
    }

    /// The runner for a launch: the one it names, or else the first whose class
    /// pattern matches.
    ///
    /// # Errors
    /// [`SelectError`] with the names there are.
    pub fn select(&self, launch: &Launch) -> Result<&Arc<Runner>, SelectError> {
        match &launch.runner {
            Some(name) => self
                .runners
                .iter()
                .find(|runner| runner.name == *name)
                .ok_or_else(|| SelectError::UnknownRunner { name: name.clone(), known: self.names() }),
            None => {
                let takes = |runner: &Runner| {
                    runner.class_name.as_ref().is_some_and(|pattern| pattern.matches(&launch.class_name))
                };
                self.runners.iter().find(|runner| takes(runner)).ok_or_else(|| {
                    SelectError::NoRunnerForClass {
                        class_name: launch.class_name.clone(),
                        known: self.names(),
                    }
                })
            }
        }
    }

    /// The runners, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Runner> {
        self.runners.iter().map(AsRef::as_ref)
    }

    /// Their names, in order.
    pub fn names(&self) -> Vec<String> {
        self.iter().map(|runner| runner.name.clone()).collect()
    }
}

/// Of runners made by a program rather than read from a file.
impl FromIterator<Runner> for RunnerTable {
    fn from_iter<I: IntoIterator<Item = Runner>>(runners: I) -> Self {
        Self { runners: runners.into_iter().map(Arc::new).collect() }
    }
}

/// Why a runner table cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerTableError {
    /// The file cannot be read.
    #[error("the runner table {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The text is not TOML, or not of this form.
    #[error("the runner table is not right: {0}")]
    Syntax(#[from] toml::de::Error),
    /// The table has no runner.
    #[error("the runner table has no [runner.NAME]")]
    Empty,
    /// A value cannot be used.
    #[error("runner {runner:?}: {field}: {reason}")]
    Field {
        /// The runner.
        runner: String,
        /// The key.
        field: String,
        /// What is wrong with its value.
        reason: String,
    },
}

/// Why no runner was found for a launch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The launch names a runner that is not there.
    #[error("there is no runner {name:?}; there are {known:?}")]
    UnknownRunner {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// No pattern matches the class.
    #[error("no runner takes the class {class_name:?}; there are {known:?}")]
    NoRunnerForClass {
        /// The class.
        class_name: String,
        /// The runners there are.
        known: Vec<String>,
    },
}
