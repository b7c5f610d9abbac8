//! Checks the model: `make model`.
//!
//! Prints for each configuration how many states there are and whether its properties
//! hold, and for each planted flaw whether it was caught. The same goes to `model.json` in
//! the target folder.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use comfy_table::{Table, presets};
use guildhall_model::{Configuration, Flaw, Outcome, check};
use serde_json::json;

/// Checks the protocol's model exhaustively, and that it finds planted flaws.
#[derive(Parser)]
struct Args {
    /// Print the steps to each counterexample.
    #[arg(long)]
    trace: bool,
    /// Only these planted flaws, and no configuration without one.
    flaws: Vec<Flaw>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);

    let mut configurations = Vec::new();
    let mut table = table(&["configuration", "states", "depth", "seconds", "covers"]);
    for configuration in Configuration::ALL.into_iter().filter(|_| args.flaws.is_empty()) {
        let Configuration { name, covers, .. } = configuration;
        let outcome = check(configuration, threads);
        table.add_row(row(name, &outcome, covers));
        configurations.push((name, covers, outcome));
    }
    if !configurations.is_empty() {
        println!("{table}\n");
    }
    for (name, _, outcome) in &configurations {
        for (property, met) in &outcome.properties {
            println!("{} {name}: {property}", if *met { "yes" } else { "NO " });
        }
        if let Some(steps) = &outcome.counterexample {
            println!("{steps}");
        }
    }

    let mut flaws = Vec::new();
    let mut table = self::table(&["flaw", "states", "depth", "seconds", "result", "what broke"]);
    for flaw in Flaw::value_variants().iter().filter(|f| args.flaws.is_empty() || args.flaws.contains(f)) {
        let name = flaw.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let outcome = check(Configuration::with_flaw(*flaw), threads);
        let result = if outcome.counterexample.is_some() { "caught" } else { "missed" };
        let broke = outcome.broken().join(", ");
        table.add_row(row(&name, &outcome, result).into_iter().chain([broke]));
        if args.trace
            && let Some(steps) = &outcome.counterexample
        {
            println!("{name}: {steps}\n");
        }
        flaws.push((name, result, outcome));
    }
    println!("\n{table}");

    write(&configurations, &flaws)?;
    let holds = configurations.iter().all(|(.., outcome)| outcome.holds());
    let caught = flaws.iter().all(|(.., outcome)| outcome.counterexample.is_some());
    Ok(if holds && caught { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
    table
}

fn row(name: &str, outcome: &Outcome, last: &str) -> [String; 5] {
    let seconds = format!("{:.1}", outcome.seconds);
    [name.to_owned(), outcome.states.to_string(), outcome.depth.to_string(), seconds, last.to_owned()]
}

fn write(configurations: &[(&str, &str, Outcome)], flaws: &[(String, &str, Outcome)]) -> Result<()> {
    let program = std::env::current_exe()?;
    // target/release/model
    let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
    let path = target.join("model.json");
    let configurations: Vec<_> = configurations
        .iter()
        .map(|(name, covers, outcome)| json!({"configuration": name, "covers": covers, "outcome": outcome}))
        .collect();
    let flaws: Vec<_> = flaws
        .iter()
        .map(|(name, result, outcome)| json!({"flaw": name, "result": result, "outcome": outcome}))
        .collect();
    let found = serde_json::to_vec_pretty(&json!({"configurations": configurations, "flaws": flaws}))?;
    fs::write(&path, found).with_context(|| path.display().to_string())
}
