//! The commands about policies, a file each.

mod build;
mod check;
mod files;
mod new;
mod published;
mod replay;
mod run;
mod simulate;

use anyhow::{Context, ensure};
use clap::Subcommand;
use guildhall::placement::{CompiledCache, Imports, Policy, PolicyArtifact};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a crate with a policy that works, and a test of it that passes.
    New(new::New),
    /// Build a policy's crate or C files, and make a component of it.
    Build(build::Build),
    /// Say what a policy is: whether it is one, its digest, what it costs.
    Check(check::Check),
    /// Ask a policy for hosts of a fleet that a file describes.
    Run(run::Run),
    /// Try policies on an invented fleet, and compare what comes of it.
    Simulate(simulate::Simulate),
    /// Go through recorded decisions again, by the policy that made them or by another.
    Replay(replay::Replay),
    /// Name the policy of a whole fleet: engines and hosts take it over within seconds.
    Publish(published::Publish),
    /// Take that back: the fleet decides by round-robin.
    Withdraw(published::Withdraw),
    /// Show which policy a fleet has, and which one each host decides by.
    Show(published::Show),
}

impl Command {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::New(new) => new.run(),
            Self::Build(build) => build.run(),
            Self::Check(check) => check.run(),
            Self::Run(run) => run.run(),
            Self::Simulate(simulate) => simulate.run(),
            Self::Replay(replay) => replay.run(),
            Self::Publish(publish) => publish.run(),
            Self::Withdraw(withdraw) => withdraw.run(),
            Self::Show(show) => show.run(),
        }
    }
}

/// Which policy is meant, and its settings.
#[derive(Clone, Debug, clap::Args)]
struct Subject {
    /// The policy: a component, a chain in JSON, a folder with `policy.wasm`, or built-in
    /// ones by name, with commas between several that decide together.
    policy: String,

    /// Its settings, a JSON object. Unset: those in its folder, or none.
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,

    /// Let it import WASI, and give it stand-ins: clocks that stand still, random numbers
    /// from a fixed seed, no files, no network.
    #[arg(long)]
    wasi_stubs: bool,
}

impl Subject {
    fn artifact(&self) -> anyhow::Result<PolicyArtifact> {
        let artifact = PolicyArtifact::named(&self.policy)?;
        let Some(settings) = &self.settings else { return Ok(artifact) };
        let settings: serde_json::Value = serde_json::from_str(settings).context("--settings is no JSON")?;
        ensure!(settings.is_object(), "--settings is not a JSON object");
        Ok(artifact.with_settings(settings))
    }

    /// The policy, ready to be started, and its settings.
    fn load(&self) -> anyhow::Result<(PolicyArtifact, Policy, serde_json::Value)> {
        let artifact = self.artifact()?;
        let imports = if self.wasi_stubs { Imports::WasiStubs } else { Imports::Refused };
        let policy = Policy::load_with(&artifact, &CompiledCache::default(), imports)?;
        let settings = artifact.settings.clone().unwrap_or_default();
        Ok((artifact, policy, settings))
    }
}
