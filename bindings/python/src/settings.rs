//! Where agents run, and how they are placed: `guildhall.Settings`, taken from Python.

use std::path::PathBuf;

use guildhall::placement::PolicyChoice;
use pyo3::FromPyObject;

/// What one session is made by. Equal settings share one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, FromPyObject)]
pub(crate) struct Settings {
    /// Where the fleet is; `None`: in this process.
    pub(crate) url: Option<String>,
    /// Hosts of an embedded fleet.
    pub(crate) hosts: usize,
    /// Agents that each host of an embedded fleet takes at most.
    pub(crate) capacity: u32,
    /// The runner table of an embedded fleet, in TOML.
    pub(crate) runners: String,
    /// A policy as operators name it; `None`: the fleet's.
    pub(crate) policy: Option<String>,
    /// The policy's settings, in JSON.
    pub(crate) policy_settings: Option<String>,
    /// What the names of keys in Redis begin with; `None`: the SDK's default.
    pub(crate) redis_prefix: Option<String>,
    /// Certificate, key and authorities, in PEM, to speak to hosts with; `None`: in plain
    /// text.
    pub(crate) tls: Option<(PathBuf, PathBuf, PathBuf)>,
    /// How long to try to reach the registry and to wait for a first host, in ms.
    #[pyo3(attribute("_connect_within_ms"))]
    pub(crate) connect_within: u64,
}

/// Where a fleet is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this process.
    Embedded,
    /// Registered in the Redis at this URL.
    Redis(String),
    /// Hosts at these addresses.
    Static(Vec<String>),
    /// The pods behind a Service.
    Kubernetes { namespace: String, service: String },
}

impl Settings {
    /// Where the fleet is, or why the URL does not say.
    pub(crate) fn place(&self) -> Result<Place, String> {
        let Some(url) = self.url.as_deref().filter(|url| !url.is_empty()) else { return Ok(Place::Embedded) };
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        match scheme {
            "embedded" => Ok(Place::Embedded),
            "redis" | "rediss" | "redis-sentinel" | "rediss-sentinel" | "redis-cluster"
            | "rediss-cluster" | "unix" => Ok(Place::Redis(url.to_owned())),
            "http" | "https" => Ok(Place::Static(url.split(',').map(|one| one.trim().to_owned()).collect())),
            "kubernetes" => match rest.split_once('/') {
                Some((namespace, service)) if !namespace.is_empty() && !service.is_empty() => {
                    Ok(Place::Kubernetes { namespace: namespace.to_owned(), service: service.to_owned() })
                }
                _ => Err(format!("{url:?} is not of the form kubernetes://NAMESPACE/SERVICE")),
            },
            // The rest may hold a password.
            _ => Err(format!(
                "a fleet's URL begins with redis://, rediss://, kubernetes://, http:// or https://, \
                 not with {scheme:?}; without one the fleet is embedded"
            )),
        }
    }

    /// The policy, if one is chosen.
    pub(crate) fn policy(&self) -> PolicyChoice {
        self.policy.as_deref().map(PolicyChoice::parse).unwrap_or_default()
    }
}
