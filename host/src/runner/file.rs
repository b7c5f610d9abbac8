//! The form of the runner table's file.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use guildhall::ids::HostId;
use serde::Deserialize;
use toml::Spanned;

use super::{ClassPattern, Delivery, Handoff, RestartPolicy, Runner, RunnerTableError, Start, Template};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    runner: BTreeMap<String, Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    command: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    class_name: Option<String>,
    #[serde(default)]
    delivery: Delivery,
    #[serde(default)]
    restart: RestartPolicy,
    ready_output: Option<String>,
    ready_timeout: Option<String>,
    stop_grace: Option<String>,
    watchdog: Option<String>,
    #[serde(default)]
    handoff: Handoff,
    #[serde(default)]
    start: Start,
    #[serde(default)]
    warm: u32,
    warm_max: Option<u32>,
}

/// Bytes of `ready_output`, at most.
const LONGEST_READY_OUTPUT: usize = 256;

/// Processes of one runner that wait, at most.
const MOST_WARM: u32 = 1000;

pub(super) fn parse(text: &str) -> Result<Vec<Runner>, RunnerTableError> {
    let file: File = toml::from_str(text)?;
    let mut entries: Vec<_> = file.runner.into_iter().collect();
    // The first match wins, so the order of the file counts, which maps forget.
    entries.sort_by_key(|(_, entry)| entry.span().start);
    entries.into_iter().map(|(name, entry)| check(name, entry.into_inner())).collect()
}

fn check(name: String, entry: Entry) -> Result<Runner, RunnerTableError> {
    let wrong = |field: &str, reason: String| RunnerTableError::Field {
        runner: name.clone(),
        field: field.to_owned(),
        reason,
    };
    let duration = |field: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Err(wrong(field, "must be longer than 0".to_owned())),
            Ok(duration) => Ok(Some(duration)),
            Err(error) => Err(wrong(field, format!("{text:?}: {error}"))),
        },
    };
    if entry.command.as_os_str().is_empty() {
        return Err(wrong("command", "is empty".to_owned()));
    }
    if entry.class_name.as_deref() == Some("") {
        return Err(wrong("class_name", "is empty; \"*\" takes every class".to_owned()));
    }
    let warm_max = entry.warm_max.unwrap_or(entry.warm);
    if warm_max < entry.warm || warm_max > MOST_WARM {
        return Err(wrong("warm_max", format!("must be from `warm`, {}, to {MOST_WARM}", entry.warm)));
    }
    let starts_ahead = warm_max > 0 || entry.start == Start::Fork;
    if starts_ahead && entry.delivery == Delivery::Env {
        let why =
            "must be \"stdin\": with `warm` or `start = \"fork\"` processes are started ahead of launches";
        return Err(wrong("delivery", why.to_owned()));
    }
    match &entry.ready_output {
        Some(_) if starts_ahead => {
            let why = "is for programs that know nothing of hosts: with `warm` or `start = \"fork\"` they say READY=1";
            return Err(wrong("ready_output", why.to_owned()));
        }
        Some(text) if text.is_empty() || text.len() > LONGEST_READY_OUTPUT || text.contains('\n') => {
            let why = format!("must be a part of one line, of at most {LONGEST_READY_OUTPUT} bytes");
            return Err(wrong("ready_output", why));
        }
        _ => {}
    }
    let no_host = HostId::new("host").map_err(|error| wrong("env", error.to_string()))?;
    let mut env = BTreeMap::new();
    for (variable, value) in &entry.env {
        let field = format!("env.{variable}");
        if variable.is_empty() || variable.contains(['=', '\0']) {
            return Err(wrong(&field, "is not the name of a variable".to_owned()));
        }
        let template = Template::parse(value).map_err(|error| wrong(&field, error.to_string()))?;
        if starts_ahead && template.ahead_of_launch(&no_host).is_none() {
            let why = "says something of one launch, and with `warm` or `start = \"fork\"` processes are started ahead";
            return Err(wrong(&field, why.to_owned()));
        }
        env.insert(variable.clone(), template);
    }
    Ok(Runner {
        class_name: entry.class_name.map(ClassPattern::new),
        ready_timeout: duration("ready_timeout", &entry.ready_timeout)?,
        stop_grace: duration("stop_grace", &entry.stop_grace)?,
        watchdog: duration("watchdog", &entry.watchdog)?,
        env,
        command: entry.command,
        args: entry.args,
        delivery: entry.delivery,
        ready_output: entry.ready_output,
        restart: entry.restart,
        handoff: entry.handoff,
        start: entry.start,
        warm: entry.warm,
        warm_max,
        name,
    })
}
