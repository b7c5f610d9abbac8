//! Hosts and their leases.

use std::time::Duration;

use guildhall::{
    host::{HostInfo, HostLoad},
    registry::{Burial, Registration, RegistryError},
};

use crate::{
    backends::{Pair, both},
    fixtures::{LONG, SHORT, bury, eventually, host, host_id, lease, overdue, register},
};

both!(
    a_host_is_listed_from_registration_until_it_leaves,
    an_id_in_use_is_refused_until_its_lease_is_over,
    a_lease_ends_unless_it_is_renewed,
    an_overdue_lease_comes_back_when_it_is_renewed,
    a_lease_that_was_buried_does_not_come_back,
    only_an_overdue_lease_is_buried_and_only_in_time,
    an_earlier_lease_of_a_host_stays_overdue,
    views_are_told_when_they_change,
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
    a.renew(&host_id("h2"), &lease("l2"), LONG, 0, None).await.unwrap();
    assert_eq!(b.hosts().await.unwrap().len(), 2);
    eventually("h1 is gone", || async { b.hosts().await.unwrap().len() == 1 }).await;
    assert_eq!(b.hosts().await.unwrap()[0].info.id, host_id("h2"));
    register(&*b, "h1", &lease("l3")).await;
    assert_eq!(b.hosts().await.unwrap().len(), 2);
}

async fn an_overdue_lease_comes_back_when_it_is_renewed([a, b]: Pair) {
    a.register(&host("h1"), &lease("l1"), SHORT).await.unwrap();
    let seen = overdue(&*b, &lease("l1")).await;
    assert_eq!((&seen.host.id, seen.views.len()), (&host_id("h1"), 0));
    a.renew(&host_id("h1"), &lease("l1"), LONG, 0, None).await.unwrap();
    assert_eq!(b.hosts().await.unwrap()[0].lease, lease("l1"));
    assert_eq!(b.overdue().await.unwrap(), []);
    assert_eq!(b.bury(&seen, LONG).await.unwrap(), Burial::Missed);
}

async fn a_lease_that_was_buried_does_not_come_back([a, b]: Pair) {
    a.register(&host("h1"), &lease("l1"), SHORT).await.unwrap();
    bury(&*b, &lease("l1")).await;
    let late = a.renew(&host_id("h1"), &lease("l1"), LONG, 0, Some(&host("h1"))).await.unwrap_err();
    assert!(matches!(late, RegistryError::LeaseEnded { host } if host == host_id("h1")));
    let again = a.register(&host("h1"), &lease("l1"), LONG).await.unwrap_err();
    assert!(matches!(again, RegistryError::LeaseEnded { .. }), "{again}");
    assert_eq!(b.hosts().await.unwrap(), []);
    assert_eq!(b.overdue().await.unwrap(), []);
    register(&*a, "h1", &lease("l2")).await;
}

async fn only_an_overdue_lease_is_buried_and_only_in_time([a, b]: Pair) {
    a.register(&host("h1"), &lease("l1"), SHORT).await.unwrap();
    let first = overdue(&*b, &lease("l1")).await;
    // It was renewed and ended again: what was learned of its first end is void.
    a.renew(&host_id("h1"), &lease("l1"), SHORT, 0, None).await.unwrap();
    assert_eq!(b.bury(&first, LONG).await.unwrap(), Burial::Missed);
    eventually("it ends again", || async { b.hosts().await.unwrap().is_empty() }).await;
    assert_eq!(b.bury(&first, LONG).await.unwrap(), Burial::Missed);
    let second = overdue(&*b, &lease("l1")).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(b.bury(&second, Duration::from_millis(10)).await.unwrap(), Burial::Late);
    assert_eq!(b.bury(&second, LONG).await.unwrap(), Burial::Buried);
    assert_eq!(b.bury(&second, LONG).await.unwrap(), Burial::Missed);
}

async fn an_earlier_lease_of_a_host_stays_overdue([a, b]: Pair) {
    a.register(&host("h1"), &lease("l1"), SHORT).await.unwrap();
    let view = a.renew(&host_id("h1"), &lease("l1"), SHORT, 0, None).await.unwrap().view.unwrap();
    overdue(&*b, &lease("l1")).await;
    register(&*b, "h1", &lease("l2")).await;
    let seen = overdue(&*b, &lease("l1")).await;
    assert_eq!(seen.views, [view]);
    let late = a.renew(&host_id("h1"), &lease("l1"), LONG, 0, None).await.unwrap_err();
    assert!(matches!(late, RegistryError::LeaseEnded { .. }), "{late}");
    assert_eq!(a.bury(&seen, LONG).await.unwrap(), Burial::Buried);
    assert_eq!(b.hosts().await.unwrap()[0].lease, lease("l2"), "the later one is not touched");
    assert_eq!(b.overdue().await.unwrap(), []);
}

async fn views_are_told_when_they_change([a, b]: Pair) {
    let leases = |view: &guildhall::registry::View| -> Vec<String> {
        view.members.iter().map(|member| member.lease.as_str().to_owned()).collect()
    };
    register(&*a, "h1", &lease("l1")).await;
    let first = a.renew(&host_id("h1"), &lease("l1"), LONG, 0, None).await.unwrap().view.unwrap();
    assert_eq!(leases(&first), ["l1"]);
    assert_eq!(first.members[0].endpoint, host("h1").endpoint);
    let same = a.renew(&host_id("h1"), &lease("l1"), LONG, first.number, None).await.unwrap();
    assert_eq!(same.view, None);
    b.register(&host("h2"), &lease("l2"), SHORT).await.unwrap();
    let second = a.renew(&host_id("h1"), &lease("l1"), SHORT, first.number, None).await.unwrap();
    let second = second.view.unwrap();
    assert!(second.number > first.number);
    assert_eq!(leases(&second), ["l1", "l2"]);
    // Its holder may go by either, as long as it has not said which.
    let seen = overdue(&*b, &lease("l1")).await;
    assert_eq!(seen.views, [first, second.clone()]);
    // Who is overdue is a member, who is buried is not.
    bury(&*b, &lease("l2")).await;
    let third = a.renew(&host_id("h1"), &lease("l1"), LONG, second.number, None).await.unwrap().view.unwrap();
    assert_eq!(leases(&third), ["l1"]);
}

async fn a_renewal_carries_a_report_or_keeps_the_last_one([a, b]: Pair) {
    register(&*a, "h1", &lease("l1")).await;
    let busy = HostInfo {
        load: HostLoad { running: 7, memory_used: u64::MAX, ..HostLoad::default() },
        draining: true,
        ..host("h1")
    };
    tokio::time::sleep(Duration::from_millis(30)).await;
    a.renew(&host_id("h1"), &lease("l1"), LONG, 0, None).await.unwrap();
    let before = b.hosts().await.unwrap().remove(0);
    assert_eq!(before.info, host("h1"));
    assert!(before.heartbeat_age >= Duration::from_millis(29), "{:?}", before.heartbeat_age);
    a.renew(&host_id("h1"), &lease("l1"), LONG, 0, Some(&busy)).await.unwrap();
    let after = b.hosts().await.unwrap().remove(0);
    assert_eq!(after.info, busy);
    assert_eq!(after.lease, lease("l1"));
}

async fn only_the_lease_in_force_may_be_renewed_or_left([a, b]: Pair) {
    let unknown = a.renew(&host_id("h1"), &lease("l1"), LONG, 0, None).await.unwrap_err();
    assert!(matches!(unknown, RegistryError::LeaseEnded { .. }), "{unknown}");
    register(&*a, "h1", &lease("l2")).await;
    let stale = b.renew(&host_id("h1"), &lease("l1"), LONG, 0, Some(&host("h1"))).await.unwrap_err();
    assert!(matches!(stale, RegistryError::LeaseEnded { .. }), "{stale}");
    b.leave(&host_id("h1"), &lease("l1")).await.unwrap();
    a.renew(&host_id("h1"), &lease("l2"), LONG, 0, None).await.unwrap();
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
