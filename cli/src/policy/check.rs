//! What a policy is, and what it costs.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use guildhall::{
    ids::{AgentId, AgentKey, GuildId, HostId},
    placement::{Candidate, FleetChange, Load, PlaceError, PlacementRequest, PlacementService, PolicyLimits},
};
use serde_json::json;

use super::Subject;

/// Sizes of fleets that a decision is measured with.
const FLEETS: [usize; 3] = [10, 1_000, 10_000];

/// Decisions in a sample, and samples; the median one is told.
const DECISIONS: u32 = 100;
const SAMPLES: usize = 21;

#[derive(clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    subject: Subject,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let (artifact, policy, settings) = self.subject.load()?;
        let start = || PlacementService::new(policy.clone(), &settings, PolicyLimits::default());
        let needs = start()?.needs();
        let schema = policy.settings_schema(&PolicyLimits::default())?;
        let parts: Vec<String> = policy.parts().iter().map(ToString::to_string).collect();
        let identity = policy.identity();
        let mut costs = Vec::new();
        for hosts in FLEETS {
            let service = start()?;
            service.observe((0..hosts).map(candidate).collect::<anyhow::Result<Vec<_>>>()?);
            let decision = time(&service)?;
            costs.push((hosts, decision, service.memory_bytes()));
        }
        if self.json {
            let costs: Vec<_> = costs
                .iter()
                .map(|(hosts, decision, memory)| {
                    json!({"hosts": hosts, "decision_us": decision.as_secs_f64() * 1e6, "memory_bytes": memory})
                })
                .collect();
            println!(
                "{}",
                json!({
                    "name": identity.name, "sha256": identity.sha256, "bytes": artifact.component.len(),
                    "contract": policy.contract(), "interfaces": policy.interfaces(), "imports": policy.stubbed(),
                    "parts": parts, "needs_ticket": needs.ticket, "needs_peers": needs.peers,
                    "settings_schema": schema, "signed": artifact.signature.is_some(), "settings": settings, "costs": costs,
                })
            );
            return Ok(());
        }
        let or = |condition: bool, yes: &'static str, no: &'static str| if condition { yes } else { no };
        println!("policy     {}", identity.name);
        println!("sha256     {}", identity.sha256);
        println!("size       {} bytes", artifact.component.len());
        println!("contract   {}", policy.contract());
        println!(
            "exports    {}",
            list(&["policy"].into_iter().chain(policy.interfaces()).collect::<Vec<_>>())
        );
        if !parts.is_empty() {
            println!("chain of   {}", parts.join(", "));
        }
        match policy.stubbed() {
            [] => println!("imports    nothing"),
            stubbed => println!("imports    {}, with stand-ins", stubbed.join(", ")),
        }
        let wanted = [(needs.ticket, "a ticket"), (needs.peers, "where the guild's other agents are")];
        let wanted: Vec<_> = wanted.into_iter().filter_map(|(needed, what)| needed.then_some(what)).collect();
        println!(
            "needs      {}",
            if wanted.is_empty() { "nothing in a request".to_owned() } else { list(&wanted) }
        );
        println!("signature  {}", or(artifact.signature.is_some(), "there is one; not checked here", "none"));
        println!("settings   {}", or(settings.is_null(), "none", "accepted"));
        println!("schema     {}", schema.map_or("none".to_owned(), |schema| schema.to_string()));
        let limit = PolicyLimits::default().memory_bytes / 1024;
        for (hosts, decision, memory) in costs {
            let (decision, memory) = (decision.as_secs_f64() * 1e6, memory / 1024);
            println!("{hosts:>6} hosts: {decision:.1} µs a decision, {memory} KiB of {limit} KiB");
        }
        Ok(())
    }
}

fn list(words: &[&str]) -> String {
    words.join(", ")
}

/// How long a decision takes, in the middle of many.
fn time(service: &PlacementService) -> anyhow::Result<Duration> {
    let mut samples = Vec::with_capacity(SAMPLES);
    let mut ticket = 0;
    for _ in 0..SAMPLES {
        let requests: Vec<_> = (0..DECISIONS)
            .map(|_| {
                ticket += 1;
                request(ticket)
            })
            .collect::<anyhow::Result<_>>()?;
        let begun = Instant::now();
        for request in &requests {
            match black_box(service.place(request)) {
                Ok(_) | Err(PlaceError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        samples.push(begun.elapsed() / DECISIONS);
    }
    samples.sort();
    Ok(samples[SAMPLES / 2])
}

fn request(ticket: u64) -> anyhow::Result<PlacementRequest> {
    let key = AgentKey::new(GuildId::new("guild")?, AgentId::new(format!("agent-{ticket}"))?);
    Ok(PlacementRequest { ticket: Some(ticket), ..PlacementRequest::new(key) })
}

/// A host like those of a cluster: five labels, some load.
fn candidate(nth: usize) -> anyhow::Result<FleetChange> {
    let label = |name: &str, value: String| (name.to_owned(), value);
    let share = (nth % 97) as f64 / 100.0;
    Ok(FleetChange::Upsert(Candidate {
        labels: [
            label("zone", format!("zone-{}", nth % 3)),
            label("region", "region-1".to_owned()),
            label("node", format!("node-{nth}")),
            label("instance-type", format!("large-{}", nth % 4)),
            label("pool", "agents".to_owned()),
        ]
        .into(),
        running: u32::try_from(nth % 50)?,
        load: Load {
            cpu_fraction: share,
            memory_used: ((nth % 64) as u64) << 30,
            memory_total: 64 << 30,
            ..Load::default()
        },
        ..Candidate::new(HostId::new(format!("agent-host-{nth:05}"))?, 100)
    }))
}
