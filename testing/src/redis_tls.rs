//! A Redis with TLS, and certificates for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::{RedisServer, StartError};

/// An authority in a folder of its own, which signs certificates for this machine.
pub struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The file with the certificate.
    pub certificate: PathBuf,
    /// The file with the private key.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes an authority.
    ///
    /// # Errors
    /// When its folder cannot be written.
    pub fn new() -> io::Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    /// Makes an authority whose folder is in this one, such as that of a server, and goes
    /// with it.
    ///
    /// # Errors
    /// When its folder cannot be written.
    pub fn within(folder: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("guildhall-certificates-").tempdir_in(folder)?;
        let mut params = CertificateParams::default();
        // By its name a certificate says who signed it, so no two have the same.
        params.distinguished_name.push(DnType::CommonName, folder.path().to_string_lossy());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let authority = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        fs::write(folder.path().join("ca.pem"), authority.pem())?;
        Ok(Self { folder, authority })
    }

    /// The file with the authority's own certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for these names.
    ///
    /// # Errors
    /// When it cannot be written, or a name cannot be one.
    pub fn sign(&self, names: &[&str]) -> io::Result<Certificate> {
        self.sign_with(names, |_| {})
    }

    /// A certificate whose time is over.
    ///
    /// # Errors
    /// When it cannot be written, or a name cannot be one.
    pub fn sign_expired(&self, names: &[&str]) -> io::Result<Certificate> {
        self.sign_with(names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        })
    }

    fn sign_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> io::Result<Certificate> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
        change(&mut params);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let signed = params.signed_by(&key, &self.authority).map_err(io::Error::other)?;
        let folder = tempfile::tempdir_in(self.folder.path())?.keep();
        let files = Certificate { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        fs::write(&files.certificate, signed.pem())?;
        fs::write(&files.key, key.serialize_pem())?;
        Ok(files)
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("folder", &self.folder.path()).finish()
    }
}

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
