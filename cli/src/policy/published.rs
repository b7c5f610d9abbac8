//! The policy of a whole fleet, in its registry.

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use guildhall::{
    placement::{PlacementService, PolicyArtifact},
    registry::Registry,
};

use super::Subject;
use crate::connection::RegistryArgs;

#[derive(clap::Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    subject: Subject,

    #[command(flatten)]
    registry: RegistryArgs,
}

impl Publish {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let (artifact, policy, settings) = self.subject.load()?;
        // What would be refused everywhere is better refused here.
        PlacementService::new(policy, &settings, Default::default())?;
        self.registry.with(async |registry| Ok(registry.publish_policy(Some(&artifact)).await?))?;
        println!("published {}; engines and hosts take it over within 5 seconds", artifact.identity());
        Ok(())
    }
}

#[derive(clap::Args)]
pub(crate) struct Withdraw {
    #[command(flatten)]
    registry: RegistryArgs,
}

impl Withdraw {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.registry.with(async |registry| Ok(registry.publish_policy(None).await?))?;
        println!("withdrawn; engines and hosts decide by round-robin within 5 seconds");
        Ok(())
    }
}

#[derive(clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    registry: RegistryArgs,
}

impl Show {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let (published, hosts) = self
            .registry
            .with(async |registry| Ok((registry.published_policy().await?, registry.hosts().await?)))?;
        let published = published.as_ref().map(PolicyArtifact::identity);
        match &published {
            Some(policy) => println!("published  {policy}"),
            None => println!("published  nothing: hosts decide by round-robin unless told otherwise"),
        }
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY).set_header(["host", "decides by", ""]);
        for host in hosts {
            let differs = published.as_ref().is_some_and(|policy| *policy != host.info.policy);
            let remark = if differs { "not the published one" } else { "" };
            table.add_row([host.info.id.to_string(), host.info.policy.to_string(), remark.to_owned()]);
        }
        println!("{table}");
        Ok(())
    }
}
