//! Decisions of a policy about a fleet that a file describes.

use std::path::PathBuf;

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use guildhall::placement::{PlaceError, PlacementService};
use serde_json::json;

use super::{Subject, files};

#[derive(clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    subject: Subject,

    /// The fleet, a YAML file: a list `hosts`, each with an `id` and, where it matters,
    /// `labels`, `capacity`, `running`, `cpu_fraction`, `memory_used`, `memory_total`,
    /// `starts_in_flight`, `allocatable` and `requested` (each with `cpu_millis`, `memory`,
    /// `accelerator_millis`, `custom`), `warm` and `standing`.
    #[arg(long, value_name = "FILE")]
    fleet: PathBuf,

    /// The agent, a YAML file with any of `guild`, `agent`, `name`, `class_name`, `labels`,
    /// `num_cpus`, `num_gpus`, `custom_resources`, `restarts`, `failed_on`, `peers` (each with
    /// `agent`, `name`, `class_name` and `host`) and `excluded`.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,

    /// How many agents like it to place, one after another.
    #[arg(long, value_name = "N", default_value_t = 1)]
    agents: u64,

    /// Print one JSON object a decision.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let (_, policy, settings) = self.subject.load()?;
        let service = PlacementService::new(policy, &settings, Default::default())?;
        service.observe(files::Fleet::read(&self.fleet)?.changes()?);
        let request = self.request.as_deref().map(files::Request::read).transpose()?.unwrap_or_default();
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY).set_header(["agent", "host", "reason"]);
        for nth in 0..self.agents {
            let request = request.nth(nth)?;
            let (host, reason) = match service.place(&request) {
                Ok(decision) => (Some(decision.host.to_string()), decision.reason),
                Err(PlaceError::Refused { refusal, .. }) => (None, refusal.reason),
                Err(error) => return Err(error.into()),
            };
            if self.json {
                println!("{}", json!({"agent": request.key.agent, "host": host, "reason": reason}));
            } else {
                table.add_row([request.key.agent.to_string(), host.unwrap_or("none".to_owned()), reason]);
            }
        }
        if !self.json {
            println!("policy {}\n{table}", service.identity());
        }
        Ok(())
    }
}
