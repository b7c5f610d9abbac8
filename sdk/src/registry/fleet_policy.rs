//! The policy that the registry names for the whole fleet, as a source of policies.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Registry, RegistryError};
use crate::placement::{BuiltIn, LoadError, PolicyArtifact, PolicySource};

/// The policy that was [published](Registry::publish_policy) for the whole fleet, or
/// `round-robin` as long as none is. Looked at every five seconds, which is one short
/// command: 20 hosts and 20 engines ask 8 times a second.
#[derive(Clone, Debug)]
pub struct FleetPolicy {
    registry: Arc<dyn Registry>,
    look_every: Duration,
}

impl FleetPolicy {
    /// The policy that `registry` names.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, look_every: Duration::from_secs(5) }
    }

    /// The same, with another time between two looks.
    #[must_use]
    pub fn look_every(self, interval: Duration) -> Self {
        Self { look_every: interval, ..self }
    }
}

#[async_trait]
impl PolicySource for FleetPolicy {
    async fn fetch(&self) -> Result<PolicyArtifact, LoadError> {
        let published = self.registry.published_policy().await.map_err(unavailable)?;
        Ok(published.unwrap_or_else(|| BuiltIn::RoundRobin.into()))
    }

    async fn version(&self) -> Result<String, LoadError> {
        let digest = self.registry.published_digest().await.map_err(unavailable)?;
        Ok(digest.map(|digest| digest.to_string()).unwrap_or_default())
    }

    fn look_every(&self) -> Option<Duration> {
        Some(self.look_every)
    }
}

fn unavailable(error: RegistryError) -> LoadError {
    LoadError::Unavailable(Box::new(error))
}
