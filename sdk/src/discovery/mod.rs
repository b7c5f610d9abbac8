//! Discovery: which hosts there are, told as they come and go.
//!
//! [`RegistryDiscovery`] follows the hosts' own heartbeats; [`StaticDiscovery`]
//! asks a fixed list of addresses; `KubernetesDiscovery` (feature `kubernetes`) asks the
//! pods behind a Service. A decision never waits for any: the engine follows the stream and
//! places on what it last heard.

mod ask;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod registry;
mod static_hosts;

use std::fmt;

use futures::stream::BoxStream;

#[cfg(feature = "kubernetes")]
pub use self::kubernetes::{Family, KubernetesDiscovery, KubernetesError};
pub use self::{
    registry::RegistryDiscovery,
    static_hosts::{InvalidEndpoint, StaticDiscovery},
};
use crate::host::HostEvent;

/// A source of hosts.
pub trait Discovery: Send + Sync + fmt::Debug + 'static {
    /// The fleet: a snapshot, then changes. Never ends by itself; while its source
    /// is away it waits, and begins again with a new snapshot where it must.
    fn watch(&self) -> BoxStream<'static, HostEvent>;
}
