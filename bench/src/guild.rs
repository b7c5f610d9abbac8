//! A guild placed in one call, against its agents placed one after another.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Result, ensure};
use guildhall::{
    ids::{AgentId, GuildId, HostId},
    placement::{
        BuiltIn, CompiledCache, FleetChange, GuildMode, GuildRequest, Kind, PlacementService, Policy,
    },
};

use crate::{decision, report::Row, stats::in_turns};

const HOSTS: usize = 1_000;
const AGENTS: usize = 1_000;
const ROUNDS: usize = 41;

pub(crate) async fn take() -> Result<Vec<Row>> {
    let policy = Policy::load(&BuiltIn::LeastLoaded.into(), &CompiledCache::default())?;
    let service = || {
        let service = PlacementService::new(policy.clone(), &serde_json::Value::Null, Default::default())?;
        for at in 0..HOSTS {
            service.observe([FleetChange::Upsert(decision::candidate(at)?.0)]);
        }
        anyhow::Ok(service)
    };
    let (at_once, one_by_one) = (service()?, service()?);
    let mut guild = GuildRequest::new(GuildId::new("guild")?, GuildMode::AllOrNothing);
    let mut singles = Vec::new();
    for at in 0..AGENTS {
        let single = decision::request(at)?.0;
        let kind = Kind {
            class_name: single.class_name.clone(),
            labels: single.labels.clone(),
            resources: single.resources.clone(),
        };
        guild.add(AgentId::new(format!("agent-{at}"))?, single.name.as_str(), kind);
        singles.push(single);
    }
    let (mut together, mut apart) = (Balance::default(), Balance::default());
    let measured = in_turns(
        ROUNDS,
        async |_| {
            let mut hosts = Vec::with_capacity(AGENTS);
            let begun = Instant::now();
            for single in &singles {
                hosts.push(one_by_one.place(single)?.host);
            }
            let took = begun.elapsed().as_secs_f64() * 1e6;
            hosts.iter().for_each(|host| apart.count(host));
            Ok(took)
        },
        async |_| {
            let begun = Instant::now();
            let placed = at_once.place_guild(&guild)?;
            let took = begun.elapsed().as_secs_f64() * 1e6;
            ensure!(placed.hosts.len() == AGENTS, "some were left out");
            placed.hosts.iter().flatten().for_each(|host| together.count(host));
            Ok(took)
        },
    )
    .await?;
    let name = format!("guild: {AGENTS} agents on {HOSTS} hosts");
    Ok(vec![
        Row::new(format!("{name}, one by one"), measured.a(), "µs"),
        Row::new(format!("{name}, in one call"), measured.b(), "µs"),
        Row::new(format!("{name}, one by one / in one call"), measured.ratio(), "ratio").at_least(5.0),
        Row::new(format!("{name}, fullest / mean, one by one"), apart.fullest_over_mean(), "ratio"),
        Row::new(format!("{name}, fullest / mean, in one call"), together.fullest_over_mean(), "ratio"),
    ])
}

/// How many agents each host got.
#[derive(Default)]
struct Balance(BTreeMap<HostId, u32>);

impl Balance {
    fn count(&mut self, host: &HostId) {
        match self.0.get_mut(host) {
            Some(agents) => *agents += 1,
            None => drop(self.0.insert(host.clone(), 1)),
        }
    }

    fn fullest_over_mean(&self) -> f64 {
        let agents = self.0.values().sum::<u32>();
        let fullest = self.0.values().copied().max().unwrap_or_default();
        f64::from(fullest) * HOSTS as f64 / f64::from(agents)
    }
}
