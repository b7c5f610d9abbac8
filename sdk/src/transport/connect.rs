//! One TLS connection to a host.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower::Service;

use super::Tls;

/// The port of an address that names none.
const HTTPS: u16 = 443;

/// Connects as often as it is called, each time with the certificate of the moment.
#[derive(Clone, Debug)]
pub(super) struct TlsConnector {
    tls: Tls,
}

impl TlsConnector {
    pub(super) fn new(tls: Tls) -> Self {
        Self { tls }
    }
}

impl Service<Uri> for TlsConnector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let config = self.tls.client();
        Box::pin(async move {
            // An IPv6 address is in brackets there, and nowhere else.
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(HTTPS))).await?;
            stream.set_nodelay(true)?;
            let connecting = tokio_rustls::TlsConnector::from(config).connect(name, stream);
            connecting.await.map(TokioIo::new).map_err(explained)
        })
    }
}

/// What rustls says of a server that speaks something else is about records and bytes, and
/// what it says of a name shows its types.
fn explained(error: io::Error) -> io::Error {
    let source = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    match source {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(reason))) => {
            io::Error::new(error.kind(), reason.to_string())
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            io::Error::new(error.kind(), format!("the other side does not speak TLS ({error})"))
        }
        _ => error,
    }
}
