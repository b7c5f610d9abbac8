//! How even the load is when eight engines decide at once on load reports up to 20 s old,
//! by the simulator: its fleet has 10,000 hosts with 50 agents each in the mean.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::report::Row;

/// How long agents stay: minutes, and how many come a second and in all.
const STAYS: [(&str, &str, &str, &str); 2] =
    [("5", "300", "1667", "600000"), ("30", "1800", "278", "150000")];

pub(crate) async fn take() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (minutes, stay, rate, agents) in STAYS {
        let fleet = ["--hosts", "10000", "--engines", "8", "--report-every", "20", "--warm"];
        let coming = ["--stay", stay, "--rate", rate, "--agents", agents];
        let policies = ["--policy", "least-loaded", "--policy", r#"least-loaded={"choices":0}"#];
        let mut simulate = Command::new(std::env::current_exe()?.with_file_name("guildhall"));
        simulate.args(["policy", "simulate", "--json"]).args(fleet).args(coming).args(policies);
        let ran = simulate.output().context("cannot run guildhall, which has to be beside this program")?;
        ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let said: Value = serde_json::from_slice(&ran.stdout)?;
        let fullest = |policy: usize| {
            let found = said["policies"][policy]["imbalance"]["p50"].as_f64();
            found.context("the simulator says no imbalance")
        };
        let name = format!("balance: 10000 hosts, 8 engines, agents stay {minutes} minutes, fullest / mean");
        rows.push(Row::new(name.as_str(), fullest(0)?, "ratio").below(1.15));
        rows.push(Row::new(format!("{name}, all hosts compared"), fullest(1)?, "ratio"));
    }
    Ok(rows)
}
