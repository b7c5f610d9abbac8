//! Streams of what is now, then of changes.

use std::time::Duration;

use futures::StreamExt;
use guildhall::{
    agent::{AgentEvent, AgentInfo, AgentState},
    host::{HostEvent, HostInfo, HostLoad},
    ids::Epoch,
};

use crate::{
    backends::{Pair, both},
    fixtures::{LONG, SHORT, agent, claim, guild_id, host, host_id, key, lease, next, register},
};

both!(
    a_guild_is_watched,
    a_fleet_is_watched,
    a_lease_that_ends_is_noticed,
    a_lease_kept_alive_in_silence_is_not_taken_for_ended,
    a_consumer_that_falls_behind_begins_again,
);

/// The id of a changed host, and how many agents it runs.
fn changed(event: HostEvent) -> (String, u32) {
    match event {
        HostEvent::Changed(host) => (host.info.id.to_string(), host.info.load.running),
        other => panic!("a host should have changed, but {other:?}"),
    }
}

async fn a_guild_is_watched([a, b]: Pair) {
    register(&*a, "h1", &lease("l1")).await;
    let old = claim(&*a, &key("g", "b"), "h1", &lease("l1")).await;
    let older = claim(&*a, &key("g", "a"), "h1", &lease("l1")).await;
    let mut watch = b.watch_guild(&guild_id("g"));
    let AgentEvent::Snapshot(now) = next(&mut watch).await else { panic!("a snapshot comes first") };
    let known: Vec<_> = now.iter().map(|agent| (agent.key.agent.as_str(), agent.epoch)).collect();
    assert_eq!(known, [("a", older), ("b", old)]);

    claim(&*a, &key("another guild", "c"), "h1", &lease("l1")).await;
    let epoch = claim(&*a, &key("g", "c"), "h1", &lease("l1")).await;
    let started = AgentInfo { epoch, ..agent(&key("g", "c"), "h1") };
    assert_eq!(next(&mut watch).await, AgentEvent::Changed(started.clone()));
    a.reassert(&key("g", "c"), epoch, &lease("l2")).await.unwrap();
    assert_eq!(next(&mut watch).await, AgentEvent::Changed(started.clone()));
    let running = AgentInfo { state: AgentState::Running, pid: Some(42), ..started };
    a.update(&running).await.unwrap();
    assert_eq!(next(&mut watch).await, AgentEvent::Changed(running));
    a.update(&AgentInfo { epoch: Epoch(7777), ..agent(&key("g", "c"), "h1") }).await.unwrap_err();
    a.release(&key("g", "c"), epoch).await.unwrap();
    assert_eq!(next(&mut watch).await, AgentEvent::Removed { key: key("g", "c"), epoch });
}

async fn a_fleet_is_watched([a, b]: Pair) {
    register(&*a, "h1", &lease("l1")).await;
    let mut watch = b.watch_hosts();
    let HostEvent::Snapshot(now) = next(&mut watch).await else { panic!("a snapshot comes first") };
    assert_eq!(now.len(), 1);
    assert_eq!((&now[0].info, &now[0].lease), (&host("h1"), &lease("l1")));

    register(&*a, "h2", &lease("l2")).await;
    assert_eq!(changed(next(&mut watch).await), ("h2".to_owned(), 0));
    a.renew(&host_id("h2"), &lease("l2"), LONG, 0, None).await.unwrap();
    let busy = HostInfo { load: HostLoad { running: 5, ..HostLoad::default() }, ..host("h2") };
    a.renew(&host_id("h2"), &lease("l2"), LONG, 0, Some(&busy)).await.unwrap();
    assert_eq!(changed(next(&mut watch).await), ("h2".to_owned(), 5));
    a.leave(&host_id("h1"), &lease("l2")).await.unwrap();
    a.leave(&host_id("h1"), &lease("l1")).await.unwrap();
    assert_eq!(next(&mut watch).await, HostEvent::Removed(host_id("h1")));
    register(&*a, "h1", &lease("l3")).await;
    assert_eq!(changed(next(&mut watch).await), ("h1".to_owned(), 0));
}

async fn a_lease_that_ends_is_noticed([a, b]: Pair) {
    register(&*a, "stays", &lease("l0")).await;
    a.register(&host("h1"), &lease("l1"), SHORT).await.unwrap();
    let mut watch = b.watch_hosts();
    assert!(matches!(next(&mut watch).await, HostEvent::Snapshot(hosts) if hosts.len() == 2));
    assert_eq!(next(&mut watch).await, HostEvent::Removed(host_id("h1")));
    assert_eq!(b.hosts().await.unwrap().len(), 1, "it was not removed before its time");
    // Also one that came later, and one that was renewed in silence.
    a.register(&host("h2"), &lease("l2"), SHORT).await.unwrap();
    assert_eq!(changed(next(&mut watch).await), ("h2".to_owned(), 0));
    a.renew(&host_id("h2"), &lease("l2"), SHORT, 0, None).await.unwrap();
    assert_eq!(next(&mut watch).await, HostEvent::Removed(host_id("h2")));
    assert_eq!(b.hosts().await.unwrap().len(), 1);
    register(&*a, "h2", &lease("l3")).await;
    assert_eq!(changed(next(&mut watch).await), ("h2".to_owned(), 0));
}

async fn a_lease_kept_alive_in_silence_is_not_taken_for_ended([a, b]: Pair) {
    a.register(&host("h1"), &lease("l1"), SHORT).await.unwrap();
    let mut watch = b.watch_hosts();
    assert!(matches!(next(&mut watch).await, HostEvent::Snapshot(_)));
    for _ in 0..15 {
        tokio::time::sleep(SHORT / 10).await;
        a.renew(&host_id("h1"), &lease("l1"), SHORT, 0, None).await.unwrap();
    }
    let quiet = tokio::time::timeout(Duration::from_millis(10), watch.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

async fn a_consumer_that_falls_behind_begins_again([a, b]: Pair) {
    let key = key("g", "a");
    register(&*a, "h1", &lease("l1")).await;
    let epoch = claim(&*a, &key, "h1", &lease("l1")).await;
    let mut watch = b.watch_guild(&guild_id("g"));
    assert!(matches!(next(&mut watch).await, AgentEvent::Snapshot(_)));
    const UPDATES: u32 = 2_000;
    for restarts in 1..=UPDATES {
        a.update(&AgentInfo { epoch, restarts, ..agent(&key, "h1") }).await.unwrap();
    }
    let (mut unread, mut newest) = (0, 0);
    loop {
        match next(&mut watch).await {
            AgentEvent::Changed(agent) => {
                assert!(agent.restarts > newest, "{} after {newest}", agent.restarts);
                newest = agent.restarts;
                unread += 1;
                assert!(unread <= 300, "what is unread is bounded");
            }
            AgentEvent::Snapshot(agents) => {
                assert_eq!(agents.len(), 1);
                break newest = agents[0].restarts;
            }
            other => panic!("nothing was removed, but {other:?}"),
        }
    }
    while newest < UPDATES {
        match next(&mut watch).await {
            AgentEvent::Changed(agent) => newest = agent.restarts,
            AgentEvent::Snapshot(agents) => newest = agents[0].restarts,
            other => panic!("nothing was removed, but {other:?}"),
        }
    }
}

/// Watches that begin while changes are under way.
mod under_way {
    use guildhall::agent::{AgentEvent, AgentInfo};

    use crate::{
        backends::{Pair, both_on_threads},
        fixtures::{agent, claim, guild_id, key, lease, next, register},
    };

    both_on_threads!(no_watch_goes_back_in_time);

    async fn no_watch_goes_back_in_time([a, b]: Pair) {
        const UPDATES: u32 = 1_500;
        let key = key("g", "a");
        register(&*a, "h1", &lease("l1")).await;
        let epoch = claim(&*a, &key, "h1", &lease("l1")).await;
        let writer = {
            let (a, key) = (a.clone(), key.clone());
            tokio::spawn(async move {
                for restarts in 1..=UPDATES {
                    a.update(&AgentInfo { epoch, restarts, ..agent(&key, "h1") }).await.unwrap();
                }
            })
        };
        let watchers = (0..12).map(|n| {
            let (a, b) = (a.clone(), b.clone());
            tokio::spawn(async move {
                // Each begins once the writer has come some way further.
                while a.agents_in_guild(&guild_id("g")).await.unwrap()[0].agent.restarts < n * 100 {
                    tokio::task::yield_now().await;
                }
                let mut watch = b.watch_guild(&guild_id("g"));
                let mut newest = 0;
                while newest < UPDATES {
                    let seen = match next(&mut watch).await {
                        AgentEvent::Changed(agent) => agent.restarts,
                        AgentEvent::Snapshot(agents) => agents[0].restarts,
                        other => panic!("nothing was removed, but {other:?}"),
                    };
                    assert!(seen >= newest, "{seen} after {newest}");
                    newest = seen;
                }
            })
        });
        let watchers: Vec<_> = watchers.collect();
        writer.await.unwrap();
        for watcher in watchers {
            watcher.await.unwrap();
        }
    }
}
