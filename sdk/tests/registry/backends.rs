//! The backends that a test runs against.

use std::sync::{Arc, LazyLock};

use guildhall::registry::{MemoryRegistry, RedisOptions, RedisRegistry, Registry};
use guildhall_testing::RedisServer;

/// Two handles on one store, as two processes of a fleet have them.
pub(crate) type Pair = [Arc<dyn Registry>; 2];

/// Redis for all tests that do not break it; each has a key prefix of its own.
pub(crate) static SHARED: LazyLock<RedisServer> =
    LazyLock::new(|| RedisServer::start().unwrap_or_else(|error| panic!("{error}")));

pub(crate) fn memory() -> Pair {
    let registry = MemoryRegistry::new();
    [Arc::new(registry.clone()), Arc::new(registry)]
}

pub(crate) async fn redis() -> Pair {
    let options = fresh_options();
    [Arc::new(connect(&SHARED, &options).await), Arc::new(connect(&SHARED, &options).await)]
}

/// Options with a prefix that no other test has.
pub(crate) fn fresh_options() -> RedisOptions {
    RedisOptions { prefix: format!("test-{:016x}", rand::random::<u64>()), ..RedisOptions::default() }
}

pub(crate) async fn connect(server: &RedisServer, options: &RedisOptions) -> RedisRegistry {
    RedisRegistry::connect(&server.url(), options.clone()).await.expect("the test's Redis is there")
}

/// Makes each test of the list a test of memory, on a paused clock, and one of Redis.
macro_rules! both {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $test() {
                super::$test($crate::backends::memory()).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::backends::redis().await).await;
            })*
        }
    };
}

/// Like [`both`], on several threads, for tests that want calls to meet.
macro_rules! both_on_threads {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test($crate::backends::memory()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test($crate::backends::redis().await).await;
            })*
        }
    };
}

pub(crate) use both;
pub(crate) use both_on_threads;
