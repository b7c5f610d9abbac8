//! The stock policies' components: made, written, and compared.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use guildhall_policy_build::{Toolchain, encode};

use crate::record::{self, Entry};

/// The stock policies, by the name of their folder and of their component.
const POLICIES: [&str; 5] = ["round-robin", "least-loaded", "resource-fit", "affinity", "weighted"];

/// Those of them that are made for size: made for speed, they would have more bytes than a
/// stock policy may.
const SMALL: [&str; 1] = ["affinity"];

/// A stock component stays below this.
const MOST_BYTES: usize = 64 << 10;

const REFRESH: &str = "cargo run --release -p xtask -- policies";

/// Builds with all compilers at hand, and writes what the first made.
pub(crate) fn refresh(rustc: Option<PathBuf>) -> anyhow::Result<()> {
    let toolchains = match rustc {
        Some(rustc) => vec![Toolchain::of(&rustc)?],
        None => Toolchain::all(&[]),
    };
    let (first, others) = toolchains.split_first().context("no compiler for wasm is at hand")?;
    let mut entries = Vec::new();
    for (policy, bytes) in build(first)? {
        fs::write(file(policy), &bytes).with_context(|| format!("cannot write the component of {policy}"))?;
        println!("{policy}: {} bytes, {}", bytes.len(), record::sha256(&bytes));
        entries.push(entry(first, policy, &bytes));
    }
    for other in others {
        entries.extend(build(other)?.iter().map(|(policy, bytes)| entry(other, policy, bytes)));
    }
    record::write(&components(), &entries)
}

/// Builds with a compiler that the record knows, and compares.
pub(crate) fn check(rustc: Option<PathBuf>) -> anyhow::Result<()> {
    let entries = record::read(&components())?;
    let toolchain = choose(rustc, &entries)?;
    println!("compiling with {}", toolchain.identity);
    let mut stale = Vec::new();
    for (policy, bytes) in build(&toolchain)? {
        let kept =
            fs::read(file(policy)).with_context(|| format!("cannot read the component of {policy}"))?;
        let first = entries.iter().find(|entry| entry.policy == policy);
        let recorded = first.is_some_and(|entry| entry.sha256 == record::sha256(&kept));
        let reproduced = entries.contains(&entry(&toolchain, policy, &bytes));
        let verdict = match (recorded, reproduced) {
            (true, true) => "matches its source",
            (false, _) => "is not the component that the record names",
            (_, false) => "is not what its source makes",
        };
        println!("{policy}: {verdict}");
        if !(recorded && reproduced) {
            stale.push(policy);
        }
    }
    ensure!(stale.is_empty(), "stale: {}. Refresh with: {REFRESH}", stale.join(", "));
    Ok(())
}

/// The compiler that made the components if it is at hand, else another one whose
/// bytes are on record.
fn choose(rustc: Option<PathBuf>, entries: &[Entry]) -> anyhow::Result<Toolchain> {
    let mut releases: Vec<String> =
        entries.iter().filter_map(|entry| entry.compiler.split(' ').nth(1).map(str::to_owned)).collect();
    releases.dedup();
    let at_hand = match rustc {
        Some(rustc) => vec![Toolchain::of(&rustc)?],
        None => Toolchain::all(&releases),
    };
    let known = |entry: &Entry| at_hand.iter().find(|toolchain| toolchain.identity == entry.compiler);
    if let Some(toolchain) = entries.iter().find_map(known) {
        return Ok(toolchain.clone());
    }
    let list = |names: Vec<&str>| names.iter().map(|name| format!("\n  {name}")).collect::<String>();
    let mut recorded: Vec<&str> = entries.iter().map(|entry| entry.compiler.as_str()).collect();
    recorded.dedup();
    bail!(
        "the bytes depend on the compiler, and none at hand is on record. On record:{}\nat hand:{}\n\
         Install the first one (`rustup toolchain install {}`), or refresh with: {REFRESH}",
        list(recorded),
        list(at_hand.iter().map(|toolchain| toolchain.identity.as_str()).collect()),
        releases.first().map_or("stable", String::as_str),
    )
}

fn build(toolchain: &Toolchain) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    let profile = |policy: &str| if SMALL.contains(&policy) { "policy-small" } else { "policy" };
    let target_dir = target_dir();
    for one in ["policy", "policy-small"] {
        let mut cargo = toolchain.cargo(&workspace(), &target_dir)?;
        cargo.args(["--locked", "--profile", one]);
        for policy in POLICIES.iter().filter(|policy| profile(policy) == one) {
            cargo.args(["-p", &format!("guildhall-policy-{policy}")]);
        }
        let status = cargo.status().context("cannot run cargo")?;
        ensure!(status.success(), "the policies do not compile with {}", toolchain.identity);
    }
    POLICIES
        .into_iter()
        .map(|policy| {
            let module = format!("guildhall_policy_{}.wasm", policy.replace('-', "_"));
            let module = target_dir.join("wasm32-unknown-unknown").join(profile(policy)).join(module);
            let module = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
            let component = encode(&module).with_context(|| format!("policy {policy}"))?;
            accept(toolchain, policy, &component)?;
            Ok((policy, component))
        })
        .collect()
}

fn accept(toolchain: &Toolchain, policy: &str, component: &[u8]) -> anyhow::Result<()> {
    let size = component.len();
    ensure!(size < MOST_BYTES, "{policy} has {size} bytes; a stock policy has less than {MOST_BYTES}");
    for path in toolchain.private_paths(&workspace())? {
        let path = path.as_os_str().as_encoded_bytes();
        let found = component.windows(path.len()).any(|window| window == path);
        ensure!(!found, "{policy} has {} in its bytes", String::from_utf8_lossy(path));
    }
    Ok(())
}

fn entry(toolchain: &Toolchain, policy: &str, bytes: &[u8]) -> Entry {
    Entry { sha256: record::sha256(bytes), policy: policy.to_owned(), compiler: toolchain.identity.clone() }
}

fn workspace() -> PathBuf {
    // `cargo run` says where this package is now; it may have been compiled elsewhere.
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(package);
    package.parent().map(Path::to_owned).unwrap_or(package)
}

fn components() -> PathBuf {
    workspace().join("sdk/src/placement/components")
}

fn file(policy: &str) -> PathBuf {
    components().join(format!("{policy}.wasm"))
}

/// Beside the native build's folder, so that neither waits for the other's lock.
fn target_dir() -> PathBuf {
    let native = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    native.join("wasm")
}
