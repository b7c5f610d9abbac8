//! TLS to Redis: which certificates, and what an error of it means.

use std::{fmt, fs, path::Path, path::PathBuf};

use redis::{Client, ClientTlsConfig, ConnectionInfo, RedisError, TlsCertificates};

use crate::registry::RegistryError;

/// The certificates of a connection that is encrypted, as paths of PEM files.
///
/// They are read when the registry connects; one that was replaced counts from the next
/// start on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// The authorities that may have signed the server's certificate. Default: those that
    /// the system trusts.
    pub ca: Option<PathBuf>,
    /// The certificate that this client shows. Default: none. It needs a key.
    pub certificate: Option<PathBuf>,
    /// The private key of that certificate.
    pub key: Option<PathBuf>,
}

impl RedisTls {
    /// Whether anything is set.
    pub(super) fn is_set(&self) -> bool {
        *self != Self::default()
    }

    /// Reads the files into how to connect.
    pub(super) fn apply(&self, info: ConnectionInfo) -> Result<ConnectionInfo, RegistryError> {
        // Another part of the program may have chosen; that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client_tls = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(ClientTlsConfig {
                client_cert: read("tls.certificate", certificate, "CERTIFICATE")?,
                client_key: read("tls.key", key, "PRIVATE KEY")?,
            }),
            (None, None) => None,
            (Some(_), None) => return Err(refuse("tls.key", "the certificate needs its key")),
            (None, Some(_)) => return Err(refuse("tls.certificate", "the key needs its certificate")),
        };
        let root_cert = self.ca.as_deref().map(|ca| read("tls.ca", ca, "CERTIFICATE")).transpose()?;
        let client = Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
            .map_err(|error| refuse("tls", &error.to_string()))?;
        Ok(client.get_connection_info().clone())
    }
}

/// A PEM file that holds what it should.
fn read(option: &'static str, path: &Path, wanted: &str) -> Result<Vec<u8>, RegistryError> {
    let place = path.display();
    let pem = fs::read(path).map_err(|error| refuse(option, &format!("{place}: {error}")))?;
    let label = format!("{wanted}-----");
    if !String::from_utf8_lossy(&pem).contains(&label) {
        return Err(refuse(option, &format!("{place} holds no {} in PEM", wanted.to_lowercase())));
    }
    Ok(pem)
}

fn refuse(option: &'static str, reason: &str) -> RegistryError {
    RegistryError::Options { option, reason: reason.to_owned() }
}

/// An error of TLS, in words of who set it up.
#[derive(Debug)]
pub(super) struct TlsError {
    meaning: &'static str,
    source: RedisError,
}

impl TlsError {
    /// `None` when the error is another.
    pub(super) fn of(source: &RedisError) -> Option<Self> {
        let said = source.to_string();
        let meaning = MEANINGS.iter().find(|(part, _)| said.contains(part))?.1;
        Some(Self { meaning, source: source.clone() })
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.meaning, self.source)
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// What the TLS library says, and what that means here.
const MEANINGS: &[(&str, &str)] = &[
    ("UnknownIssuer", "its certificate is not from an authority that is trusted here: see the CA file"),
    ("BadSignature", "its certificate is not from an authority that is trusted here: see the CA file"),
    ("invalid peer certificate: Expired", "its certificate has expired"),
    ("certificate expired", "its certificate has expired"),
    ("NotValidYet", "its certificate is not valid yet"),
    ("not valid for name", "its certificate is for another name than the one in the URL"),
    ("NotValidForName", "its certificate is for another name than the one in the URL"),
    ("invalid peer certificate", "its certificate cannot be used"),
    ("CertificateRequired", "it wants a certificate of its clients: set certificate and key"),
    ("CertificateExpired", "the certificate of this client has expired"),
    ("UnknownCA", "it does not trust who signed the certificate of this client"),
    ("UnknownCa", "it does not trust who signed the certificate of this client"),
    ("BadCertificate", "it refuses the certificate of this client"),
    ("DecryptError", "it refuses the certificate of this client"),
    ("InvalidContentType", "it does not speak TLS on this port"),
    ("ProtocolVersion", "it speaks no version of TLS that is safe"),
];
