//! A Redis with TLS.

use std::path::Path;

use crate::{Certificate, RedisServer, StartError};

/// A Redis that listens with TLS alone.
#[derive(Debug)]
pub struct RedisTlsServer {
    server: RedisServer,
}

impl RedisTlsServer {
    /// Starts one that shows this certificate. With `clients` it wants one of its clients
    /// that the authority in that file has signed.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn start(certificate: &Certificate, clients: Option<&Path>) -> Result<Self, StartError> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--port", "0", "--tls-port", "PORT", "--save", "", "--dir", "DIR"]
                .map(str::to_owned)
                .into();
        arguments.extend(["--tls-cert-file".to_owned(), text(&certificate.certificate)]);
        arguments.extend(["--tls-key-file".to_owned(), text(&certificate.key)]);
        match clients {
            Some(ca) => arguments.extend(["--tls-ca-cert-file".to_owned(), text(ca)]),
            None => arguments.extend(["--tls-auth-clients", "no"].map(str::to_owned)),
        }
        let server = RedisServer::start_bare(arguments, Box::new(|_, _| Ok(())))?;
        Ok(Self { server })
    }

    /// Where it listens: `rediss://localhost:PORT`.
    pub fn url(&self) -> String {
        format!("rediss://localhost:{}", self.server.port())
    }
}
