//! Hosts and their leases.

use std::time::Duration;

use guildhall::{
    host::{HostInfo, HostLoad},
    registry::{Registration, RegistryError},
};

use crate::{
    backends::{Pair, both},
    fixtures::{LONG, SHORT, eventually, host, host_id, lease, register},
};

both!(
    a_host_is_listed_from_registration_until_it_leaves,
    an_id_in_use_is_refused_until_its_lease_is_over,
    a_lease_ends_unless_it_is_renewed,
    a_lease_that_ended_does_not_come_back,
    a_renewal_carries_a_report_or_keeps_the_last_one,
    only_the_lease_in_force_may_be_renewed_or_left,
    hosts_are_sorted,
    lengths_at_the_edges_are_taken,
);

async fn a_host_is_listed_from_registration_until_it_leaves([a, b]: Pair) {
    assert_eq!(b.hosts().await.unwrap(), []);
    register(&*a, "h1", &lease("l1")).await;
    let listed = b.hosts().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].info, &listed[0].lease), (&host("h1"), &lease("l1")));
    assert!(listed[0].heartbeat_age < LONG);
    a.leave(&host_id("h1"), &lease("l1")).await.unwrap();
    assert_eq!(b.hosts().await.unwrap(), []);
    a.leave(&host_id("h1"), &lease("l1")).await.unwrap();
}

async fn an_id_in_use_is_refused_until_its_lease_is_over([a, b]: Pair) {
    register(&*a, "h1", &lease("l1")).await;
    match b.register(&host("h1"), &lease("l2"), LONG).await.unwrap() {
        Registration::InUse { remaining } => {
            assert!(remaining <= LONG + Duration::from_millis(1), "{remaining:?}");
            assert!(remaining > LONG - Duration::from_secs(60), "{remaining:?}");
        }
        Registration::Registered => panic!("two processes hold one host id"),
    }
    assert_eq!(a.hosts().await.unwrap()[0].lease, lease("l1"));
    register(&*a, "h1", &lease("l1")).await;
    a.leave(&host_id("h1"), &lease("l1")).await.unwrap();
    register(&*b, "h1", &lease("l2")).await;
    assert_eq!(a.hosts().await.unwrap()[0].lease, lease("l2"));
}

async fn a_lease_ends_unless_it_is_renewed([a, b]: Pair) {
    a.register(&host("h1"), &lease("l1"), SHORT).await.unwrap();
    a.register(&host("h2"), &lease("l2"), SHORT).await.unwrap();
    a.renew(&host_id("h2"), &lease("l2"), LONG, None).await.unwrap();
    assert_eq!(b.hosts().await.unwrap().len(), 2);
    eventually("h1 is gone", || async { b.hosts().await.unwrap().len() == 1 }).await;
    assert_eq!(b.hosts().await.unwrap()[0].info.id, host_id("h2"));
    let late = a.renew(&host_id("h1"), &lease("l1"), LONG, Some(&host("h1"))).await.unwrap_err();
    assert!(matches!(late, RegistryError::LeaseEnded { host } if host == host_id("h1")));
    register(&*b, "h1", &lease("l3")).await;
    assert_eq!(b.hosts().await.unwrap().len(), 2);
}

async fn a_lease_that_ended_does_not_come_back([a, b]: Pair) {
    a.register(&host("h1"), &lease("l1"), SHORT).await.unwrap();
    eventually("h1 is gone", || async { b.hosts().await.unwrap().is_empty() }).await;
    let again = a.register(&host("h1"), &lease("l1"), LONG).await.unwrap_err();
    assert!(matches!(again, RegistryError::LeaseEnded { .. }), "{again}");
    assert_eq!(b.hosts().await.unwrap(), []);
    register(&*a, "h1", &lease("l2")).await;
}

async fn a_renewal_carries_a_report_or_keeps_the_last_one([a, b]: Pair) {
    register(&*a, "h1", &lease("l1")).await;
    let busy = HostInfo {
        load: HostLoad { running: 7, memory_used: u64::MAX, ..HostLoad::default() },
        draining: true,
        ..host("h1")
    };
    tokio::time::sleep(Duration::from_millis(30)).await;
    a.renew(&host_id("h1"), &lease("l1"), LONG, None).await.unwrap();
    let before = b.hosts().await.unwrap().remove(0);
    assert_eq!(before.info, host("h1"));
    assert!(before.heartbeat_age >= Duration::from_millis(29), "{:?}", before.heartbeat_age);
    a.renew(&host_id("h1"), &lease("l1"), LONG, Some(&busy)).await.unwrap();
    let after = b.hosts().await.unwrap().remove(0);
    assert_eq!(after.info, busy);
    assert_eq!(after.lease, lease("l1"));
}

async fn only_the_lease_in_force_may_be_renewed_or_left([a, b]: Pair) {
    let unknown = a.renew(&host_id("h1"), &lease("l1"), LONG, None).await.unwrap_err();
    assert!(matches!(unknown, RegistryError::LeaseEnded { .. }), "{unknown}");
    register(&*a, "h1", &lease("l2")).await;
    let stale = b.renew(&host_id("h1"), &lease("l1"), LONG, Some(&host("h1"))).await.unwrap_err();
    assert!(matches!(stale, RegistryError::LeaseEnded { .. }), "{stale}");
    b.leave(&host_id("h1"), &lease("l1")).await.unwrap();
    a.renew(&host_id("h1"), &lease("l2"), LONG, None).await.unwrap();
}

async fn hosts_are_sorted([a, b]: Pair) {
    for id in ["b", "a", "c", "B", "ä", "a-2", "a-10"] {
        register(&*a, id, &lease(id)).await;
    }
    let ids: Vec<_> = b.hosts().await.unwrap().into_iter().map(|host| host.info.id.to_string()).collect();
    assert_eq!(ids, ["B", "a", "a-10", "a-2", "b", "c", "ä"]);
}

async fn lengths_at_the_edges_are_taken([a, b]: Pair) {
    a.register(&host("for-ever"), &lease("l1"), Duration::MAX).await.unwrap();
    a.register(&host("at-once"), &lease("l2"), Duration::ZERO).await.unwrap();
    eventually("only one is left", || async { b.hosts().await.unwrap().len() == 1 }).await;
    assert_eq!(b.hosts().await.unwrap()[0].info.id, host_id("for-ever"));
}
