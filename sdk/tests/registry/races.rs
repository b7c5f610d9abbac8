//! Calls that meet: whatever their order, one incarnation wins.

use std::sync::Arc;

use futures::future::join_all;
use guildhall::registry::{ClaimOutcome, Registry, RegistryError};

use crate::{
    backends::{Pair, both_on_threads},
    fixtures::{agent, claim, guild_id, host_id, key, lease, register},
};

both_on_threads!(
    of_many_claims_one_wins,
    of_a_takeover_and_a_reassertion_one_wins,
    of_a_takeover_and_a_restart_one_wins,
    of_many_takeovers_one_wins,
);

const ROUNDS: usize = 150;

/// An agent whose claim is under a lease that is over, while its host is back under
/// lease `new`.
async fn orphan(
    registry: &dyn Registry,
    round: usize,
) -> (guildhall::ids::AgentKey, guildhall::ids::Epoch, String) {
    let (id, old, new) = (format!("h{round}"), lease(&format!("old{round}")), format!("new{round}"));
    let key = key("g", &format!("a{round}"));
    register(registry, &id, &old).await;
    let epoch = claim(registry, &key, &id, &old).await;
    registry.leave(&host_id(&id), &old).await.unwrap();
    register(registry, &id, &lease(&new)).await;
    (key, epoch, new)
}

async fn of_many_claims_one_wins(pair: Pair) {
    register(&*pair[0], "h", &lease("l")).await;
    for round in 0..ROUNDS {
        let key = key("g", &format!("a{round}"));
        let claims = (0..6).map(|n| {
            let (registry, key) = (pair[n % 2].clone(), key.clone());
            tokio::spawn(async move { registry.claim(&agent(&key, "h"), &lease("l"), None).await.unwrap() })
        });
        let outcomes: Vec<_> = join_all(claims).await.into_iter().map(Result::unwrap).collect();
        let won: Vec<_> = outcomes.iter().filter(|won| matches!(won, ClaimOutcome::Claimed(_))).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
    }
}

async fn of_a_takeover_and_a_reassertion_one_wins([a, b]: Pair) {
    register(&*b, "other", &lease("other")).await;
    for round in 0..ROUNDS {
        let (key, epoch, new) = orphan(&*a, round).await;
        let takeover = {
            let (b, key) = (b.clone(), key.clone());
            tokio::spawn(async move { b.claim(&agent(&key, "other"), &lease("other"), None).await.unwrap() })
        };
        let reassertion = {
            let (a, key, new) = (a.clone(), key.clone(), new.clone());
            tokio::spawn(async move { a.reassert(&key, epoch, &lease(&new)).await })
        };
        let lease_then = match (takeover.await.unwrap(), reassertion.await.unwrap()) {
            (ClaimOutcome::Claimed(_), Err(RegistryError::Fenced { .. })) => lease("other"),
            (ClaimOutcome::Held(_), Ok(())) => lease(&new),
            both => panic!("both or neither won: {both:?}"),
        };
        assert_eq!(a.agent(&key).await.unwrap().unwrap().lease, lease_then);
    }
}

async fn of_a_takeover_and_a_restart_one_wins([a, b]: Pair) {
    register(&*b, "other", &lease("other")).await;
    for round in 0..ROUNDS {
        let (key, epoch, new) = orphan(&*a, round).await;
        let takeover = {
            let (b, key) = (b.clone(), key.clone());
            tokio::spawn(async move { b.claim(&agent(&key, "other"), &lease("other"), None).await.unwrap() })
        };
        let restart = {
            let (a, key) = (a.clone(), key.clone());
            let host = format!("h{round}");
            tokio::spawn(
                async move { a.claim(&agent(&key, &host), &lease(&new), Some(epoch)).await.unwrap() },
            )
        };
        match (takeover.await.unwrap(), restart.await.unwrap()) {
            (ClaimOutcome::Claimed(_), ClaimOutcome::Held(_))
            | (ClaimOutcome::Held(_), ClaimOutcome::Claimed(_)) => {}
            both => panic!("both or neither won: {both:?}"),
        }
    }
}

async fn of_many_takeovers_one_wins(pair: Pair) {
    for n in 0..4 {
        register(&*pair[0], &format!("other{n}"), &lease(&format!("other{n}"))).await;
    }
    for round in 0..ROUNDS {
        let (key, epoch, _) = orphan(&*pair[0], round).await;
        let takeovers = (0..4).map(|n| {
            let (registry, key): (Arc<dyn Registry>, _) = (pair[n % 2].clone(), key.clone());
            let other = format!("other{n}");
            tokio::spawn(
                async move { registry.claim(&agent(&key, &other), &lease(&other), None).await.unwrap() },
            )
        });
        let outcomes: Vec<_> = join_all(takeovers).await.into_iter().map(Result::unwrap).collect();
        let won: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                ClaimOutcome::Claimed(won) => Some(*won),
                ClaimOutcome::Held(_) => None,
            })
            .collect();
        assert!(won.len() == 1 && won[0] > epoch, "{outcomes:?}");
        assert_eq!(pair[1].agent(&key).await.unwrap().unwrap().agent.epoch, won[0]);
    }
    assert_eq!(pair[1].agents_in_guild(&guild_id("g")).await.unwrap().len(), ROUNDS);
}
