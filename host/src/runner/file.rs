//! The form of the runner table's file.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::{ClassPattern, Delivery, Handoff, RestartPolicy, Runner, RunnerTableError, Template};

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
    ready_timeout: Option<String>,
    stop_grace: Option<String>,
    watchdog: Option<String>,
    #[serde(default)]
    handoff: Handoff,
}

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
    let mut env = BTreeMap::new();
    for (variable, value) in &entry.env {
        let field = format!("env.{variable}");
        if variable.is_empty() || variable.contains(['=', '\0']) {
            return Err(wrong(&field, "is not the name of a variable".to_owned()));
        }
        let template = Template::parse(value).map_err(|error| wrong(&field, error.to_string()))?;
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
        restart: entry.restart,
        handoff: entry.handoff,
        name,
    })
}
