//! The registries that a test runs against.

use std::sync::{Arc, LazyLock};

use guildhall::registry::{MemoryRegistry, RedisOptions, RedisRegistry, Registry};
use guildhall_testing::RedisServer;

/// Two handles on one store, as two processes of a fleet have them.
pub(crate) type Pair = [Arc<dyn Registry>; 2];

/// One Redis for all tests; each has a key prefix of its own.
static SHARED: LazyLock<RedisServer> = LazyLock::new(|| RedisServer::start().unwrap());

pub(crate) fn memory() -> Pair {
    let registry = MemoryRegistry::new();
    [Arc::new(registry.clone()), Arc::new(registry)]
}

pub(crate) async fn redis() -> Pair {
    let prefix = format!("test-{:016x}", rand::random::<u64>());
    let options = RedisOptions { prefix, ..RedisOptions::default() };
    let connect = async || RedisRegistry::connect(&SHARED.url(), options.clone()).await.unwrap();
    [Arc::new(connect().await), Arc::new(connect().await)]
}

/// Makes each test of the list one on memory and one on Redis.
macro_rules! both {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::backends::memory()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::backends::redis().await).await;
            })*
        }
    };
}
