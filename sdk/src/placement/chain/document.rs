//! A chain as it is written down: JSON that names its policies, or has them within.
//!
//! ```json
//! {"policies": ["resource-fit", {"policy": "./mine.wasm", "weight": 2, "settings": {"zone": "a"}}]}
//! ```
//!
//! An operator names files; what travels and is signed has the components within, so that
//! a chain is one artifact like any other.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::placement::{
    artifact::{BuiltIn, PolicyArtifact},
    cache::CompiledCache,
    component::{Compiled, Imports},
    error::LoadError,
    policy::{Form, Link, Policy},
};

/// Policies in a chain at most. Each costs its own decision.
const MOST_POLICIES: usize = 8;

/// Largest weight.
const MOST_WEIGHT: f64 = 1e6;

/// A chain of policies.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::placement) struct ChainDocument {
    policies: Vec<Entry>,
    #[serde(skip)]
    name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Entry {
    Name(String),
    Full(Full),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    /// The name of a built-in policy, a file beside the chain's, or what to call the
    /// component.
    policy: String,
    #[serde(default = "one")]
    weight: f64,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    settings: Value,
    /// The component in base64, once it was taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    component: Option<String>,
}

fn one() -> f64 {
    1.0
}

impl ChainDocument {
    /// The chain that an artifact is, if it is one.
    pub(in crate::placement) fn of(artifact: &PolicyArtifact) -> Result<Option<Self>, LoadError> {
        if !artifact.is_chain() {
            return Ok(None);
        }
        let problem = |problem: String| LoadError::Chain { name: artifact.name.clone(), problem };
        let chain: Self =
            serde_json::from_slice(&artifact.component).map_err(|error| problem(error.to_string()))?;
        if artifact.settings.is_some() {
            return Err(problem("its settings are those of its policies, beside their names".to_owned()));
        }
        if chain.policies.is_empty() || chain.policies.len() > MOST_POLICIES {
            let found = chain.policies.len();
            return Err(problem(format!("it has {found} policies, of 1 to {MOST_POLICIES}")));
        }
        Ok(Some(Self { name: artifact.name.clone(), ..chain }))
    }

    /// The chain of these built-in policies.
    pub(in crate::placement) fn of_built_in(names: &[&str]) -> Self {
        let policies: Vec<Entry> = names.iter().map(|&name| Entry::Name(name.to_owned())).collect();
        Self { policies, name: names.join("+") }
    }

    /// Takes in the components whose files, beside the chain's own, it names.
    pub(in crate::placement) fn take_in(self, folder: &Path) -> Result<Self, LoadError> {
        let take_in = |entry: Entry| {
            let entry = entry.full();
            if entry.component.is_some() || BuiltIn::named(&entry.policy).is_some() {
                return Ok(Entry::Full(entry));
            }
            let artifact = PolicyArtifact::read(folder.join(&entry.policy))?;
            let component = Some(BASE64.encode(&artifact.component));
            Ok(Entry::Full(Full { policy: artifact.name, component, ..entry }))
        };
        let policies = self.policies.into_iter().map(take_in).collect::<Result<_, LoadError>>()?;
        Ok(Self { policies, ..self })
    }

    /// The chain as one artifact.
    pub(in crate::placement) fn into_artifact(self) -> PolicyArtifact {
        let json = serde_json::to_vec(&self).unwrap_or_default();
        PolicyArtifact::new(self.name, json)
    }

    /// Loads the policies.
    pub(in crate::placement) fn load(
        self,
        cache: &CompiledCache,
        imports: Imports,
    ) -> Result<(Form, Compiled), LoadError> {
        let mut compiled = Compiled::Earlier;
        let mut links = Vec::new();
        for entry in self.policies {
            let problem = |problem: String| LoadError::Chain { name: self.name.clone(), problem };
            let Full { policy: name, weight, settings, component } = entry.full();
            if !(weight > 0.0 && weight <= MOST_WEIGHT) {
                return Err(problem(format!("{name} has a weight of {weight}, of above 0 to {MOST_WEIGHT}")));
            }
            let artifact = match (component, BuiltIn::named(&name)) {
                (Some(component), _) => {
                    let bytes =
                        BASE64.decode(component).map_err(|error| problem(format!("{name}: {error}")))?;
                    PolicyArtifact::new(name, bytes)
                }
                (None, Some(policy)) => policy.into(),
                (None, None) => {
                    return Err(problem(format!(
                        "{name} is no built-in policy, and its component is not there"
                    )));
                }
            };
            if artifact.is_chain() {
                return Err(problem(format!("{} is a chain itself", artifact.name)));
            }
            let policy = Policy::load_with(&artifact, cache, imports)?;
            if policy.compiled() == Compiled::Now {
                compiled = Compiled::Now;
            }
            links.push(Link { policy, weight, settings });
        }
        Ok((Form::Chain(links), compiled))
    }
}

impl Entry {
    fn full(self) -> Full {
        match self {
            Self::Name(policy) => Full { policy, weight: one(), settings: Value::Null, component: None },
            Self::Full(full) => full,
        }
    }
}
