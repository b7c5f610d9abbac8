//! Whether a server is a host.
//!
//! Hosts are reached by addresses that come and go, so what counts is not the address but
//! the name in the certificate: one that only hosts are given.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::names::{NamePattern, names_of};

/// Accepts certificates of the authorities that have a name of a host.
#[derive(Debug)]
pub(super) struct HostVerifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    hosts: Vec<NamePattern>,
}

impl HostVerifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        hosts: Vec<NamePattern>,
    ) -> Self {
        Self { roots, provider, hosts }
    }
}

/// Said of a server that is none of the hosts.
#[derive(Debug, thiserror::Error)]
#[error("the certificate is of {presented:?}, and hosts are called {hosts:?}")]
struct NotAHost {
    presented: Vec<String>,
    hosts: Vec<NamePattern>,
}

impl ServerCertVerifier for HostVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, algorithms)?;
        let presented = names_of(certificate);
        if presented.iter().any(|name| self.hosts.iter().any(|host| host.matches(name))) {
            return Ok(ServerCertVerified::assertion());
        }
        let error = Arc::new(NotAHost { presented, hosts: self.hosts.clone() });
        Err(CertificateError::Other(rustls::OtherError(error)).into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
