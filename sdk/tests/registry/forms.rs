//! What the forms of Redis do in trouble: a master that dies or hangs, certificates that
//! do not fit, a Redis that is not set up to keep anything.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt;
use guildhall::{
    agent::AgentEvent,
    host::HostEvent,
    ids::Epoch,
    registry::{ClaimOutcome, Durability, RedisOptions, RedisRegistry, RedisTls, Registry, RegistryError},
};
use guildhall_testing::{
    Certificate, Certificates, RedisCluster, RedisSentinel, RedisServer, RedisTlsServer,
};
use tokio::time::{sleep, timeout};

use crate::{
    backends::{SHARED, fresh_options},
    fixtures::{agent, eventually, guild_id, host, host_id, key, lease, next, register},
};

/// Longer than a failover takes.
const PATIENCE: Duration = Duration::from_secs(40);

/// For so long after a failover no new agent is claimed.
const LEASE: Duration = Duration::from_secs(2);

fn impatient() -> RedisOptions {
    RedisOptions { call_timeout: Duration::from_secs(2), ..fresh_options() }
}

/// Claims agents one after the other until it is told to stop; those that were answered.
async fn claim_without_end(
    registry: Arc<dyn Registry>,
    worker: usize,
    answered: tokio::sync::mpsc::UnboundedSender<(String, Epoch)>,
) {
    for number in 0.. {
        let id = format!("{worker}-{number}");
        match registry.claim(&agent(&key("g", &id), "h"), &lease("l"), None).await {
            Ok(ClaimOutcome::Claimed(epoch)) => {
                if answered.send((id, epoch)).is_err() {
                    return;
                }
            }
            Ok(held) => panic!("nobody else claims {id}, but {held:?}"),
            // It may have been carried out, so it is not asked for again.
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Kills the master while there are claims, lets it come back, and looks at what is left.
async fn nothing_that_was_answered_is_lost(registry: RedisRegistry, kill_master: impl AsyncFnOnce()) {
    let registry = Arc::new(registry);
    registry.register(&host("h"), &lease("l"), LEASE).await.unwrap();
    let renewing = tokio::spawn({
        let registry = registry.clone();
        async move {
            loop {
                // What fails is renewed the next time, as by a host.
                let _ = registry.renew(&host_id("h"), &lease("l"), LEASE, 0, None).await;
                sleep(LEASE / 5).await;
            }
        }
    });
    let (mut hosts, mut agents) = (registry.watch_hosts(), registry.watch_guild(&guild_id("g")));
    assert!(matches!(next(&mut hosts).await, HostEvent::Snapshot(hosts) if hosts.len() == 1));
    assert!(matches!(next(&mut agents).await, AgentEvent::Snapshot(agents) if agents.is_empty()));
    let (sender, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let workers: Vec<_> = (0..4)
        .map(|worker| tokio::spawn(claim_without_end(registry.clone(), worker, sender.clone())))
        .collect();
    drop(sender);
    let mut claimed = HashMap::new();
    let collect = async |claimed: &mut HashMap<_, _>,
                         answered: &mut tokio::sync::mpsc::UnboundedReceiver<_>,
                         count: usize| {
        let until = claimed.len() + count;
        while claimed.len() < until {
            let (id, epoch): (String, Epoch) = answered.recv().await.expect("the workers go on");
            claimed.insert(id, epoch);
        }
    };
    collect(&mut claimed, &mut answered, 200).await;
    kill_master().await;
    // What was answered until now came before or after; these come after it for sure.
    while let Ok((id, epoch)) = answered.try_recv() {
        claimed.insert(id, epoch);
    }
    timeout(PATIENCE, collect(&mut claimed, &mut answered, 200)).await.expect("calls find the new master");
    drop(answered);
    for worker in workers {
        timeout(PATIENCE, worker).await.expect("they end").unwrap();
    }

    let kept = registry.agents_in_guild(&guild_id("g")).await.unwrap();
    let kept: HashMap<_, _> =
        kept.into_iter().map(|kept| (kept.agent.key.agent.to_string(), kept.agent.epoch)).collect();
    let lost: Vec<_> = claimed.iter().filter(|(id, epoch)| kept.get(*id) != Some(epoch)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), claimed.len());

    // The watchers begin again with all there is, and are told what comes after it.
    let seen = async {
        loop {
            if let Some(AgentEvent::Snapshot(agents)) = agents.next().await
                && agents.len() > 200
            {
                return;
            }
        }
    };
    timeout(PATIENCE, seen).await.expect("the watcher of the guild has a snapshot");
    let last = key("g", "the-last");
    eventually("a claim is answered", async || {
        registry.claim(&agent(&last, "h"), &lease("l"), None).await.is_ok()
    })
    .await;
    let told = async {
        loop {
            match agents.next().await {
                Some(AgentEvent::Changed(agent)) if agent.key == last => return,
                // It may have had to begin again once more.
                Some(AgentEvent::Snapshot(agents)) if agents.iter().any(|agent| agent.key == last) => return,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, told).await.expect("the watcher of the guild is told");
    eventually("a host can register", async || {
        let length = Duration::from_secs(60);
        registry.register(&host("new"), &lease("new"), length).await.is_ok()
    })
    .await;
    let told = async {
        loop {
            match hosts.next().await {
                Some(HostEvent::Changed(host)) if host.info.id == host_id("new") => return,
                Some(HostEvent::Snapshot(hosts))
                    if hosts.iter().any(|host| host.info.id == host_id("new")) =>
                {
                    return;
                }
                _ => {}
            }
        }
    };
    timeout(PATIENCE, told).await.expect("the watcher of hosts is told");
    renewing.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_with_sentinels_is_killed_under_load() {
    let mut redis = RedisSentinel::start().unwrap();
    let registry = RedisRegistry::connect(&redis.url(), impatient()).await.unwrap();
    let master = redis.master().unwrap();
    nothing_that_was_answered_is_lost(registry, async || redis.servers_mut()[master].kill()).await;
    assert_ne!(redis.master().unwrap(), master);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_in_a_cluster_is_killed_under_load() {
    let mut redis = RedisCluster::start().unwrap();
    let options = impatient();
    let slot = format!("{}:{{g:g}}:agents", options.prefix);
    let registry = RedisRegistry::connect(&redis.url(), options).await.unwrap();
    let master = redis.master_of(&slot).unwrap();
    let replica = redis.replica_of(master).unwrap();
    nothing_that_was_answered_is_lost(registry, async || {
        redis.nodes_mut()[master].kill();
        eventually("the replica takes over", async || redis.master_of(&slot).is_ok_and(|now| now == replica))
            .await;
        // Its new master has no other replica, so until then no claim counts.
        redis.nodes_mut()[master].restart().unwrap();
    })
    .await;
    assert_eq!(redis.master_of(&slot).unwrap(), replica);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_replaced_while_it_hung_is_not_used() {
    let redis = RedisSentinel::start().unwrap();
    let registry = RedisRegistry::connect(&redis.url(), impatient()).await.unwrap();
    let mut drawn = Vec::new();
    for _ in 0..10 {
        drawn.push(registry.ticket("t").await.unwrap());
    }
    eventually("the replicas have it", async || {
        let agent = agent(&key("g", "a"), "h");
        registry.claim(&agent, &lease("l"), None).await.is_ok()
    })
    .await;
    let mut agents = registry.watch_guild(&guild_id("g"));
    assert!(matches!(next(&mut agents).await, AgentEvent::Snapshot(agents) if agents.len() == 1));
    let old = redis.master().unwrap();
    redis.servers()[old].pause().unwrap();
    assert!(registry.ticket("t").await.is_err(), "it is only just gone");
    redis.wait_for_other_master(old).unwrap();
    // The connection of the watcher holds, and would for ever.
    assert!(matches!(next(&mut agents).await, AgentEvent::Snapshot(agents) if agents.len() == 1));
    // It takes itself for the master until a Sentinel tells it.
    redis.servers()[old].resume().unwrap();
    for _ in 0..200 {
        drawn.extend(registry.ticket("t").await.ok());
    }
    assert!(drawn.len() > 100, "{drawn:?}");
    assert!(drawn.is_sorted_by(|a, b| a < b), "a number was given out twice: {drawn:?}");
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_told_without_a_password() {
    let redis = RedisSentinel::start().unwrap();
    let options = || RedisOptions { connect_within: Duration::from_secs(2), ..impatient() };
    let login = |url: String| url.replace("://", "://user:hunter2@");
    let unknown = redis.url().replace("/guildhall", "/another");
    let not_sentinels = SHARED.url().replace("redis://", "redis-sentinel://") + "/guildhall";
    let not_a_cluster = SHARED.url().replace("redis://", "redis-cluster://");
    for (url, part) in [
        (login(redis.url()), "authentication failed"),
        (login(unknown), "know no master of this name"),
        (not_sentinels, "unknown command"),
        (login(not_a_cluster.clone()), "authentication failed"),
        (not_a_cluster, "cluster support disabled"),
    ] {
        let error = RedisRegistry::connect(&url, options()).await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// A server, how a client comes to it, and what that hears; nothing when it gets in.
struct Meeting<'a> {
    what: &'static str,
    server: &'a RedisTlsServer,
    host: &'static str,
    ca: Option<PathBuf>,
    client: Option<&'a Certificate>,
    hears: &'static str,
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_told_as_such() {
    let (ours, other) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let names = ["localhost"];
    let open = RedisTlsServer::start(&ours.sign(&names).unwrap(), None).unwrap();
    let expired = RedisTlsServer::start(&ours.sign_expired(&names).unwrap(), None).unwrap();
    let closed = RedisTlsServer::start(&ours.sign(&names).unwrap(), Some(&ours.ca())).unwrap();
    let client = ours.sign(&["client"]).unwrap();
    let stranger = other.sign(&["client"]).unwrap();
    let late = ours.sign_expired(&["client"]).unwrap();
    let usual =
        Meeting { what: "", server: &open, host: "localhost", ca: Some(ours.ca()), client: None, hears: "" };
    for Meeting { what, server, host, ca, client, hears } in [
        Meeting { what: "all fits", ..usual },
        Meeting { what: "not asked for", client: Some(&stranger), ca: Some(ours.ca()), ..usual },
        Meeting { what: "another CA", ca: Some(other.ca()), hears: "see the CA file", ..usual },
        Meeting { what: "the system's CAs", ca: None, hears: "see the CA file", ..usual },
        Meeting {
            what: "another name",
            host: "127.0.0.1",
            ca: Some(ours.ca()),
            hears: "for another name",
            ..usual
        },
        Meeting { what: "expired", server: &expired, ca: Some(ours.ca()), hears: "has expired", ..usual },
        Meeting { what: "both", server: &closed, client: Some(&client), ca: Some(ours.ca()), ..usual },
        Meeting {
            what: "no client's",
            server: &closed,
            ca: Some(ours.ca()),
            hears: "set certificate and key",
            ..usual
        },
        Meeting {
            what: "a stranger's",
            server: &closed,
            client: Some(&stranger),
            ca: Some(ours.ca()),
            hears: "does not trust who signed",
            ..usual
        },
        Meeting {
            what: "a client's that expired",
            server: &closed,
            client: Some(&late),
            ca: Some(ours.ca()),
            hears: "this client has expired",
            ..usual
        },
    ] {
        let tls = RedisTls {
            ca,
            certificate: client.map(|client| client.certificate.clone()),
            key: client.map(|client| client.key.clone()),
        };
        let begun = std::time::Instant::now();
        let url = server.url().replace("localhost", host);
        let outcome = RedisRegistry::connect(&url, RedisOptions { tls, ..fresh_options() }).await;
        match outcome {
            Ok(_) => assert!(hears.is_empty(), "{what}: it should not get in"),
            Err(error) => {
                assert!(!hears.is_empty() && error.to_string().contains(hears), "{what}: {error}");
                assert!(begun.elapsed() < Duration::from_secs(15), "{what}: no use in trying again");
            }
        }
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_refused_before_connecting() {
    let certificates = Certificates::new().unwrap();
    let Certificate { certificate, key } = certificates.sign(&["client"]).unwrap();
    let some = |path: &PathBuf| Some(path.clone());
    let gone = Some(PathBuf::from("/no/such/file.pem"));
    for (scheme, tls, wanted, part) in [
        ("rediss", RedisTls { ca: gone, ..RedisTls::default() }, "tls.ca", "/no/such/file.pem"),
        ("rediss", RedisTls { ca: some(&key), ..RedisTls::default() }, "tls.ca", "holds no certificate"),
        ("rediss", RedisTls { key: some(&key), ..RedisTls::default() }, "tls.certificate", "needs"),
        ("rediss", RedisTls { certificate: some(&key), ..RedisTls::default() }, "tls.key", "needs"),
        ("redis", RedisTls { ca: some(&certificate), ..RedisTls::default() }, "tls", "not encrypted"),
        (
            "rediss",
            RedisTls { ca: None, certificate: some(&certificate), key: some(&certificate) },
            "tls.key",
            "holds no private key",
        ),
    ] {
        let url = format!("{scheme}://localhost");
        match RedisRegistry::connect(&url, RedisOptions { tls, ..fresh_options() }).await {
            Err(RegistryError::Options { option, reason }) => {
                assert!(option == wanted && reason.contains(part), "{wanted}: {option} {reason}");
            }
            other => panic!("{wanted} should be refused, but {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_redis_that_would_lose_records_is_found_out() {
    let guest = "--user guest on nopass ~* &* +@all -config".split(' ').collect::<Vec<_>>();
    for (arguments, login, wanted) in [
        (vec![], "", Some(Durability::Nothing)),
        (vec!["--save", "60", "1"], "", Some(Durability::Snapshots)),
        (vec!["--appendonly", "yes"], "", Some(Durability::Log)),
        ([vec!["--appendonly", "yes"], guest.clone()].concat(), "guest:x@", Some(Durability::Log)),
        (guest, "guest:x@", Some(Durability::Snapshots)),
        (vec!["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], "", None),
        (vec!["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"], "", Some(Durability::Nothing)),
        (vec!["--maxmemory-policy", "allkeys-lru"], "", Some(Durability::Nothing)),
    ] {
        let server = RedisServer::start_with(&arguments).unwrap();
        let url = server.url().replace("://", &format!("://{login}"));
        let registry = RedisRegistry::connect(&url, fresh_options()).await.unwrap();
        match (registry.check_durability().await, wanted) {
            (Ok(found), Some(wanted)) => assert_eq!(found, wanted, "{arguments:?}"),
            (Err(RegistryError::WouldEvict { policy, .. }), None) => assert_eq!(policy, "allkeys-lru"),
            (found, _) => panic!("{arguments:?}: {found:?}"),
        }
    }
}

/// The user that the documentation gives Guildhall.
fn documented_user() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/redis.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```\nuser guildhall ").expect("the page has a user");
    let (user, _) = rest.split_once("```").unwrap();
    let words = user.replace("PASSWORD", "hunter2").replace('\\', "");
    ["--user", "guildhall"].into_iter().chain(words.split_whitespace()).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_documented_user_may_do_what_is_needed() {
    let server = RedisServer::start_with(&documented_user()).unwrap();
    let url = server.url().replace("://", "://guildhall:hunter2@");
    let options = RedisOptions::default();
    let replica = ["--replicaof", "127.0.0.1", &server.port().to_string()];
    let _replica = RedisServer::start_with(&replica).unwrap();
    let registry =
        RedisRegistry::connect(&url, RedisOptions { replicas: Some(1), ..options.clone() }).await.unwrap();
    assert_eq!(registry.check_durability().await.unwrap(), Durability::Nothing);
    let (mut hosts, mut agents) = (registry.watch_hosts(), registry.watch_guild(&guild_id("g")));
    next(&mut hosts).await;
    next(&mut agents).await;
    eventually("the replica follows", async || {
        let agent = agent(&key("g", "first"), "h");
        registry.claim(&agent, &lease("l"), None).await.is_ok()
    })
    .await;
    register(&registry, "h", &lease("l")).await;
    let report = host("h");
    registry.renew(&host_id("h"), &lease("l"), Duration::from_secs(10), 0, Some(&report)).await.unwrap();
    registry.overdue().await.unwrap();
    registry.orphans().await.unwrap();
    let epoch = crate::fixtures::claim(&registry, &key("g", "a"), "h", &lease("l")).await;
    let claimed = registry.agent(&key("g", "a")).await.unwrap().unwrap();
    registry.update(&claimed.agent).await.unwrap();
    registry.reassert(&key("g", "a"), epoch, &lease("l")).await.unwrap();
    registry.release(&key("g", "a"), epoch).await.unwrap();
    assert_eq!(registry.hosts().await.unwrap().len(), 1);
    assert_eq!(registry.agents_in_guild(&guild_id("g")).await.unwrap().len(), 1);
    registry.tickets("t", 3).await.unwrap();
    registry.publish_policy(Some(&guildhall::placement::BuiltIn::RoundRobin.into())).await.unwrap();
    registry.published_policy().await.unwrap().unwrap();
    registry.publish_policy(None).await.unwrap();
    registry.leave(&host_id("h"), &lease("l")).await.unwrap();
    let elsewhere =
        RedisOptions { prefix: "another".to_owned(), connect_within: Duration::from_secs(1), ..options };
    let stranger = RedisRegistry::connect(&url, elsewhere).await.unwrap();
    let refused = stranger.tickets("t", 1).await.unwrap_err().to_string();
    assert!(refused.contains("NOPERM") || refused.contains("permission"), "{refused}");
}
