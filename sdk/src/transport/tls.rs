//! A certificate of one's own and the authorities that others' must come from, as files
//! that may change while they are in use.

use std::{
    fmt, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use tracing::{info, warn};

use super::{names::NamePattern, verify::HostVerifier};

/// How often the files are looked at, at most: only when a connection is made.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is spoken within TLS.
const HTTP2: &[u8] = b"h2";

/// The files, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate that is shown to others, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that the certificates of others must come from.
    pub ca: PathBuf,
}

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The files do not fit together.
    #[error("the certificate {certificate} cannot be used: {source}")]
    Certificate {
        /// The certificate's file.
        certificate: PathBuf,
        /// Why, such as that the key is another's.
        #[source]
        source: rustls::Error,
    },
}

/// TLS 1.3 with certificates on both sides. Clones share what they loaded.
///
/// Files that change, as those of cert-manager do when it renews a certificate, are used
/// for the next connection; connections that are there go on. Files that cannot be used
/// leave the last ones in force.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: TlsFiles,
    hosts: Vec<NamePattern>,
    loaded: ArcSwap<Loaded>,
    looked: Mutex<Looked>,
}

struct Loaded {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// What the files were when they were last looked at.
struct Looked {
    at: Instant,
    stamps: [Stamp; 3],
}

/// Changes when a file, or a link to it, is replaced or written.
type Stamp = Option<(u64, u64, i64, i64)>;

impl Tls {
    /// Loads the files. Servers that are connected to must have a certificate with one of
    /// the names of `hosts`.
    ///
    /// # Errors
    /// [`TlsError`] says which file is wrong.
    pub fn load(files: TlsFiles, hosts: Vec<NamePattern>) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let loaded = ArcSwap::from_pointee(load(&files, &hosts)?);
        let looked = Mutex::new(Looked { at: Instant::now(), stamps });
        Ok(Self(Arc::new(Shared { files, hosts, loaded, looked })))
    }

    /// How to connect to a host now.
    pub(super) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current().client)
    }

    /// How to accept a connection now.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().server)
    }

    fn current(&self) -> Arc<Loaded> {
        let Shared { files, hosts, loaded, looked } = &*self.0;
        let changed = {
            // Nothing under the lock panics.
            let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
            let is_time = looked.at.elapsed() >= LOOK_EVERY;
            is_time && {
                looked.at = Instant::now();
                let stamps = stamps(files);
                let changed = looked.stamps != stamps;
                looked.stamps = stamps;
                changed
            }
        };
        if changed {
            match load(files, hosts) {
                Ok(fresh) => {
                    info!(certificate = %files.certificate.display(), "the certificate has changed");
                    loaded.store(Arc::new(fresh));
                }
                Err(error) => {
                    warn!(%error, "the certificate has changed and cannot be used; the last one is")
                }
            }
        }
        loaded.load_full()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.0.files).field("hosts", &self.0.hosts).finish()
    }
}

fn stamps(files: &TlsFiles) -> [Stamp; 3] {
    [&files.certificate, &files.key, &files.ca].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
    })
}

fn load(files: &TlsFiles, hosts: &[NamePattern]) -> Result<Loaded, TlsError> {
    let unusable = |source| TlsError::Certificate { certificate: files.certificate.clone(), source };
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, &error))?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.ca)? {
        roots.add(authority).map_err(|error| wrong(&files.ca, &error))?;
    }
    let roots = Arc::new(roots);
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());

    let verifier = HostVerifier::new(Arc::clone(&roots), Arc::clone(&provider), hosts.to_vec());
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain.clone(), key.clone_key())
        .map_err(unusable)?;
    // A session that goes on where another ended would not be checked again.
    client.resumption = Resumption::disabled();
    client.alpn_protocols = vec![HTTP2.to_vec()];

    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| wrong(&files.ca, &error))?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Loaded { client: Arc::new(client), server: Arc::new(server) })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| wrong(path, &error));
    match found {
        Ok(found) if found.is_empty() => {
            let none = io::Error::new(io::ErrorKind::InvalidData, "there is no certificate in it");
            Err(wrong(path, &none))
        }
        found => found,
    }
}

fn wrong(path: &Path, reason: &dyn fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}
