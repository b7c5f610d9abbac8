//! Connections that come in: in plain text, or by TLS with the caller's certificate.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt};
use guildhall::transport::{Tls, names_of};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Connected;
use tracing::{debug, info};

use super::Caller;

/// Handshakes under way at once, and how long one may take.
const HANDSHAKES: usize = 256;
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// With what a connection in plain text begins that is to speak HTTP/2.
const PLAIN_HTTP2: &[u8] = b"PRI * HTTP/2";

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The connections of a listener. Those whose handshake fails are logged, and that is all.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Option<Tls>,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let accept = move |accepted: io::Result<TcpStream>| {
        let tls = tls.clone();
        async move {
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => return Some(Err(error)),
            };
            // A small answer does not wait for a larger one.
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else { return Some(Ok(Connection::Plain(stream))) };
            let peer = stream.peer_addr().ok();
            match timeout(HANDSHAKE_WITHIN, handshake(stream, tls)).await {
                Ok(Ok(connection)) => Some(Ok(connection)),
                Ok(Err(error)) => {
                    info!(?peer, %error, "a caller is refused");
                    None
                }
                Err(_) => {
                    debug!(?peer, "a caller did not finish its handshake");
                    None
                }
            }
        }
    };
    TcpListenerStream::new(listener)
        .map(accept)
        .buffer_unordered(HANDSHAKES)
        .filter_map(|connection| async { connection })
}

async fn handshake(mut stream: TcpStream, tls: Tls) -> io::Result<Connection> {
    let mut first = [0; PLAIN_HTTP2.len()];
    let seen = stream.peek(&mut first).await?;
    if seen > 0 && PLAIN_HTTP2.starts_with(&first[..seen]) {
        stream.write_all(&needs_tls()).await?;
        stream.shutdown().await?;
        return Err(io::Error::other("it speaks plain text"));
    }
    let accepted = TlsAcceptor::from(tls.server()).accept(stream).await?;
    Ok(Connection::Tls(Box::new(accepted)))
}

/// What a caller in plain text is told: HTTP/2's settings, and its goodbye with a reason.
fn needs_tls() -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const INADEQUATE_SECURITY: [u8; 4] = [0, 0, 0, 0xc];
    let reason = b"this host speaks TLS alone";
    let mut told = SETTINGS.to_vec();
    told.extend([0, 0, 8 + reason.len() as u8, 7, 0, 0, 0, 0, 0]);
    told.extend([0; 4]);
    told.extend(INADEQUATE_SECURITY);
    told.extend(reason);
    told
}

impl Connection {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.peer_addr().ok(),
            Self::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
        }
    }

    fn names(&self) -> Option<Arc<[String]>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => {
                let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                Some(certificate.map(names_of).unwrap_or_default().into())
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller { address: self.address(), names: self.names() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
