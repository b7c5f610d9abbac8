//! Certificates for servers and their clients.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd,
};
use tempfile::TempDir;

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

    /// A certificate for these names: DNS names, addresses and URIs.
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
        let names = names.iter().map(|name| (*name).to_owned());
        let (uris, hosts): (Vec<String>, Vec<String>) = names.partition(|name| name.contains("://"));
        let mut params = CertificateParams::new(hosts).map_err(io::Error::other)?;
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into().map_err(io::Error::other)?));
        }
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
