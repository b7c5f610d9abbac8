//! The policy of an engine: fetched, checked, made ready; and followed, so that what
//! is put in its place takes over without a restart.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::Shared;
use crate::{
    engine::EngineError,
    placement::{
        Comparison, CompiledCache, Fallback, Imports, LoadError, PlacementService, Policy, PolicyArtifact,
        PolicyLimits, PolicySource, Shadow, Trust,
    },
};

/// From one line of log about a shadow policy to the next.
const TELL_OF_SHADOW_EVERY: Duration = Duration::from_secs(60);

/// How a policy is made ready, whichever it is.
#[derive(Clone, Debug)]
pub(super) struct Preparation {
    /// For a policy that brings none along.
    pub(super) settings: serde_json::Value,
    pub(super) cache: CompiledCache,
    pub(super) limits: PolicyLimits,
    pub(super) imports: Imports,
    pub(super) trust: Trust,
    /// The policy that decides when another one fails again and again.
    pub(super) fallback: Option<PolicyArtifact>,
}

impl Preparation {
    /// Fetches the policy of `source` and makes a service of it. Answers also with the
    /// version that was there before it was fetched.
    pub(super) async fn service(
        &self,
        source: &dyn PolicySource,
    ) -> Result<(PlacementService, String), EngineError> {
        let version = source.version().await?;
        let (artifact, this) = (source.fetch().await?, self.clone());
        // Compiling may take tens of milliseconds, and reads the disk.
        let made = spawn_blocking(move || {
            let (policy, settings) = this.load(artifact)?;
            let service = PlacementService::new(policy, &settings, this.limits.clone())?;
            let Some(fallback) = &this.fallback else { return Ok((service, version)) };
            let fallback = Fallback::to(Policy::load(fallback, &this.cache)?);
            Ok((service.with_fallback(fallback)?, version))
        });
        made.await.map_err(|_| EngineError::ShutDown)?
    }

    /// Puts a policy in the shadow of the one in charge.
    pub(super) async fn shadow(
        &self,
        placement: &PlacementService,
        artifact: PolicyArtifact,
    ) -> Result<Shadow, EngineError> {
        let this = self.clone();
        let loaded = spawn_blocking(move || {
            this.trust.check(&artifact)?;
            Ok::<_, LoadError>((Policy::load_with(&artifact, &this.cache, this.imports)?, artifact.settings))
        });
        let (policy, settings) = loaded.await.map_err(|_| EngineError::ShutDown)??;
        Ok(placement.shadow(policy, settings.unwrap_or_default())?)
    }

    fn load(&self, artifact: PolicyArtifact) -> Result<(Policy, serde_json::Value), LoadError> {
        self.trust.check(&artifact)?;
        let policy = Policy::load_with(&artifact, &self.cache, self.imports)?;
        Ok((policy, artifact.settings.unwrap_or_else(|| self.settings.clone())))
    }
}

/// Puts in charge what `source` has, whenever that is another version than the one
/// `seen`, until the engine is shut down or dropped. What cannot be used is refused, and
/// the policy in charge stays.
pub(super) async fn follow(
    shared: Weak<Shared>,
    source: Arc<dyn PolicySource>,
    mut seen: String,
    preparation: Preparation,
    cancelled: CancellationToken,
) {
    let Some(interval) = source.look_every() else { return };
    let following = async {
        loop {
            sleep(interval).await;
            // While a registry is away, the policy stays what it is.
            let Ok(version) = source.version().await else { continue };
            if version == seen {
                continue;
            }
            seen = version;
            match source.fetch().await {
                Ok(artifact) => match shared.upgrade() {
                    Some(shared) => shared.appoint(artifact, preparation.clone()).await,
                    None => return,
                },
                Err(error) => {
                    error!(%error, "the policy has changed and cannot be fetched; the one in charge stays");
                }
            }
        }
    };
    cancelled.run_until_cancelled(following).await;
}

/// Says now and then, while it does, where the shadow policy differs.
pub(super) async fn tell_of_shadow(shared: Weak<Shared>, cancelled: CancellationToken) {
    let telling = async {
        let mut told = 0;
        while let Some(shared) = shared.upgrade() {
            let Some(shadow) = &shared.shadow else { return };
            let Comparison { decisions, different, failed, .. } = shadow.comparison();
            if decisions > told {
                told = decisions;
                info!(policy = %shadow.policy(), decisions, different, failed, "the shadow policy decided too");
            }
            drop(shared);
            sleep(TELL_OF_SHADOW_EVERY).await;
        }
    };
    cancelled.run_until_cancelled(telling).await;
}

impl Shared {
    /// Puts a policy in charge, if it proves to be of use.
    async fn appoint(self: Arc<Self>, artifact: PolicyArtifact, preparation: Preparation) {
        let offered = artifact.identity();
        let replaced = spawn_blocking(move || {
            let (policy, settings) = preparation.load(artifact).map_err(|error| error.to_string())?;
            self.placement.replace(policy, &settings).map_err(|error| error.to_string())?;
            self.policy.send_replace(self.placement.identity());
            Ok::<_, String>(())
        });
        match replaced.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                error!(policy = %offered, %error, "the new policy is refused; the one in charge stays");
            }
            Err(error) => debug!(%error, "the process is ending"),
        }
    }
}
