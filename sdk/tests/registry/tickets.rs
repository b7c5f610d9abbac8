//! The counters that all users of a registry share.

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::backends::{Pair, both_on_threads};

both_on_threads!(tickets_are_unique_and_without_gaps);

async fn tickets_are_unique_and_without_gaps(pair: Pair) {
    let draws = (0..400).map(|n| {
        let registry = pair[n % 2].clone();
        tokio::spawn(async move { registry.ticket("round-robin").await.unwrap() })
    });
    let drawn: BTreeSet<_> = join_all(draws).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(drawn, (0..400).collect());
    assert_eq!(pair[0].ticket("another").await.unwrap(), 0);
}
