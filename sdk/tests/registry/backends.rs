//! The backends that a test runs against.

use std::sync::{Arc, LazyLock};

use guildhall::registry::{MemoryRegistry, RedisOptions, RedisRegistry, RedisTls, Registry};
use guildhall_testing::{Certificates, RedisCluster, RedisSentinel, RedisServer, RedisTlsServer};

/// Two handles on one store, as two processes of a fleet have them.
pub(crate) type Pair = [Arc<dyn Registry>; 2];

/// Redis for all tests that do not break it; each has a key prefix of its own.
pub(crate) static SHARED: LazyLock<RedisServer> =
    LazyLock::new(|| RedisServer::start().unwrap_or_else(|error| panic!("{error}")));

/// The same with Sentinels, as a Cluster, and with TLS that wants a certificate of its
/// clients.
static SENTINEL: LazyLock<RedisSentinel> =
    LazyLock::new(|| RedisSentinel::start().unwrap_or_else(|error| panic!("{error}")));
static CLUSTER: LazyLock<RedisCluster> =
    LazyLock::new(|| RedisCluster::start().unwrap_or_else(|error| panic!("{error}")));
static TLS: LazyLock<(RedisTlsServer, Certificates)> = LazyLock::new(|| {
    let certificates = Certificates::within(SHARED.folder()).unwrap();
    let certificate = certificates.sign(&["localhost"]).unwrap();
    let server = RedisTlsServer::start(&certificate, Some(&certificates.ca()));
    (server.unwrap_or_else(|error| panic!("{error}")), certificates)
});

pub(crate) fn memory() -> Pair {
    let registry = MemoryRegistry::new();
    [Arc::new(registry.clone()), Arc::new(registry)]
}

pub(crate) async fn redis() -> Pair {
    let options = fresh_options();
    [Arc::new(connect(&SHARED, &options).await), Arc::new(connect(&SHARED, &options).await)]
}

pub(crate) async fn sentinel() -> Pair {
    pair(&SENTINEL.url(), fresh_options()).await
}

pub(crate) async fn cluster() -> Pair {
    pair(&CLUSTER.url(), fresh_options()).await
}

pub(crate) async fn tls() -> Pair {
    let (server, certificates) = &*TLS;
    let client = certificates.sign(&["a client"]).unwrap();
    let tls = RedisTls {
        ca: Some(certificates.ca()),
        certificate: Some(client.certificate),
        key: Some(client.key),
    };
    pair(&server.url(), RedisOptions { tls, ..fresh_options() }).await
}

async fn pair(url: &str, options: RedisOptions) -> Pair {
    let connect = async || Arc::new(RedisRegistry::connect(url, options.clone()).await.unwrap());
    [connect().await, connect().await]
}

/// Options with a prefix that no other test has.
pub(crate) fn fresh_options() -> RedisOptions {
    RedisOptions { prefix: format!("test-{:016x}", rand::random::<u64>()), ..RedisOptions::default() }
}

pub(crate) async fn connect(server: &RedisServer, options: &RedisOptions) -> RedisRegistry {
    RedisRegistry::connect(&server.url(), options.clone()).await.expect("the test's Redis is there")
}

/// Makes each test of the list a test of memory, on a paused clock, and one of each form
/// of Redis.
macro_rules! both {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $test() {
                super::$test($crate::backends::memory()).await;
            })*
        }
        $crate::backends::each_form! { tokio::test, $($test),* }
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
        $crate::backends::each_form! {
            tokio::test(flavor = "multi_thread", worker_threads = 4), $($test),*
        }
    };
}

/// Makes each test of the list one of each form that Redis can have.
macro_rules! each_form {
    ($attribute:meta, $($test:ident),*) => {
        $crate::backends::one_form! { redis, $attribute, $($test),* }
        $crate::backends::one_form! { sentinel, $attribute, $($test),* }
        $crate::backends::one_form! { cluster, $attribute, $($test),* }
        $crate::backends::one_form! { tls, $attribute, $($test),* }
    };
}

macro_rules! one_form {
    ($form:ident, $attribute:meta, $($test:ident),*) => {
        mod $form {
            $(#[$attribute]
            async fn $test() {
                super::$test($crate::backends::$form().await).await;
            })*
        }
    };
}

pub(crate) use both;
pub(crate) use both_on_threads;
pub(crate) use each_form;
pub(crate) use one_form;
