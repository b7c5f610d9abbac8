//! Who may run an agent, and under which epoch.

use guildhall::{
    agent::{AgentInfo, AgentState, LastExit},
    ids::{AgentKey, Epoch},
    registry::{ClaimOutcome, Claimed, Registry, RegistryError},
};

use crate::{
    backends::{Pair, both},
    fixtures::{
        SHORT, agent, bury, claim, guild_id, held, host, host_id, key, launch, lease, overdue, register,
    },
};

both!(
    a_free_identity_is_claimed_and_read_back,
    a_held_identity_is_refused_and_its_holder_named,
    an_ended_record_and_a_released_identity_are_free,
    epochs_of_an_agent_grow_for_ever,
    an_epoch_is_above_the_one_that_the_host_held_last,
    an_agent_that_was_released_is_told_from_one_that_was_lost,
    a_restart_replaces_the_current_incarnation_only,
    a_claim_ends_when_its_lease_is_buried,
    a_launch_is_kept_as_long_as_its_agent,
    an_orphan_is_adopted_once_and_nothing_else_is,
    an_agent_that_was_handed_over_is_an_orphan,
    a_claim_ends_with_its_very_lease_even_if_the_host_is_back,
    a_claim_under_an_ended_lease_protects_nothing,
    a_claim_is_reasserted_under_a_new_lease,
    writes_of_a_stale_incarnation_are_refused,
    the_same_agent_id_in_two_guilds_is_two_agents,
    a_guild_is_listed_sorted,
);

#[track_caller]
fn assert_fenced<T: std::fmt::Debug>(outcome: Result<T, RegistryError>, wrote: Epoch, now: Option<Epoch>) {
    match outcome {
        Err(RegistryError::Fenced { epoch, current, .. }) => assert_eq!((epoch, current), (wrote, now)),
        other => panic!("it should be fenced, but {other:?}"),
    }
}

#[track_caller]
fn assert_forgotten<T: std::fmt::Debug>(outcome: Result<T, RegistryError>, wrote: Epoch) {
    match outcome {
        Err(RegistryError::Forgotten { epoch, .. }) => assert_eq!(epoch, wrote),
        other => panic!("it should be forgotten, but {other:?}"),
    }
}

async fn read(registry: &dyn Registry, key: &AgentKey) -> Claimed {
    registry.agent(key).await.unwrap().unwrap_or_else(|| panic!("{key} should be recorded"))
}

async fn a_free_identity_is_claimed_and_read_back([a, b]: Pair) {
    let key = key("g", "a");
    assert_eq!(b.agent(&key).await.unwrap(), None);
    register(&*a, "h1", &lease("l1")).await;
    let wanted = AgentInfo { epoch: Epoch(99), ..agent(&key, "h1") };
    let outcome = a.claim(&wanted, &lease("l1"), None).await.unwrap();
    let ClaimOutcome::Claimed(epoch) = outcome else { panic!("it is free, but {outcome:?}") };
    assert!(epoch > wanted.epoch);
    let stored = AgentInfo { epoch, ..wanted };
    assert_eq!(read(&*b, &key).await, Claimed { agent: stored, lease: lease("l1") });
}

async fn a_held_identity_is_refused_and_its_holder_named([a, b]: Pair) {
    let key = key("g", "a");
    register(&*a, "h1", &lease("l1")).await;
    register(&*b, "h2", &lease("l2")).await;
    let epoch = claim(&*a, &key, "h1", &lease("l1")).await;
    let holder = held(b.claim(&agent(&key, "h2"), &lease("l2"), None).await.unwrap());
    assert_eq!((holder.host, holder.epoch), (host_id("h1"), epoch));
    let holder = held(a.claim(&agent(&key, "h1"), &lease("l1"), None).await.unwrap());
    assert_eq!(holder.request_id, agent(&key, "h1").request_id, "a retry can tell its own claim");
    assert_eq!(read(&*b, &key).await.lease, lease("l1"));
}

async fn an_ended_record_and_a_released_identity_are_free([a, b]: Pair) {
    let key = key("g", "a");
    register(&*a, "h1", &lease("l1")).await;
    let first = claim(&*a, &key, "h1", &lease("l1")).await;
    for state in [AgentState::Running, AgentState::Restarting, AgentState::Stopping] {
        a.update(&AgentInfo { state, epoch: first, ..agent(&key, "h1") }).await.unwrap();
        held(b.claim(&agent(&key, "h1"), &lease("l1"), None).await.unwrap());
    }
    a.update(&AgentInfo { state: AgentState::Failed, epoch: first, ..agent(&key, "h1") }).await.unwrap();
    let second = claim(&*b, &key, "h1", &lease("l1")).await;
    b.release(&key, second).await.unwrap();
    assert_eq!(a.agent(&key).await.unwrap(), None);
    b.release(&key, second).await.unwrap();
    claim(&*a, &key, "h1", &lease("l1")).await;
}

async fn epochs_of_an_agent_grow_for_ever([a, b]: Pair) {
    let (key, other) = (key("g", "a"), key("g", "b"));
    register(&*a, "h1", &lease("l1")).await;
    let mut last = Epoch(0);
    for round in 0..20 {
        let registry = [&a, &b][round % 2];
        let epoch = claim(&**registry, &key, "h1", &lease("l1")).await;
        assert!(epoch > last, "{epoch} follows {last}");
        last = epoch;
        let elsewhere = claim(&**registry, &other, "h1", &lease("l1")).await;
        registry.release(&other, elsewhere).await.unwrap();
        registry.release(&key, epoch).await.unwrap();
    }
}

async fn an_epoch_is_above_the_one_that_the_host_held_last([a, b]: Pair) {
    let claim_after = async |id: &str, held: Epoch| {
        let wanted = AgentInfo { epoch: held, ..agent(&key("g", id), "h1") };
        match a.claim(&wanted, &lease("l1"), None).await.unwrap() {
            ClaimOutcome::Claimed(epoch) => epoch,
            held => panic!("it is free, but {held:?}"),
        }
    };
    register(&*a, "h1", &lease("l1")).await;
    let first = claim(&*b, &key("g", "a"), "h1", &lease("l1")).await;
    // Higher than any clock says: of a registry that lost its data.
    let held = Epoch(4_000_000_000_000_000);
    assert_eq!(claim_after("b", held).await, Epoch(held.0 + 1));
    assert_eq!(claim_after("c", first).await, Epoch(held.0 + 2));
    assert_eq!(claim(&*b, &key("g", "d"), "h1", &lease("l1")).await, Epoch(held.0 + 3));
}

async fn an_agent_that_was_released_is_told_from_one_that_was_lost([a, b]: Pair) {
    let (known, key) = (key("g", "known"), key("g", "a"));
    let writes = async |epoch: Epoch| {
        let agent = AgentInfo { epoch, ..agent(&key, "h1") };
        [
            a.update(&agent).await,
            a.reassert(&key, epoch, &lease("l1")).await,
            a.claim(&agent, &lease("l1"), Some(epoch)).await.map(drop),
        ]
    };
    register(&*a, "h1", &lease("l1")).await;
    let below = claim(&*b, &known, "h1", &lease("l1")).await;
    let released = claim(&*b, &key, "h1", &lease("l1")).await;
    b.release(&key, released).await.unwrap();
    writes(released).await.into_iter().for_each(|outcome| assert_fenced(outcome, released, None));
    // Never given out here.
    for lost in [Epoch(below.0 - 1), Epoch(released.0 + 1), Epoch(u64::MAX)] {
        writes(lost).await.into_iter().for_each(|outcome| assert_forgotten(outcome, lost));
        a.release(&key, lost).await.unwrap();
    }
}

async fn a_restart_replaces_the_current_incarnation_only([a, b]: Pair) {
    let key = key("g", "a");
    let again = |epoch| {
        let (a, key) = (a.clone(), key.clone());
        async move { a.claim(&agent(&key, "h1"), &lease("l1"), Some(epoch)).await }
    };
    assert_forgotten(again(Epoch(1)).await, Epoch(1));
    register(&*a, "h1", &lease("l1")).await;
    let first = claim(&*a, &key, "h1", &lease("l1")).await;
    let ClaimOutcome::Claimed(second) = again(first).await.unwrap() else { panic!("its own restart") };
    assert!(second > first);
    assert_eq!(held(again(first).await.unwrap()).epoch, second);
    assert_eq!(held(again(Epoch(7777)).await.unwrap()).epoch, second);
    assert_eq!(read(&*b, &key).await.agent.epoch, second);
    b.release(&key, second).await.unwrap();
    assert_fenced(again(second).await, second, None);
}

async fn a_claim_ends_when_its_lease_is_buried([a, b]: Pair) {
    let key = key("g", "a");
    a.register(&host("h1"), &lease("l1"), SHORT).await.unwrap();
    register(&*b, "h2", &lease("l2")).await;
    let first = claim(&*a, &key, "h1", &lease("l1")).await;
    held(b.claim(&agent(&key, "h2"), &lease("l2"), None).await.unwrap());
    overdue(&*b, &lease("l1")).await;
    held(b.claim(&agent(&key, "h2"), &lease("l2"), None).await.unwrap());
    bury(&*b, &lease("l1")).await;
    let second = claim(&*b, &key, "h2", &lease("l2")).await;
    assert!(second > first);
    assert_eq!(read(&*a, &key).await.lease, lease("l2"));
    assert_fenced(a.update(&AgentInfo { epoch: first, ..agent(&key, "h1") }).await, first, Some(second));
    assert_fenced(a.reassert(&key, first, &lease("l3")).await, first, Some(second));
}

async fn a_claim_ends_with_its_very_lease_even_if_the_host_is_back([a, b]: Pair) {
    let key = key("g", "a");
    register(&*a, "h1", &lease("l1")).await;
    let first = claim(&*a, &key, "h1", &lease("l1")).await;
    a.leave(&host_id("h1"), &lease("l1")).await.unwrap();
    register(&*a, "h1", &lease("l2")).await;
    register(&*b, "h2", &lease("l3")).await;
    assert!(claim(&*b, &key, "h2", &lease("l3")).await > first);
}

async fn a_claim_under_an_ended_lease_protects_nothing([a, b]: Pair) {
    let key = key("g", "a");
    let first = claim(&*a, &key, "h1", &lease("never-registered")).await;
    register(&*b, "h2", &lease("l2")).await;
    assert!(claim(&*b, &key, "h2", &lease("l2")).await > first);
}

async fn a_claim_is_reasserted_under_a_new_lease([a, b]: Pair) {
    let key = key("g", "a");
    register(&*a, "h1", &lease("l1")).await;
    register(&*b, "h2", &lease("l9")).await;
    let epoch = claim(&*a, &key, "h1", &lease("l1")).await;
    let running = AgentInfo { state: AgentState::Running, epoch, pid: Some(7), ..agent(&key, "h1") };
    a.update(&running).await.unwrap();
    a.leave(&host_id("h1"), &lease("l1")).await.unwrap();
    register(&*a, "h1", &lease("l2")).await;
    a.reassert(&key, epoch, &lease("l2")).await.unwrap();
    assert_eq!(read(&*b, &key).await, Claimed { agent: running, lease: lease("l2") });
    held(b.claim(&agent(&key, "h2"), &lease("l9"), None).await.unwrap());
    assert_fenced(a.reassert(&key, Epoch(7777), &lease("l2")).await, Epoch(7777), Some(epoch));
}

async fn writes_of_a_stale_incarnation_are_refused([a, b]: Pair) {
    let key = key("g", "a");
    let at = |epoch| AgentInfo { epoch, ..agent(&key, "h1") };
    assert_forgotten(a.update(&at(Epoch(1))).await, Epoch(1));
    assert_forgotten(a.reassert(&key, Epoch(1), &lease("l1")).await, Epoch(1));
    register(&*a, "h1", &lease("l1")).await;
    let stale = claim(&*a, &key, "h1", &lease("l1")).await;
    let outcome = b.claim(&at(stale), &lease("l1"), Some(stale)).await.unwrap();
    let ClaimOutcome::Claimed(current) = outcome else { panic!("the restart holds the epoch") };
    assert_fenced(a.update(&at(stale)).await, stale, Some(current));
    assert_fenced(a.release(&key, stale).await, stale, Some(current));
    assert_fenced(a.reassert(&key, stale, &lease("l2")).await, stale, Some(current));
    let exit = LastExit { signal: Some(9), stderr: "é\u{0} \n\"".to_owned(), ..LastExit::default() };
    let last = AgentInfo { state: AgentState::Failed, last_exit: Some(exit), restarts: 3, ..at(current) };
    b.update(&last).await.unwrap();
    assert_eq!(read(&*a, &key).await, Claimed { agent: last, lease: lease("l1") });
    b.release(&key, current).await.unwrap();
    assert_fenced(a.update(&at(stale)).await, stale, None);
}

async fn the_same_agent_id_in_two_guilds_is_two_agents([a, b]: Pair) {
    register(&*a, "h1", &lease("l1")).await;
    register(&*b, "h2", &lease("l2")).await;
    let (one, two) = (key("g1", "initiator"), key("g2", "initiator"));
    let first = claim(&*a, &one, "h1", &lease("l1")).await;
    claim(&*b, &two, "h2", &lease("l2")).await;
    a.release(&one, first).await.unwrap();
    assert_eq!(a.agents_in_guild(&guild_id("g1")).await.unwrap(), []);
    let listed = a.agents_in_guild(&guild_id("g2")).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].agent.key, two);
    assert_eq!(listed[0].agent.host, host_id("h2"));
}

async fn a_guild_is_listed_sorted([a, b]: Pair) {
    register(&*a, "h1", &lease("l1")).await;
    for id in ["b", "a", "agent 10", "agent 2", "Z", "é:1/2"] {
        claim(&*a, &key("g", id), "h1", &lease("l1")).await;
    }
    let listed = b.agents_in_guild(&guild_id("g")).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|claimed| claimed.agent.key.agent.as_str()).collect();
    assert_eq!(ids, ["Z", "a", "agent 10", "agent 2", "b", "é:1/2"]);
    assert!(listed.iter().all(|claimed| claimed.lease == lease("l1")));
}

async fn accept(registry: &dyn Registry, key: &AgentKey, guild_spec: &str) -> Epoch {
    match registry.accept(&agent(key, "h1"), &lease("l1"), &launch(key, guild_spec)).await.unwrap() {
        ClaimOutcome::Claimed(epoch) => epoch,
        held => panic!("{key} should be free, but {held:?}"),
    }
}

async fn a_launch_is_kept_as_long_as_its_agent([a, b]: Pair) {
    let [one, two] = [key("g", "a"), key("g", "b")];
    register(&*a, "h1", &lease("l1")).await;
    let kept = async |key: &AgentKey, epoch| {
        b.launch(key, epoch).await.unwrap().map(|launch| launch.guild_spec.as_str().to_owned())
    };
    assert_eq!(kept(&one, Epoch(1)).await, None);
    let first = accept(&*a, &one, r#"{"id": "g", "n": 1}"#).await;
    let second = accept(&*b, &two, r#"{"id": "g", "n": 1}"#).await;
    assert_eq!(kept(&one, first).await.unwrap(), r#"{"id": "g", "n": 1}"#);
    assert_eq!(kept(&one, second).await, None, "of another epoch");
    let found = b.launch(&two, second).await.unwrap().unwrap();
    assert_eq!((&found.key, found.class_name.as_str()), (&two, "test.Echo"));
    held(b.accept(&agent(&one, "h2"), &lease("l2"), &launch(&one, "{}")).await.unwrap());
    assert_eq!(kept(&one, first).await.unwrap(), r#"{"id": "g", "n": 1}"#);
    // It outlives a restart, and not the agent.
    let again = a.claim(&agent(&one, "h1"), &lease("l1"), Some(first)).await.unwrap();
    let ClaimOutcome::Claimed(again) = again else { panic!("its own restart") };
    assert!(kept(&one, again).await.is_some());
    a.release(&one, again).await.unwrap();
    a.release(&two, second).await.unwrap();
    let bare = claim(&*a, &one, "h1", &lease("l1")).await;
    assert_eq!(kept(&one, bare).await, None);
    // The guild's spec went with the last of them, and is needed anew.
    let third = accept(&*a, &two, r#"{"id": "g", "n": 1}"#).await;
    assert_eq!(kept(&two, third).await.unwrap(), r#"{"id": "g", "n": 1}"#);
}

async fn an_orphan_is_adopted_once_and_nothing_else_is([a, b]: Pair) {
    let [lost, kept] = [key("g", "lost"), key("other", "kept")];
    a.register(&host("h1"), &lease("l1"), SHORT).await.unwrap();
    register(&*b, "h2", &lease("l2")).await;
    let first = accept(&*a, &lost, "{}").await;
    claim(&*b, &kept, "h2", &lease("l2")).await;
    let adopt = async |epoch| b.adopt(&agent(&lost, "h2"), &lease("l2"), epoch).await;
    overdue(&*b, &lease("l1")).await;
    assert_eq!(b.orphans().await.unwrap(), []);
    held(adopt(first).await.unwrap());
    bury(&*b, &lease("l1")).await;
    let orphans = b.orphans().await.unwrap();
    assert_eq!(orphans.len(), 1);
    assert_eq!((&orphans[0].agent.key, orphans[0].agent.epoch), (&lost, first));
    held(adopt(Epoch(first.0 + 7)).await.unwrap());
    let ClaimOutcome::Claimed(second) = adopt(first).await.unwrap() else { panic!("it is an orphan") };
    assert!(second > first);
    held(adopt(first).await.unwrap());
    held(adopt(second).await.unwrap());
    assert_eq!(b.orphans().await.unwrap(), []);
    assert!(b.launch(&lost, second).await.unwrap().is_some());
    // One that was stopped does not come back.
    b.release(&lost, second).await.unwrap();
    assert_fenced(adopt(second).await, second, None);
}

async fn an_agent_that_was_handed_over_is_an_orphan([a, b]: Pair) {
    let key = key("g", "a");
    register(&*a, "h1", &lease("l1")).await;
    register(&*b, "h2", &lease("l2")).await;
    let first = accept(&*a, &key, "{}").await;
    let waiting = AgentInfo { state: AgentState::Waiting, epoch: first, ..agent(&key, "h1") };
    assert_fenced(
        a.hand_over(&AgentInfo { epoch: Epoch(7777), ..waiting.clone() }).await,
        Epoch(7777),
        Some(first),
    );
    a.hand_over(&waiting).await.unwrap();
    assert_eq!(b.orphans().await.unwrap().len(), 1);
    let adopted = b.adopt(&agent(&key, "h2"), &lease("l2"), first).await.unwrap();
    assert!(matches!(adopted, ClaimOutcome::Claimed(epoch) if epoch > first));
    assert_fenced(a.update(&waiting).await, first, Some(Epoch(first.0 + 1)));
    assert_eq!(read(&*a, &key).await.lease, lease("l2"));
}
