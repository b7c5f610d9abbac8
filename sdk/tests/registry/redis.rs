//! What only Redis can do: be away, hang, lose its data, hold what nobody can read.

use std::{future::Future, sync::Arc, time::Duration};

use futures::StreamExt;
use guildhall::{
    agent::AgentEvent,
    host::HostEvent,
    registry::{RedisOptions, RedisRegistry, Registration, Registry, RegistryError},
};
use guildhall_testing::RedisServer;
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::time::{Instant, timeout};

use crate::{
    backends::{SHARED, connect, fresh_options},
    fixtures::{LONG, agent, claim, eventually, guild_id, host, host_id, key, lease, next, register},
};

/// A client of its own, to look at Redis and to break things.
async fn raw(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn run(server: &RedisServer, command: &[&str]) {
    redis::cmd(command[0]).arg(&command[1..]).exec_async(&mut raw(server).await).await.unwrap();
}

#[track_caller]
fn assert_unreachable<T: std::fmt::Debug>(outcome: Result<T, RegistryError>) {
    assert!(
        matches!(outcome, Err(RegistryError::Unavailable { .. } | RegistryError::Timeout { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn connecting_gives_up_after_a_bound() {
    let mut server = RedisServer::start().unwrap();
    server.stop();
    let options = RedisOptions { connect_within: Duration::from_millis(700), ..fresh_options() };
    let begun = Instant::now();
    let error = RedisRegistry::connect(&server.url(), options).await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_millis(700), "it tries again until then");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let message = error.to_string();
    assert!(message.contains(&server.url()) && message.contains("refused"), "{message}");
}

#[tokio::test]
async fn connecting_waits_for_redis_to_come() {
    let mut server = RedisServer::start().unwrap();
    server.stop();
    let url = server.url();
    let connecting = tokio::spawn(async move { RedisRegistry::connect(&url, fresh_options()).await });
    // An attempt is seen to fail before Redis is there.
    let in_its_place = tokio::net::TcpListener::bind(("127.0.0.1", server.port())).await.unwrap();
    drop(in_its_place.accept().await.unwrap());
    drop(in_its_place);
    server.restart().unwrap();
    assert_eq!(connecting.await.unwrap().unwrap().ticket("t").await.unwrap(), 0);
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once_and_never_shown() {
    let server = RedisServer::start_with(&["--requirepass", "open sesame"]).unwrap();
    for (login, accepted) in [(":open%20sesame@", true), (":hunter2@", false), ("", false)] {
        let url = server.url().replace("redis://", &format!("redis://{login}"));
        let begun = Instant::now();
        let outcome = RedisRegistry::connect(&url, fresh_options()).await;
        assert!(begun.elapsed() < Duration::from_secs(15), "no use in trying again");
        let said = format!("{outcome:?} {}", outcome.as_ref().err().map_or(String::new(), |e| e.to_string()));
        assert!(!said.contains("hunter2") && !said.contains("sesame"), "{said}");
        assert_eq!(outcome.is_ok(), accepted, "{said}");
    }
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    for (options, wanted) in [
        (RedisOptions { prefix: "a{b".to_owned(), ..RedisOptions::default() }, "prefix"),
        (RedisOptions { prefix: String::new(), ..RedisOptions::default() }, "prefix"),
        (RedisOptions { call_timeout: Duration::ZERO, ..RedisOptions::default() }, "call_timeout"),
        (
            RedisOptions { check_leases_every: Duration::ZERO, ..RedisOptions::default() },
            "check_leases_every",
        ),
    ] {
        match RedisRegistry::connect(&SHARED.url(), options).await {
            Err(RegistryError::Options { option, .. }) => assert_eq!(option, wanted),
            other => panic!("{wanted} should be refused, but {other:?}"),
        }
    }
}

#[tokio::test]
async fn calls_fail_clearly_while_redis_is_away_and_work_when_it_is_back() {
    let mut server = RedisServer::start().unwrap();
    let registry = connect(&server, &fresh_options()).await;
    register(&registry, "h1", &lease("l1")).await;
    server.stop();
    let begun = Instant::now();
    for _ in 0..3 {
        assert_unreachable(registry.hosts().await);
        assert_unreachable(registry.renew(&host_id("h1"), &lease("l1"), LONG, 0, None).await);
        assert_unreachable(registry.claim(&agent(&key("g", "a"), "h1"), &lease("l1"), None).await);
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "no call waits for its timeout");
    server.restart().unwrap();
    // The very first call afterwards works, however many failed before.
    let ended = registry.renew(&host_id("h1"), &lease("l1"), LONG, 0, None).await;
    assert!(matches!(ended, Err(RegistryError::LeaseEnded { .. })), "its data is gone: {ended:?}");
    register(&registry, "h1", &lease("l2")).await;
}

#[tokio::test]
async fn a_connection_that_broke_between_two_calls_costs_no_call() {
    let server = RedisServer::start().unwrap();
    let registry = connect(&server, &fresh_options()).await;
    for wanted in 0..5 {
        assert_eq!(registry.ticket("t").await.unwrap(), wanted);
        run(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    }
}

#[tokio::test]
async fn a_redis_that_hangs_costs_one_timeout_a_call() {
    let server = RedisServer::start().unwrap();
    let options = RedisOptions { call_timeout: Duration::from_millis(300), ..fresh_options() };
    let registry = connect(&server, &options).await;
    server.pause().unwrap();
    let begun = Instant::now();
    match registry.hosts().await {
        Err(RegistryError::Timeout { address, waited }) => {
            assert_eq!((address, waited), (server.url(), options.call_timeout));
        }
        other => panic!("it should time out, but {other:?}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    let fresh = RedisOptions { connect_within: Duration::from_millis(500), ..options };
    assert_unreachable(RedisRegistry::connect(&server.url(), fresh).await);
    server.resume().unwrap();
    eventually("it answers again", || async { registry.hosts().await.is_ok() }).await;
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_sent_again() {
    let server = RedisServer::start().unwrap();
    let registry = connect(&server, &fresh_options()).await;
    register(&registry, "h1", &lease("l1")).await;
    run(&server, &["SCRIPT", "FLUSH"]).await;
    registry.renew(&host_id("h1"), &lease("l1"), LONG, 0, Some(&host("h1"))).await.unwrap();
}

#[tokio::test]
async fn watches_begin_again_after_redis_was_away() {
    let mut server = RedisServer::start().unwrap();
    let registry = connect(&server, &fresh_options()).await;
    register(&registry, "h1", &lease("l1")).await;
    claim(&registry, &key("g", "a"), "h1", &lease("l1")).await;
    let (mut hosts, mut agents) = (registry.watch_hosts(), registry.watch_guild(&guild_id("g")));
    assert!(matches!(next(&mut hosts).await, HostEvent::Snapshot(hosts) if hosts.len() == 1));
    assert!(matches!(next(&mut agents).await, AgentEvent::Snapshot(agents) if agents.len() == 1));

    server.stop();
    server.restart().unwrap();
    assert_eq!(next(&mut hosts).await, HostEvent::Snapshot(vec![]), "its data is gone");
    assert_eq!(next(&mut agents).await, AgentEvent::Snapshot(vec![]));
    register(&registry, "h2", &lease("l2")).await;
    claim(&registry, &key("g", "b"), "h2", &lease("l2")).await;
    assert!(matches!(next(&mut hosts).await, HostEvent::Changed(host) if host.info.id == host_id("h2")));
    assert!(matches!(next(&mut agents).await, AgentEvent::Changed(agent) if agent.key == key("g", "b")));
}

/// Whoever comes first after a loss: no epoch is given out again, and no agent whose
/// record was lost is taken for one that was released.
#[tokio::test]
async fn epochs_from_before_a_loss_are_told_from_those_after_it() {
    let server = RedisServer::start().unwrap();
    let registry = connect(&server, &fresh_options()).await;
    let mut keys = ["a", "b", "c", "d"].map(|id| key("g", id));
    for _ in 0..2 {
        let mut before = Vec::new();
        for key in &keys {
            before.push((key.clone(), claim(&registry, key, "h1", &lease("l1")).await));
        }
        let newest = before.last().unwrap().1;
        run(&server, &["FLUSHALL"]).await;
        let new = key("g", "new");
        let given = claim(&registry, &new, "h1", &lease("l1")).await;
        assert!(given > newest, "{given} follows {newest}");
        for (key, old) in &before {
            let lost = registry.reassert(key, *old, &lease("l2")).await;
            assert!(matches!(lost, Err(RegistryError::Forgotten { .. })), "{key}: {lost:?}");
            assert!(claim(&registry, key, "h1", &lease("l2")).await > newest);
        }
        registry.release(&new, given).await.unwrap();
        let released = registry.reassert(&new, given, &lease("l2")).await;
        assert!(matches!(released, Err(RegistryError::Fenced { current: None, .. })), "{released:?}");
        run(&server, &["FLUSHALL"]).await;
        keys.reverse();
    }
}

#[tokio::test]
async fn a_watch_of_hosts_notices_what_nobody_told() {
    let server = RedisServer::start().unwrap();
    let options = RedisOptions { check_leases_every: Duration::from_millis(50), ..fresh_options() };
    let registry = connect(&server, &options).await;
    register(&registry, "h1", &lease("l1")).await;
    let mut hosts = registry.watch_hosts();
    assert!(matches!(next(&mut hosts).await, HostEvent::Snapshot(hosts) if hosts.len() == 1));
    run(&server, &["FLUSHALL"]).await;
    assert_eq!(next(&mut hosts).await, HostEvent::Snapshot(vec![]));
}

#[tokio::test]
async fn a_stream_that_is_dropped_leaves_nothing_behind() {
    let server = RedisServer::start().unwrap();
    let registry = connect(&server, &fresh_options()).await;
    let mut connection = raw(&server).await;
    let listening = async |connection: &mut MultiplexedConnection| -> RedisResult<usize> {
        let list: String =
            redis::cmd("CLIENT").arg("LIST").arg("TYPE").arg("pubsub").query_async(connection).await?;
        Ok(list.lines().count())
    };
    let _never_polled = registry.watch_hosts();
    let (mut hosts, mut agents) = (registry.watch_hosts(), registry.watch_guild(&guild_id("g")));
    next(&mut hosts).await;
    next(&mut agents).await;
    assert_eq!(listening(&mut connection).await.unwrap(), 2);
    drop(hosts);
    drop(agents);
    let begun = Instant::now();
    while listening(&mut connection).await.unwrap() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "its connections are closed");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let options = fresh_options();
    let registry = connect(&SHARED, &options).await;
    let mut redis = raw(&SHARED).await;
    let key = key("g", "a");
    let agents = format!("{}:{{g:g}}:agents", options.prefix);
    for entry in [
        "",
        "nonsense",
        "1 l 1 call",
        "1 l 1 call {}",
        "one l 1 call {}",
        "1 l 1 call {\"guild\":\"g\"",
        r#"1 l 1 call {"guild":"g","agent":"*"}"#,
    ] {
        redis::cmd("HSET").arg(&agents).arg("a").arg(entry).exec_async(&mut redis).await.unwrap();
        for outcome in
            [registry.agent(&key).await.map(drop), registry.agents_in_guild(&guild_id("g")).await.map(drop)]
        {
            match outcome {
                Err(RegistryError::Corrupt { place, .. }) => assert_eq!(place, format!("{agents}[a]")),
                other => panic!("{entry:?} should be corrupt, but {other:?}"),
            }
        }
        let claim = registry.claim(&agent(&key, "h1"), &lease("l1"), None).await;
        assert!(matches!(claim, Err(RegistryError::Corrupt { .. })), "{entry:?}: {claim:?}");
    }
    redis::cmd("DEL").arg(&agents).exec_async(&mut redis).await.unwrap();
    redis::cmd("SET").arg(&agents).arg("text").exec_async(&mut redis).await.unwrap();
    match registry.agent(&key).await {
        Err(RegistryError::Corrupt { place, .. }) => assert_eq!(place, agents),
        other => panic!("it should be of the wrong type, but {other:?}"),
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_read_is_named_and_hides_no_other_from_a_watch() {
    let options = fresh_options();
    let registry = connect(&SHARED, &options).await;
    register(&registry, "bad", &lease("l1")).await;
    register(&registry, "good", &lease("l2")).await;
    let records = format!("{}:{{hosts}}:records", options.prefix);
    run(&SHARED, &["HSET", &records, "bad", "l1 soon {}"]).await;
    match registry.hosts().await {
        Err(RegistryError::Corrupt { place, .. }) => assert_eq!(place, format!("{records}[bad]")),
        other => panic!("it should be corrupt, but {other:?}"),
    }
    let mut watch = registry.watch_hosts();
    assert!(matches!(next(&mut watch).await, HostEvent::Snapshot(hosts) if hosts.len() == 1));
    registry.renew(&host_id("bad"), &lease("l1"), LONG, 0, Some(&host("bad"))).await.unwrap();
    assert!(matches!(next(&mut watch).await, HostEvent::Changed(host) if host.info.id == host_id("bad")));
    assert_eq!(registry.hosts().await.unwrap().len(), 2);
}

#[tokio::test]
async fn leases_that_were_buried_long_ago_are_forgotten_a_few_at_a_time() {
    let options = fresh_options();
    let registry = connect(&SHARED, &options).await;
    let buried = format!("{}:{{hosts}}:buried", options.prefix);
    let mut redis = raw(&SHARED).await;
    for n in 0..6 {
        redis::cmd("ZADD").arg(&buried).arg(1_000_000).arg(n).exec_async(&mut redis).await.unwrap();
    }
    register(&registry, "h1", &lease("l1")).await;
    for (report, left) in [(None, 6), (Some(host("h1")), 2), (Some(host("h1")), 0)] {
        registry.renew(&host_id("h1"), &lease("l1"), LONG, 0, report.as_ref()).await.unwrap();
        let size: usize = redis::cmd("ZCARD").arg(&buried).query_async(&mut redis).await.unwrap();
        assert_eq!(size, left);
    }
}

#[tokio::test]
async fn fleets_with_prefixes_of_their_own_share_one_redis() {
    let [one, two] = [connect(&SHARED, &fresh_options()).await, connect(&SHARED, &fresh_options()).await];
    register(&one, "h1", &lease("l1")).await;
    let answer = two.register(&host("h1"), &lease("l2"), LONG).await.unwrap();
    assert_eq!(answer, Registration::Registered);
    let mut watch = two.watch_guild(&guild_id("g"));
    next(&mut watch).await;
    claim(&one, &key("g", "a"), "h1", &lease("l1")).await;
    assert_eq!(two.agents_in_guild(&guild_id("g")).await.unwrap(), []);
    let epoch = claim(&two, &key("g", "a"), "h1", &lease("l2")).await;
    assert!(matches!(next(&mut watch).await, AgentEvent::Changed(agent) if agent.epoch == epoch));
}

/// Every call goes through while many are under way and the connection breaks again and
/// again; what is claimed is claimed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_are_made_once_over_a_connection_that_keeps_breaking() {
    let server = RedisServer::start().unwrap();
    let registry = Arc::new(connect(&server, &fresh_options()).await);
    register(&*registry, "h1", &lease("l1")).await;
    let breaking = {
        let mut redis = raw(&server).await;
        async move {
            loop {
                let kill = ["KILL", "TYPE", "normal", "SKIPME", "yes"];
                redis::cmd("CLIENT").arg(&kill).exec_async(&mut redis).await.unwrap();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }
    };
    let claiming = (0..8).map(|worker| {
        let registry = registry.clone();
        tokio::spawn(async move {
            let (mut made, mut unanswered) = (0, 0);
            for n in 0..200 {
                let key = key("g", &format!("a{worker}-{n}"));
                match registry.claim(&agent(&key, "h1"), &lease("l1"), None).await {
                    Ok(guildhall::registry::ClaimOutcome::Claimed(_)) => made += 1,
                    Ok(held) => panic!("nobody else claims it, but {held:?}"),
                    Err(RegistryError::Unavailable { .. }) => unanswered += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            (made, unanswered)
        })
    });
    let claiming = futures::future::join_all(claiming);
    let totals = until(claiming, breaking).await;
    let (made, unanswered) =
        totals.into_iter().map(Result::unwrap).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{made} claims made, {unanswered} failed for want of an answer");
    eventually("Redis answers", || async { registry.hosts().await.is_ok() }).await;
    let recorded = registry.agents_in_guild(&guild_id("g")).await.unwrap();
    assert!(made > 0 && recorded.len() >= made && recorded.len() <= made + unanswered);
    let next_epoch = claim(&*registry, &key("g", "last"), "h1", &lease("l1")).await;
    let first = recorded.iter().map(|claimed| claimed.agent.epoch.0).min().unwrap();
    assert_eq!(next_epoch.0, first + recorded.len() as u64, "no claim was made twice");
}

/// Does `work` while `nuisance` goes on.
async fn until<T>(work: impl Future<Output = T>, nuisance: impl Future<Output = ()>) -> T {
    tokio::select! {
        done = work => done,
        () = nuisance => unreachable!("a nuisance never stops"),
    }
}

#[tokio::test]
async fn a_watch_outlives_the_registry_it_came_from() {
    let registry = connect(&SHARED, &fresh_options()).await;
    let same = registry.clone();
    let mut watch = registry.watch_hosts();
    drop(registry);
    assert_eq!(next(&mut watch).await, HostEvent::Snapshot(vec![]));
    register(&same, "h1", &lease("l1")).await;
    assert!(matches!(next(&mut watch).await, HostEvent::Changed(_)));
    assert!(timeout(Duration::from_millis(50), watch.next()).await.is_err());
}
