//! The host is the authority on its capacity.

use futures::future::join_all;
use guildhall_host::{runner::RestartPolicy, supervisor::CreateError};

use crate::setup::{key, setup_with};

#[tokio::test]
async fn a_full_host_says_so_and_a_stop_makes_room() {
    let setup = setup_with(|config, _| config.capacity = 3).await;
    let names: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    let results = join_all(names.iter().map(|name| setup.create(name, "{}"))).await;
    let (started, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((started.len(), refused.len()), (3, 17));
    for error in refused {
        assert!(matches!(error, Err(CreateError::CapacityExhausted { capacity: 3 })), "{error:?}");
    }
    let counts = setup.supervisor.counts();
    assert_eq!((counts.running, counts.starts_in_flight, counts.capacity), (3, 0, 3));
    assert_eq!(setup.processes().len(), 3);

    let one = started.into_iter().next().unwrap().unwrap();
    setup.supervisor.stop(&one.key, None).await.unwrap();
    setup.create("new", "{}").await.unwrap();
    setup.stop_all().await;
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_start_that_failed_takes_no_place() {
    let setup = setup_with(|config, _| config.capacity = 1).await;
    for _ in 0..3 {
        let error = setup.create("a", r#"{"on_start":"exit:1"}"#).await.unwrap_err();
        assert!(matches!(error, CreateError::StartFailed { .. }), "{error:?}");
    }
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn no_place_means_no_agent() {
    let setup = setup_with(|config, _| config.capacity = 0).await;
    let error = setup.create("a", "{}").await.unwrap_err();
    assert_eq!(error.to_string(), "the host is full: it takes 0 agents");
    setup.assert_nothing_left().await;
}

#[tokio::test]
async fn a_cordoned_host_restarts_but_does_not_start() {
    let setup = setup_with(|_, runner| runner.restart = RestartPolicy::Always).await;
    let agent = setup.create("a", "{}").await.unwrap();
    setup.supervisor.cordon();
    assert!(setup.supervisor.is_cordoned());
    assert!(matches!(setup.create("b", "{}").await, Err(CreateError::Draining)));
    setup.order(&agent, echo_runner::Order::Exit(0)).await;
    setup.until(&key("g", "a"), |again| again.epoch > agent.epoch && again.start_ms.is_some()).await;
    setup.supervisor.uncordon();
    setup.create("b", "{}").await.unwrap();
    setup.stop_all().await;
    setup.assert_nothing_left().await;
}
