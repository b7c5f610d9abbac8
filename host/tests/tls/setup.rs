//! Hosts with certificates, and callers with theirs.

use std::{path::Path, sync::Arc, time::Duration};

use guildhall::{
    engine::GrpcEngine,
    ids::HostId,
    registry::{MemoryRegistry, Registry},
    transport::{Dialer, NamePattern, Tls, TlsFiles},
};
use guildhall_host::{
    Host, HostConfig,
    runner::{ClassPattern, Runner, RunnerTable, Template},
};
use guildhall_testing::{Certificate, Certificates, wait_until_none_marked};
use tempfile::TempDir;
use tonic::transport::Channel;

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The names that certificates carry.
pub(crate) const HOST: &str = "spiffe://guildhall/host";
pub(crate) const ENGINE: &str = "spiffe://guildhall/engine";
pub(crate) const OPERATOR: &str = "spiffe://guildhall/operator";
pub(crate) const OBSERVER: &str = "spiffe://guildhall/observer";

/// An authority, a registry, and a folder for what hosts need.
pub(crate) struct World {
    pub(crate) authority: Certificates,
    pub(crate) registry: Arc<dyn Registry>,
    dir: TempDir,
}

pub(crate) fn world() -> World {
    World {
        authority: Certificates::new().unwrap(),
        registry: Arc::new(MemoryRegistry::new()),
        dir: tempfile::tempdir().unwrap(),
    }
}

impl World {
    /// What a host needs that speaks plain text.
    pub(crate) fn plain(&self, id: &str) -> HostConfig {
        let mut echo = Runner::new("echo", echo_runner::binary().unwrap());
        let folder = Template::parse(self.dir.path().to_str().unwrap()).unwrap();
        echo.env.insert(echo_runner::DIR_VARIABLE.to_owned(), folder);
        echo.class_name = Some(ClassPattern::new("test.*"));
        let mut config = HostConfig::new(HostId::new(id).unwrap(), RunnerTable::from_iter([echo]));
        config.supervisor.runtime_dir = self.dir.path().to_owned();
        config.supervisor.stop_grace = Duration::from_millis(500);
        config
    }

    /// A host that shows this certificate.
    pub(crate) async fn host_with(&self, id: &str, files: TlsFiles) -> Host {
        let mut config = self.plain(id);
        config.tls = Some(files);
        Host::start(config, self.registry.clone()).await.unwrap()
    }

    pub(crate) async fn host(&self, id: &str) -> Host {
        self.host_with(id, self.files(&self.authority.sign(&[HOST]).unwrap())).await
    }

    pub(crate) fn files(&self, certificate: &Certificate) -> TlsFiles {
        files(certificate, &self.authority.ca())
    }

    /// Somebody whose certificate has this name.
    pub(crate) fn named(&self, name: &str) -> Dialer {
        dialer(self.files(&self.authority.sign(&[name]).unwrap()))
    }

    /// An engine that knows of so many hosts.
    pub(crate) async fn engine(&self, dialer: Dialer, hosts: usize) -> GrpcEngine {
        let engine =
            GrpcEngine::builder().registry(self.registry.clone()).dialer(dialer).build().await.unwrap();
        engine.wait_for_hosts(hosts, LIMIT).await.unwrap();
        engine
    }
}

/// However a test ends, its agents end with their hosts, which ended before.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            wait_until_none_marked(self.dir.path().to_str().unwrap());
        }
    }
}

pub(crate) fn files(certificate: &Certificate, ca: &Path) -> TlsFiles {
    TlsFiles { certificate: certificate.certificate.clone(), key: certificate.key.clone(), ca: ca.to_owned() }
}

pub(crate) fn dialer(files: TlsFiles) -> Dialer {
    Dialer::tls(Tls::load(files, vec![NamePattern::new(HOST)]).unwrap())
}

pub(crate) fn channel(dialer: &Dialer, host: &Host) -> Channel {
    dialer.channel(&host.endpoint(), LIMIT, |endpoint| endpoint).unwrap()
}
