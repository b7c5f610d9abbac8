//! The fleet's policy in Redis: one hash, whose fields are the parts of a policy.

use std::collections::HashMap;

use super::{
    entry::corrupt,
    link::{Link, Question},
    scripts,
};
use crate::{
    placement::{BuiltIn, PolicyArtifact, Sha256Digest},
    registry::RegistryError,
};

const DIGEST: &str = "digest";
const NAME: &str = "name";
/// Left out for a policy that comes with the SDK: each program has it.
const COMPONENT: &str = "component";
const SIGNATURE: &str = "signature";
const SETTINGS: &str = "settings";

pub(super) async fn publish(
    link: &Link,
    key: &str,
    policy: Option<&PolicyArtifact>,
) -> Result<(), RegistryError> {
    let mut script = scripts::PUBLISH.key(key);
    if let Some(policy) = policy {
        script.arg(DIGEST).arg(policy.digest().to_string());
        script.arg(NAME).arg(&policy.name);
        if policy.built_in().is_none() {
            script.arg(COMPONENT).arg(&*policy.component);
        }
        if let Some(signature) = &policy.signature {
            script.arg(SIGNATURE).arg(signature);
        }
        if let Some(settings) = &policy.settings {
            script.arg(SETTINGS).arg(settings.to_string());
        }
    }
    link.ask(key, Question::Script(&script)).await
}

pub(super) async fn published(link: &Link, key: &str) -> Result<Option<PolicyArtifact>, RegistryError> {
    let command = redis::cmd("HGETALL").arg(key).take();
    let mut parts: HashMap<String, Vec<u8>> = link.ask(key, Question::Command(&command)).await?;
    if parts.is_empty() {
        return Ok(None);
    }
    let name = parts.remove(NAME).and_then(|name| String::from_utf8(name).ok());
    let name = name.ok_or_else(|| corrupt(key, "it has no name"))?;
    let mut policy = match parts.remove(COMPONENT) {
        Some(component) => PolicyArtifact::new(name, component),
        None => BuiltIn::named(&name)
            .ok_or_else(|| corrupt(key, format!("this version has no policy {name:?} of its own")))?
            .into(),
    };
    policy.signature = parts.remove(SIGNATURE);
    let settings = parts.remove(SETTINGS).map(|settings| serde_json::from_slice(&settings));
    policy.settings = settings.transpose().map_err(|error| corrupt(key, format!("its settings: {error}")))?;
    Ok(Some(policy))
}

pub(super) async fn digest(link: &Link, key: &str) -> Result<Option<Sha256Digest>, RegistryError> {
    let command = redis::cmd("HGET").arg(key).arg(DIGEST).take();
    let digest: Option<String> = link.ask(key, Question::Command(&command)).await?;
    let digest = digest.map(Sha256Digest::try_from).transpose();
    digest.map_err(|error| corrupt(key, error.to_string()))
}
