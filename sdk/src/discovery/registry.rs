//! Hosts by their own heartbeats in the registry.

use std::sync::Arc;

use futures::stream::BoxStream;

use super::Discovery;
use crate::{host::HostEvent, registry::Registry};

/// The hosts whose lease in the registry is in force.
#[derive(Clone, Debug)]
pub struct RegistryDiscovery {
    registry: Arc<dyn Registry>,
}

impl RegistryDiscovery {
    /// Follows the hosts of `registry`.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry }
    }
}

impl Discovery for RegistryDiscovery {
    fn watch(&self) -> BoxStream<'static, HostEvent> {
        self.registry.watch_hosts()
    }
}
