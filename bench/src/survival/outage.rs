//! Redis is gone for minutes, while the hosts are well: no agent may end, and none be
//! doubled; when it is back, every call works again without anybody's doing.

use std::time::Duration;

use anyhow::{Context, Result};
use echo_runner::witness;
use guildhall::{
    agent::AgentState,
    engine::{ExecutionEngine, GrpcEngine},
    ids::{AgentId, AgentKey, GuildId},
};
use tokio::time::{Instant, sleep};

use super::{
    fleet::{Fleet, Terms},
    lives::Lives,
};
use crate::{report::Row, workload};

const HOSTS: usize = 5;
const AGENTS: usize = 100;

/// How long the calls may take to work again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(120);

/// How Redis is gone.
#[derive(Clone, Copy, Debug)]
enum Gone {
    /// It accepts connections, and answers nothing.
    Hangs,
    /// Its process is killed; it comes back with its append-only file.
    Killed,
}

/// Both at once, so that it takes the time of one.
pub(crate) async fn take(length: Duration) -> Result<Vec<Row>> {
    let (hangs, killed) = tokio::try_join!(gone(Gone::Hangs, length), gone(Gone::Killed, length))?;
    Ok([hangs, killed].concat())
}

async fn gone(how: Gone, length: Duration) -> Result<Vec<Row>> {
    let terms = Terms {
        hosts: HOSTS,
        lease: Duration::from_secs(10),
        capacity: AGENTS,
        testify_every: Some(Duration::from_millis(20)),
    };
    let mut fleet = Fleet::start(terms).await?;
    fleet.run(workload::launches("survival", AGENTS)?).await?;
    match how {
        Gone::Hangs => fleet.redis.pause()?,
        Gone::Killed => fleet.redis.kill(),
    }
    sleep(length).await;
    match how {
        Gone::Hangs => fleet.redis.resume()?,
        Gone::Killed => fleet.redis.restart()?,
    }
    let back = Instant::now();
    let mut launches = workload::launches("after", 1)?;
    let launch = launches.pop().context("a launch")?;
    let mut last = None;
    while back.elapsed() < RECOVERED_WITHIN {
        match calls_work(&fleet.engine, &launch).await {
            Ok(()) => {
                last = Some(back.elapsed());
                break;
            }
            Err(error) => eprintln!("{how:?}: not yet: {error:#}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
    // What would end late, or begin late, has the time to.
    sleep(2 * terms.lease).await;
    let since = witness::now();
    sleep(Duration::from_secs(1)).await;
    let lives = Lives::read(&fleet.witness())?;
    // One more was run and stopped afterwards.
    let undisturbed = lives.undisturbed(since);
    let word = match how {
        Gone::Hangs => "hangs",
        Gone::Killed => "is killed",
    };
    let name = format!("outage: Redis {word} for {} s, {AGENTS} agents", length.as_secs());
    let recovered = Row::new(
        format!("{name}, until all calls work"),
        last.map_or(f64::NAN, |last| last.as_secs_f64()),
        "s",
    );
    Ok(vec![
        Row::new(format!("{name}, that ended"), AGENTS as f64 - undisturbed as f64, "agents").at_most(0.0),
        Row::new(format!("{name}, that ran twice"), lives.doubled() as f64, "agents").at_most(0.0),
        recovered.goal("they do".to_owned(), last.is_some()),
    ])
}

/// One call of each kind.
async fn calls_work(engine: &GrpcEngine, launch: &guildhall::launch::Launch) -> Result<()> {
    let known = AgentKey::new(GuildId::new("survival-0")?, AgentId::new("agent-0")?);
    let agent = engine.get_agent(&known).await?.context("the agent is not recorded")?;
    anyhow::ensure!(agent.state == AgentState::Running, "the agent is {}", agent.state);
    engine.get_agents_in_guild(&known.guild).await?;
    if !engine.is_agent_running(&launch.key).await? {
        engine.run_agent(launch.clone()).await?;
    }
    engine.stop_agent(&launch.key).await?;
    Ok(())
}
