//! How engines, hosts and tools reach a host: in plain text, or by TLS with certificates
//! on both sides.
//!
//! A [`Dialer`] opens channels. The scheme of a host's endpoint says what the host
//! speaks; a dialer that cannot speak it says so, rather than fail somewhere below.
//!
//! It never decides what a caller may do: that is the host's affair.

mod connect;
mod names;
mod tls;
mod verify;

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use self::connect::TlsConnector;
pub use self::{
    names::{NamePattern, names_of},
    tls::{Tls, TlsError, TlsFiles},
};
use crate::fault::{Fault, FaultReason};

/// Opens channels to hosts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    tls: Option<Tls>,
}

impl Dialer {
    /// One that speaks plain text.
    pub fn plain() -> Self {
        Self::default()
    }

    /// One that speaks TLS, and shows its own certificate.
    pub fn tls(tls: Tls) -> Self {
        Self { tls: Some(tls) }
    }

    /// How the addresses begin that it speaks to: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// A channel to the host at `endpoint`, such as `https://10.1.2.3:50051`. It connects
    /// when it is first used, within `connect_within`, and `with` may set more of it.
    ///
    /// # Errors
    /// A fault when that is not an address, or is one that this dialer cannot speak to.
    pub fn channel(
        &self,
        endpoint: &str,
        connect_within: Duration,
        with: impl FnOnce(Endpoint) -> Endpoint,
    ) -> Result<Channel, Fault> {
        let unreachable = |message| Fault::new(FaultReason::HostUnreachable, message);
        let address = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|error| unreachable(format!("{endpoint:?} is not an address: {error}")))?;
        let address = with(address.connect_timeout(connect_within).tcp_nodelay(true));
        match (address.uri().scheme_str(), &self.tls) {
            (Some("http"), None) => Ok(address.connect_lazy()),
            (Some("https"), Some(tls)) => {
                Ok(address.connect_with_connector_lazy(TlsConnector::new(tls.clone())))
            }
            (Some("https"), None) => Err(unreachable(format!(
                "{endpoint} speaks TLS, and there is no certificate here to show it"
            ))),
            (Some("http"), Some(_)) => {
                Err(unreachable(format!("{endpoint} does not speak TLS, and nothing else is spoken here")))
            }
            _ => Err(unreachable(format!("{endpoint:?} begins neither with http:// nor with https://"))),
        }
    }
}
