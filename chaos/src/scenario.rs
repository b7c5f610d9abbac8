//! One run inside a sandbox: a fleet, a workload, faults, and the verdict.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use echo_runner::witness;
use guildhall::{
    agent::AgentState,
    engine::{GrpcEngine, Timeouts},
    placement::CompiledCache,
    registry::{RedisOptions, RedisRegistry, Registry},
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{
    checker::{self, Standing},
    faults::Targets,
    fleet::{Fleet, Settings},
    history::History,
    names::Names,
    nemesis::{self, Round},
    network::{DRIVER, Network},
    planted::Bug,
    redis::{Redis, Setup},
    sandbox,
    stale::StaleWrites,
    workload::{Workload, agent},
};

/// How long everything may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A process that has not testified for this long, in nanoseconds, does not live.
const SILENT: u64 = 2_000_000_000;

/// What to do in one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Scenario {
    /// What chance is made of.
    pub(crate) seed: u64,
    /// How many faults; a planted bug has its own.
    pub(crate) faults: usize,
    /// How Redis is set up.
    pub(crate) setup: Setup,
    /// How many hosts.
    pub(crate) hosts: usize,
    /// How long a lease is.
    pub(crate) lease: Duration,
    /// A bug to switch on.
    pub(crate) planted: Option<Bug>,
    /// The `agent-host` to run.
    pub(crate) program: PathBuf,
}

/// What came of one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Faults that were done, by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Agents that lived twice at a time, in words.
    pub(crate) overlaps: Vec<String>,
    /// Epochs that did not grow, in words.
    pub(crate) regressions: Vec<String>,
    /// Agents that are lost, in words.
    pub(crate) lost: Vec<String>,
    /// Agents that live though they were stopped, in words.
    pub(crate) revived: Vec<String>,
    /// Stale writes that were accepted, in words.
    pub(crate) stale_writes: Vec<String>,
    /// Stale writes that were tried and refused.
    pub(crate) stale_writes_refused: u64,
    /// From deaths of hosts to their agents' first signs elsewhere, nanoseconds.
    pub(crate) failovers: Vec<u64>,
    /// Agents that ended while only the registry was away, in words.
    pub(crate) ended_in_outages: Vec<String>,
    /// Agents that died with their hosts; some were stopped before they could fail over.
    pub(crate) died_with_host: u64,
    /// Processes that lived.
    pub(crate) processes: u64,
    /// Launches that were accepted.
    pub(crate) accepted: u64,
    /// Stops that were carried out.
    pub(crate) stopped: u64,
    /// Calls whose outcome is not known.
    pub(crate) in_doubt: u64,
    /// Hosts that ended by themselves.
    pub(crate) hosts_ended: u64,
    /// How long it took, seconds.
    pub(crate) seconds: u64,
}

impl Outcome {
    /// Whether everything held that must.
    pub(crate) fn is_clean(&self) -> bool {
        self.faulty().next().is_none()
    }

    /// What did not hold, in words.
    pub(crate) fn faulty(&self) -> impl Iterator<Item = &String> {
        let kinds = [&self.overlaps, &self.regressions, &self.lost, &self.revived, &self.stale_writes];
        kinds.into_iter().flatten()
    }
}

/// Runs a scenario, inside.
pub(crate) async fn run(scenario: &Scenario, dir: &Path) -> Result<Outcome> {
    let began = Instant::now();
    let Scenario { seed, setup, hosts, lease, .. } = *scenario;
    // While it holds, agents may live though the whole registry is away.
    let outage_patience = lease * 10;
    let witness_dir = dir.join("witness");
    std::fs::create_dir_all(&witness_dir)?;

    sandbox::furnish(dir, &DRIVER.to_string())?;
    let host_places = Fleet::places(hosts);
    let redis_places = setup.places();
    let network = Network::build(&[host_places.clone(), redis_places.clone()].concat(), seed)?;
    let names = Names::serve(redis_places[0].address).await?;
    let redis = Redis::start(setup, dir).await?;
    let options = RedisOptions { call_timeout: Duration::from_secs(2), ..RedisOptions::default() };
    let registry: Arc<dyn Registry> = Arc::new(RedisRegistry::connect(&redis.url(), options).await?);
    let timeouts =
        Timeouts { create: Duration::from_secs(20), stop: Duration::from_secs(10), ..Timeouts::default() };
    let engine = GrpcEngine::builder()
        .registry(registry.clone())
        .timeouts(timeouts)
        .compiled_cache(CompiledCache::at(dir.join("policies")))
        .build()
        .await?;
    let engine = Arc::new(engine);
    let settings = Settings {
        program: scenario.program.clone(),
        redis_url: redis.url(),
        redis_replicas: u8::from(setup.fails_over()),
        lease,
        outage_patience,
        witness_dir: witness_dir.clone(),
        planted: scenario.planted,
    };
    let fleet = Fleet::start(&host_places, &settings, dir)?;
    engine.wait_for_hosts(hosts, READY_WITHIN).await.context("the hosts did not come up")?;
    tracing::info!(hosts, setup = ?setup, "the fleet is ready");

    let stale = StaleWrites::watch(registry.clone(), &engine, &witness_dir);
    let workload = Workload::start(engine.clone(), seed);
    ensure!(workload.until_running(READY_WITHIN).await, "the agents did not come up");
    tracing::info!(agents = workload.accepted().len(), "the agents run");

    let mut targets =
        Targets { network, names, redis, fleet, witness_dir: witness_dir.clone(), deaths: Vec::new() };
    let rounds = match scenario.planted {
        Some(bug) => bug.schedule(hosts, lease),
        None => nemesis::schedule(seed, scenario.faults, setup, hosts, lease),
    };
    let (mut faults, mut outages) = (BTreeMap::new(), Vec::new());
    for round in &rounds {
        play(round, &mut targets, &workload, &mut faults, &mut outages, outage_patience).await?;
        // What went on must be over before it can be said to be stale.
        if workload.until_running(lease * 3).await {
            stale.try_some().await?;
        }
    }

    targets.fleet.heal()?;
    targets.redis.heal().await?;
    workload.finish().await;
    let settled_within = if scenario.planted.is_some() { lease * 3 } else { outage_patience + lease * 10 };
    let (lost, revived) = settle(&workload, &*registry, &witness_dir, settled_within).await?;
    stale.try_some().await?;

    let history = History::read(&witness_dir)?;
    let (counts, touched) = (workload.counts(), workload.touched());
    Ok(Outcome {
        faults,
        overlaps: in_words(&checker::overlaps(&history)),
        regressions: in_words(&checker::regressions(&history)),
        lost,
        revived,
        stale_writes: stale.accepted(),
        stale_writes_refused: stale.refused(),
        failovers: checker::failovers(&history, &targets.deaths, &touched),
        ended_in_outages: in_words(&checker::ended_within(&history, &outages, &touched)),
        died_with_host: targets
            .deaths
            .iter()
            .map(|death| checker::victims(&history, death).count() as u64)
            .sum(),
        processes: history.processes() as u64,
        accepted: counts.accepted,
        stopped: counts.stopped,
        in_doubt: counts.in_doubt,
        hosts_ended: u64::from(targets.fleet.ended_by_themselves()),
        seconds: began.elapsed().as_secs(),
    })
}

/// Begins the faults of a round, lets them hold, and heals them.
async fn play(
    round: &Round,
    targets: &mut Targets,
    workload: &Workload,
    faults: &mut BTreeMap<String, u64>,
    outages: &mut Vec<(u64, u64)>,
    patience: Duration,
) -> Result<()> {
    let mut under_way = Vec::new();
    for planned in &round.0 {
        let calm =
            async || workload.until_running(patience).await && workload.forget_ended().await.unwrap_or(false);
        if planned.fault.needs_calm() && !calm().await {
            tracing::info!(fault = planned.fault.name(), "not done: agents are still on their way");
            continue;
        }
        let (began, at) = (Instant::now(), witness::now());
        tracing::info!(fault = planned.fault.name(), host = targets.fleet.id(planned.host), "fault");
        match targets.begin(planned).await.with_context(|| format!("{} failed", planned.fault.name()))? {
            None => tracing::info!(fault = planned.fault.name(), "not done: there is nothing to do it to"),
            Some(undo) => {
                tracing::debug!(
                    fault = planned.fault.name(),
                    hold_ms = planned.hold.as_millis(),
                    ?undo,
                    "it holds"
                );
                *faults.entry(planned.fault.name().to_owned()).or_default() += 1;
                under_way.push((planned, undo, began, at));
            }
        }
    }
    for (planned, undo, began, at) in under_way {
        let hold = Targets::hold(planned, &undo);
        sleep(hold.saturating_sub(began.elapsed())).await;
        targets
            .undo(undo, planned.hold)
            .await
            .with_context(|| format!("{} was not healed", planned.fault.name()))?;
        tracing::info!(fault = planned.fault.name(), "healed");
        if planned.fault.is_of_registry() {
            outages.push((at, witness::now()));
        }
    }
    sleep(round.0.iter().map(|planned| planned.gap).max().unwrap_or_default()).await;
    Ok(())
}

/// Waits until no accepted agent is lost and none that was stopped lives, and answers which
/// are and do after that long, in words.
async fn settle(
    workload: &Workload,
    registry: &dyn Registry,
    witness_dir: &Path,
    at_most: Duration,
) -> Result<(Vec<String>, Vec<String>)> {
    let until = Instant::now() + at_most;
    loop {
        // The registry's answers come first, so that a process that is named in one has
        // had the time to testify.
        let mut standings = Vec::new();
        for key in workload.accepted() {
            standings.push((agent(&key), standing(registry.agent(&key).await)));
        }
        let now = witness::now();
        sleep(Duration::from_millis(300)).await;
        let history = History::read(witness_dir)?;
        let absent = workload.absent();
        let revived: Vec<_> =
            absent.iter().flat_map(|key| checker::revived(&history, &agent(key), now)).collect();
        let since = now.saturating_sub(SILENT);
        let lost: Vec<_> = standings
            .iter()
            .filter_map(|(agent, standing)| checker::loss(&history, agent, standing, since))
            .collect();
        let on_its_way = standings.iter().any(|(_, standing)| *standing == Standing::OnItsWay);
        if lost.is_empty() && revived.is_empty() && !on_its_way || Instant::now() > until {
            let revived = revived.iter().map(|found| format!("{found} lives though it was stopped"));
            return Ok((in_words(&lost), revived.collect()));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn in_words(all: &[impl ToString]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn standing(
    answer: std::result::Result<Option<guildhall::registry::Claimed>, guildhall::registry::RegistryError>,
) -> Standing {
    let agent = match answer {
        Err(error) => return Standing::Adrift(error.to_string()),
        Ok(None) => return Standing::Missing,
        Ok(Some(claimed)) => claimed.agent,
    };
    match agent.state {
        AgentState::Running => Standing::Running(agent.epoch.0),
        AgentState::Failed | AgentState::Finished => {
            Standing::Ended(agent.last_exit.map(|exit| exit.reason).unwrap_or_default())
        }
        // States that this suite does not name yet are judged by what they are called.
        state if ["starting", "restarting", "waiting"].contains(&state.as_str()) => Standing::OnItsWay,
        state => Standing::Adrift(state.to_string()),
    }
}
