//! Who may call what, and how often.
//!
//! With TLS each connection comes with the names of the caller's certificate, and the
//! operator says which names have which role. Without TLS nobody can be told from anybody,
//! and whoever reaches the port may do everything.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{Either, Ready, ready};
use guildhall::{transport::NamePattern, wire};
use tonic::Status;
use tower::{Layer, Service};

use super::{SERVICE, rate::Rate};

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// May look.
    Observer,
    /// May also start and stop agents: an app with the SDK.
    Engine,
    /// May do what an engine may, and ask for adoptions, promises and votes.
    Host,
    /// May do what an engine may, and cordon, drain and move.
    Operator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observer => "observer",
            Self::Engine => "engine",
            Self::Host => "host",
            Self::Operator => "operator",
        })
    }
}

/// Which names of certificates have which role. A name may have several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Names of observers.
    pub observers: Vec<NamePattern>,
    /// Names of engines.
    pub engines: Vec<NamePattern>,
    /// Names of hosts.
    pub hosts: Vec<NamePattern>,
    /// Names of operators.
    pub operators: Vec<NamePattern>,
}

impl Default for Roles {
    /// `spiffe://guildhall/observer`, `…/engine`, `…/host` and `…/operator`.
    fn default() -> Self {
        let named = |role: Role| vec![NamePattern::new(format!("spiffe://guildhall/{role}"))];
        Self {
            observers: named(Role::Observer),
            engines: named(Role::Engine),
            hosts: named(Role::Host),
            operators: named(Role::Operator),
        }
    }
}

impl Roles {
    fn has(&self, names: &[String], role: Role) -> bool {
        let patterns = match role {
            Role::Observer => &self.observers,
            Role::Engine => &self.engines,
            Role::Host => &self.hosts,
            Role::Operator => &self.operators,
        };
        names.iter().any(|name| patterns.iter().any(|pattern| pattern.matches(name)))
    }

    /// Lets a caller with these names make that call, or says why not.
    fn check(&self, names: &[String], path: &str) -> Result<(), Status> {
        let allowed = match allowed(path) {
            Allowed::Everybody => return Ok(()),
            Allowed::Roles(roles) => roles,
        };
        if allowed.iter().any(|role| self.has(names, *role)) {
            return Ok(());
        }
        let needed: Vec<_> = allowed.iter().map(Role::to_string).collect();
        let call = path.rsplit('/').next().unwrap_or_default();
        let message = match needed.is_empty() {
            true => format!("there is no call {path}"),
            false => format!("{call} is for the role {}, which none of {names:?} has", needed.join(", ")),
        };
        Err(Status::permission_denied(message))
    }
}

/// Who may make a call.
enum Allowed {
    /// Everybody whose certificate is of the authority.
    Everybody,
    Roles(&'static [Role]),
}

fn allowed(path: &str) -> Allowed {
    use Role::{Engine, Host, Observer, Operator};
    let Some((service, call)) = path.trim_start_matches('/').split_once('/') else {
        return Allowed::Roles(&[]);
    };
    match (service, call) {
        ("grpc.health.v1.Health" | "grpc.reflection.v1.ServerReflection", _) => Allowed::Everybody,
        ("guildhall.v1.PeerService", _) => Allowed::Roles(&[Host]),
        ("guildhall.v1.AgentHostService", "GetAgentInfo" | "ListAgents" | "WatchAgents" | "Health") => {
            Allowed::Roles(&[Observer, Engine, Host, Operator])
        }
        ("guildhall.v1.AgentHostService", "CreateAgent" | "RunAgent" | "StopAgent" | "GetLaunch") => {
            Allowed::Roles(&[Engine, Host, Operator])
        }
        ("guildhall.v1.AgentHostService", "MoveAgent" | "Cordon" | "Uncordon" | "Drain") => {
            Allowed::Roles(&[Operator])
        }
        // What is not named here is not allowed, so that a new call is decided about.
        _ => Allowed::Roles(&[]),
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) address: Option<SocketAddr>,
    /// The names of its certificate; `None` without TLS.
    pub(crate) names: Option<Arc<[String]>>,
}

impl Caller {
    pub(crate) fn key(&self) -> CallerKey {
        match (&self.names, self.address) {
            (Some(names), _) => CallerKey::Names(Arc::clone(names)),
            (None, Some(address)) => CallerKey::Address(address.ip()),
            (None, None) => CallerKey::Unknown,
        }
    }
}

/// Whose calls a limit counts together: those of a certificate, or else of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallerKey {
    Names(Arc<[String]>),
    Address(IpAddr),
    Unknown,
}

/// Checks each call before it is decoded.
#[derive(Clone, Debug)]
pub(crate) struct AccessLayer {
    roles: Arc<Roles>,
    rate: Option<Rate>,
}

impl AccessLayer {
    /// Without a rate callers may call as often as they like.
    pub(crate) fn new(roles: Roles, rate: Option<Rate>) -> Self {
        Self { roles: Arc::new(roles), rate }
    }

    fn check(&self, caller: Option<&Caller>, path: &str) -> Result<(), Status> {
        let Some(caller) = caller else { return Ok(()) };
        if let Some(names) = &caller.names {
            self.roles.check(names, path).inspect_err(|refused| {
                tracing::warn!(call = path, reason = refused.message(), "refused");
            })?;
        }
        match &self.rate {
            // Not probes, and not what hosts have to tell each other.
            Some(rate) if path.trim_start_matches('/').starts_with(SERVICE) => {
                rate.admit(&caller.key()).map_err(wire::fault_to_status)
            }
            _ => Ok(()),
        }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access { inner, checks: self.clone() }
    }
}

/// A service behind the check.
#[derive(Clone, Debug)]
pub(crate) struct Access<S> {
    inner: S,
    checks: AccessLayer,
}

impl<S, B, A> Service<http::Request<B>> for Access<S>
where
    S: Service<http::Request<B>, Response = http::Response<A>>,
    A: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        match self.checks.check(request.extensions().get(), request.uri().path()) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(refused) => Either::Right(ready(Ok(refused.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_call_of_the_contract_is_decided_about() {
        let files = FileDescriptorSet::decode(guildhall_proto::DESCRIPTORS).unwrap().file;
        let mut calls = 0;
        for (file, service) in files.iter().flat_map(|file| file.service.iter().map(move |one| (file, one))) {
            for call in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), call.name());
                let Allowed::Roles(roles) = allowed(&path) else { panic!("{path} is for everybody") };
                assert!(!roles.is_empty(), "{path} is for nobody");
                calls += 1;
            }
        }
        assert!(calls > 10);
    }

    #[test]
    fn an_unknown_call_is_for_nobody() {
        for path in ["/guildhall.v1.AgentHostService/Format", "/x.Y/Z", "nonsense", ""] {
            let names = ["spiffe://guildhall/host".to_owned()];
            assert!(Roles::default().check(&names, path).is_err(), "{path}");
        }
    }
}
