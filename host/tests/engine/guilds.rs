//! What an engine tells a policy of a guild, and what it does with the answers.

use guildhall::{
    engine::{EngineError, ExecutionEngine},
    launch::LaunchOptions,
    placement::{BuiltIn, GuildMode, PolicyArtifact, Sha256Digest},
};
use serde_json::json;

use crate::{
    backends::Pair,
    setup::{agents, guild, launch, spread, world, world_with},
};

both!(
    an_agent_says_which_policy_chose_its_host,
    a_policy_knows_where_the_other_agents_of_the_guild_are,
    of_a_guild_that_runs_whole_or_not_at_all_nothing_runs_when_one_finds_no_host,
    several_policies_decide_together,
);

async fn an_agent_says_which_policy_chose_its_host(pair: Pair) {
    let world = world(pair, 1).await;
    let engine = world.engine_with(|engine| engine.policy(BuiltIn::LeastLoaded)).await;
    let ran = engine.run_agent(launch("a")).await.unwrap();
    let policy = ran.placed_by.clone().expect("a policy chose its host");
    assert_eq!(policy.name, "least-loaded");
    assert_eq!(policy.sha256, Sha256Digest::of(BuiltIn::LeastLoaded.bytes()));
    let found = engine.get_agent(&ran.key).await.unwrap().expect("it runs");
    assert_eq!(found.placed_by, Some(policy));
    world.end().await;
}

async fn a_policy_knows_where_the_other_agents_of_the_guild_are(pair: Pair) {
    let world = world(pair, 3).await;
    // No two agents of a guild on one host.
    let apart = json!({"agents": [{"kind": "anti-affinity", "of": "guild", "topology": "host"}]});
    let policy = PolicyArtifact::from(BuiltIn::Affinity).with_settings(apart);
    let engine = world.engine_with(|engine| engine.policy(policy.clone())).await;
    let ran = agents(engine.run_guild(&guild("g", 2), &LaunchOptions::default()).await);
    assert_eq!(spread(&ran).len(), 2);
    // Another engine knows of them too.
    let other = world.engine_with(|engine| engine.policy(policy)).await;
    let mut all = ran.clone();
    all.extend(agents(other.run_guild(&guild("g", 3), &LaunchOptions::default()).await.split_off(2)));
    assert_eq!(spread(&all).len(), 3, "{:?}", spread(&all));
    let outcomes = other.run_guild(&guild("g", 4), &LaunchOptions::default()).await;
    match outcomes.last().map(|outcome| &outcome.result) {
        Some(Err(EngineError::NoHost { reason, .. })) => {
            assert!(reason.contains("3 agents of its guild on the same host"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    world.end().await;
}

async fn of_a_guild_that_runs_whole_or_not_at_all_nothing_runs_when_one_finds_no_host(pair: Pair) {
    let world = world_with(pair, |fleet| fleet.hosts(2).capacity(2)).await;
    let engine = world.engine_with(|engine| engine.policy(BuiltIn::LeastLoaded)).await;
    let whole = LaunchOptions { mode: GuildMode::AllOrNothing, ..LaunchOptions::default() };
    let outcomes = engine.run_guild(&guild("large", 5), &whole).await;
    assert_eq!(outcomes.len(), 5);
    for outcome in &outcomes {
        let error = outcome.result.as_ref().unwrap_err();
        assert!(matches!(error, EngineError::GuildNotPlaced { .. }), "{error}");
        assert!(error.to_string().contains("no host is free for 1 of 5 agents"), "{error}");
    }
    assert_eq!(world.processes().len(), 0);
    let ran = agents(engine.run_guild(&guild("fits", 4), &whole).await);
    assert_eq!(spread(&ran).iter().map(|(_, agents)| *agents).collect::<Vec<_>>(), [2, 2]);
    world.end().await;
}

async fn several_policies_decide_together(pair: Pair) {
    let world = world(pair, 2).await;
    let chain = PolicyArtifact::chain(&["resource-fit", "affinity", "least-loaded"]).unwrap();
    let engine = world.engine_with(|engine| engine.policy(chain)).await;
    let ran = agents(engine.run_guild(&guild("g", 6), &LaunchOptions::default()).await);
    assert_eq!(spread(&ran).iter().map(|(_, agents)| *agents).collect::<Vec<_>>(), [3, 3]);
    let policy = ran[0].placed_by.as_ref().expect("a policy chose its host");
    assert_eq!(policy.name, "resource-fit+affinity+least-loaded");
    world.end().await;
}
