//! Deterministic simulation: the product's own hosts on machines, a network and a clock
//! that are not real, under faults drawn from a seed.
//!
//! Real are `Keeper`, `Tenure`, `Ballots`, promises, `Failover` with burials and adoptions,
//! `Supervisor` with the task of each agent, its claims and its recorder, `Peer`, and
//! `MemoryRegistry`. Simulated are the system's processes and the fence (`processes.rs`), the
//! way to the registry (`registry.rs`), the way between hosts and the engine's choice
//! (`host.rs`, `world.rs`), and time: tokio's paused clock, at another pace on each machine.
//! `book.rs` knows which process lives when, and judges.
//!
//! A seed gives the same run again, to the last step (`chance.rs`). `docs/reliability.md`
//! says how to run it.

mod book;
mod chance;
mod host;
mod processes;
mod registry;
mod run;
mod world;

use std::{collections::BTreeMap, io::Write, process::Command};

use self::{
    run::{Outcome, simulate},
    world::Planted,
};

/// Seeds that `cargo test` runs, unless `SEEDS` says how many.
const SEEDS: u64 = 400;

/// Seeds within which each planted bug must be found.
const SEEDS_TO_FIND: u64 = 150;

/// What must happen at least once: else the seeds test less than they seem to.
const SOMETIMES: [&str; 15] = [
    "takeovers",
    "beyond a lease",
    "fenced",
    "killed by their host",
    "overdue renewals",
    "late renewals",
    "late burials",
    "late writes",
    "burials",
    "burials missed",
    "promises",
    "votes",
    "votes bound by a promise",
    "predecessors buried",
    "handed over",
];

/// What a set of seeds came to.
#[derive(Debug, Default)]
struct Report {
    ran: u64,
    failed: BTreeMap<u64, String>,
    counts: BTreeMap<String, u64>,
    digests: BTreeMap<u64, String>,
}

/// Runs seeds in a process of their own, which has no other thread than that of one test.
fn run_seeds(first: u64, count: u64, planted: &str, until_found: bool) -> Report {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--exact", "simulation::seeds_of_the_environment", "--ignored", "--nocapture"])
        .env("SIMULATE", format!("{first} {count} {planted} {until_found}"))
        .output()
        .expect("the simulation to run");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut report = Report::default();
    for line in text.lines() {
        let Some((kind, rest)) = line.split_once('|') else { continue };
        let Some((name, value)) = rest.split_once('|') else { continue };
        match kind {
            "ran" => {
                report.ran += 1;
                report.digests.insert(name.parse().unwrap_or_default(), value.to_owned());
            }
            "failed" => {
                report.failed.insert(name.parse().unwrap_or_default(), value.to_owned());
            }
            "count" => {
                *report.counts.entry(name.to_owned()).or_default() +=
                    value.parse::<u64>().unwrap_or_default();
            }
            _ => {}
        }
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the simulation itself failed:\n{text}\n{errors}");
    report
}

/// Not a test by itself: [`run_seeds`] starts it.
#[test]
#[ignore = "runs what the variable SIMULATE says"]
fn seeds_of_the_environment() {
    let Ok(what) = std::env::var("SIMULATE") else { return };
    let words: Vec<_> = what.split(' ').collect();
    let [first, count, planted, until_found] = words[..] else { panic!("SIMULATE={what:?}") };
    let (first, count): (u64, u64) = (first.parse().unwrap(), count.parse().unwrap());
    let planted = match planted {
        "no-fence" => Planted::NoFence,
        "loose-votes" => Planted::LooseVotes,
        _ => Planted::Nothing,
    };
    let aloud = std::env::var_os("SEED").is_some();
    for seed in first..first + count {
        if !forked(|| run_seed(seed, planted, aloud)) && until_found == "true" {
            break;
        }
    }
}

/// Runs a seed, prints what came of it, and answers whether all was well.
fn run_seed(seed: u64, planted: Planted, aloud: bool) -> bool {
    // A thread of its own has drawn nothing yet.
    let run = std::thread::spawn(move || simulate(seed, planted, aloud));
    let Outcome { violations, counts, digest, took } = run.join().expect("a run without panics");
    let mut text = format!("ran|{seed}|{digest:016x} {took:?}\n");
    for (what, often) in counts {
        text += &format!("count|{what}|{often}\n");
    }
    if let Some(first) = violations.first() {
        text += &format!("failed|{seed}|{first}\n");
    }
    print!("{text}");
    violations.is_empty()
}

/// Does it in a fork of this process. Libraries have state of the process that goes into what
/// they draw (tokio counts its runtimes), and so each seed finds it as it is at the start.
#[allow(unsafe_code, reason = "there is no safe way to fork")]
fn forked(work: impl FnOnce() -> bool) -> bool {
    std::io::stdout().flush().expect("standard output");
    // SAFETY: the only other thread is that of the test harness, which waits for this one.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let _ = std::io::stdout().flush();
        let code = well.map_or(101, |well| i32::from(!well));
        // SAFETY: ends this process and nothing else.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `status` lives as long as the call.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    assert!(waited == child && libc::WIFEXITED(status), "the fork ended with status {status:#x}");
    match libc::WEXITSTATUS(status) {
        0 => true,
        1 => false,
        code => panic!("the fork exited with {code}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn no_seed_finds_two_incarnations_or_loses_an_agent() {
    let (first, count) = match number("SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("SEEDS").unwrap_or(SEEDS)),
    };
    let began = std::time::Instant::now();
    let report = run_seeds(first, count, "nothing", false);
    println!("{} seeds in {:?}: {:#?}", report.ran, began.elapsed(), report.counts);
    let again: Vec<_> =
        report.failed.iter().map(|(seed, what)| format!("SEED={seed} replays: {what}")).collect();
    assert!(again.is_empty(), "{} of {count} seeds fail:\n{}", again.len(), again.join("\n"));
    assert_eq!(report.ran, count);
    if count >= SEEDS {
        let never: Vec<_> = SOMETIMES.iter().filter(|what| !report.counts.contains_key(**what)).collect();
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}

#[test]
fn without_the_fence_and_the_term_some_seed_finds_two_incarnations() {
    let report = run_seeds(0, SEEDS_TO_FIND, "no-fence", true);
    println!("{:?}", report.failed);
    assert!(report.failed.values().any(|what| what.contains("runs on")), "{report:?}");
}

#[test]
fn with_votes_that_do_not_bind_some_seed_finds_two_incarnations() {
    let report = run_seeds(0, SEEDS_TO_FIND, "loose-votes", true);
    println!("{:?}", report.failed);
    assert!(report.failed.values().any(|what| what.contains("runs on")), "{report:?}");
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let all = run_seeds(0, 20, "nothing", false).digests;
    assert_eq!(all.len(), 20);
    assert_eq!(all, run_seeds(0, 20, "nothing", false).digests);
    assert_eq!(all.get(&13), run_seeds(13, 1, "nothing", false).digests.get(&13));
}
