//! A Redis with TLS.

use std::{net::IpAddr, path::Path};

use crate::{Certificate, RedisServer, StartError};

/// Whom one at an address of its own lets in, and what they may.
const USER: &str = "guildhall:of-tests";
const USER_MAY: &str = "--user guildhall on >of-tests ~* &* +@all";

/// A Redis that listens with TLS alone.
#[derive(Debug)]
pub struct RedisTlsServer {
    server: RedisServer,
    host: String,
}

impl RedisTlsServer {
    /// Starts one that shows this certificate. With `clients` it wants one of its clients
    /// that the authority in that file has signed.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn start(certificate: &Certificate, clients: Option<&Path>) -> Result<Self, StartError> {
        Self::start_as("127.0.0.1", "localhost", &[], certificate, clients)
    }

    /// The same at an address of a network of the test's own, for one user with a password.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn start_at(
        address: IpAddr,
        certificate: &Certificate,
        clients: Option<&Path>,
    ) -> Result<Self, StartError> {
        let address = address.to_string();
        let users = ["--protected-mode no", "--user default off", USER_MAY].map(|words| words.split(' '));
        let users: Vec<_> = users.into_iter().flatten().collect();
        Self::start_as(&address, &format!("{USER}@{address}"), &users, certificate, clients)
    }

    fn start_as(
        bind: &str,
        host: &str,
        more: &[&str],
        certificate: &Certificate,
        clients: Option<&Path>,
    ) -> Result<Self, StartError> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut arguments: Vec<String> =
            ["--bind", bind, "--port", "0", "--tls-port", "PORT", "--save", "", "--dir", "DIR"]
                .map(str::to_owned)
                .into();
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        arguments.extend(["--tls-cert-file".to_owned(), text(&certificate.certificate)]);
        arguments.extend(["--tls-key-file".to_owned(), text(&certificate.key)]);
        match clients {
            Some(ca) => arguments.extend(["--tls-ca-cert-file".to_owned(), text(ca)]),
            None => arguments.extend(["--tls-auth-clients", "no"].map(str::to_owned)),
        }
        let server = RedisServer::start_bare(arguments, Box::new(|_, _| Ok(())))?;
        Ok(Self { server, host: host.to_owned() })
    }

    /// Where it listens: `rediss://HOST:PORT`, with the user where it has one.
    pub fn url(&self) -> String {
        format!("rediss://{}:{}", self.host, self.server.port())
    }
}
