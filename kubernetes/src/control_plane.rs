//! The control plane: etcd, the API server, the controllers and the scheduler, as the
//! processes they are everywhere.
//!
//! RBAC and the node authorizer decide who may do what, the default admission plugins and
//! that of nodes are on, Pod Security among them. The ports are the usual ones, for the
//! sandbox has ports of its own.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    assets::Assets,
    certificates::{Authority, Files},
    kubectl::Kubectl,
    network::GATEWAY,
    server::Server,
};

/// Longer than the API server takes to be ready, on a busy machine too.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Where the API server listens, on the bridge and on loopback.
pub(crate) const PORT: u16 = 6443;

/// The first address of Services, which is the API server's own.
const FIRST_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEER: &str = "http://127.0.0.1:2380";

/// A running control plane, all of which is ended when it is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    assets: Assets,
    folder: PathBuf,
    authority: Authority,
    serving: Files,
    token_key: PathBuf,
    // In the order in which they end.
    scheduler: Option<Server>,
    controllers: Option<Server>,
    api_server: Option<Server>,
    etcd: Server,
}

impl ControlPlane {
    /// Starts all of it in `folder`, and waits until the API server is ready.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub async fn start(assets: Assets, folder: &Path) -> Result<Self> {
        let folder = folder.join("control-plane");
        let authority = Authority::new(&folder.join("pki"))?;
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let addresses = [Ipv4Addr::LOCALHOST, GATEWAY, FIRST_SERVICE].map(IpAddr::V4);
        let serving = authority.server("api-server", &names, &addresses)?;
        let token_key = authority.key("tokens")?;
        let etcd = Server::start("etcd", &mut etcd(&assets, &folder), &folder)?;
        let mut plane = Self {
            assets,
            folder,
            authority,
            serving,
            token_key,
            scheduler: None,
            controllers: None,
            api_server: None,
            etcd,
        };
        plane.start_api_server().await?;
        plane.start_controllers()?;
        plane.start_scheduler()?;
        Ok(plane)
    }

    /// Kills the API server. All else goes on without it.
    pub fn kill_api_server(&mut self) {
        self.api_server = None;
    }

    /// Starts the API server, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not.
    pub async fn start_api_server(&mut self) -> Result<()> {
        let mut command = self.api_server();
        self.api_server = Some(Server::start("kube-apiserver", &mut command, &self.folder)?);
        let client = self.admin().await?;
        let until = Instant::now() + READY_WITHIN;
        loop {
            self.etcd.check()?;
            if let Some(server) = &mut self.api_server {
                server.check()?;
            }
            match client.request_text(get("/readyz")?).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until => {
                    return Err(error).context("the API server is not ready");
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Somebody who may do everything.
    ///
    /// # Errors
    /// When no client can be made.
    pub async fn admin(&self) -> Result<Client> {
        self.client("admin", "admin", Some("system:masters")).await
    }

    /// `kubectl` of somebody who may do everything.
    ///
    /// # Errors
    /// When there can be no kubeconfig.
    pub fn kubectl(&self) -> Result<Kubectl> {
        let kubeconfig = self.kubeconfig("admin", "admin", Some("system:masters"))?;
        Ok(Kubectl::new(self.assets.program("kubectl"), kubeconfig))
    }

    /// A client of this user, who is in this group.
    ///
    /// # Errors
    /// When no client can be made.
    pub async fn client(&self, file: &str, user: &str, group: Option<&str>) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(file, user, group)?)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// How a pod reaches the API server: without a user, which its token says.
    ///
    /// # Errors
    /// When the authority's certificate cannot be read.
    pub fn config_of_a_pod(&self) -> Result<Config> {
        let mut config = Config::new(format!("https://{GATEWAY}:{PORT}").parse()?);
        config.root_cert_file = Some(self.authority.certificate());
        Ok(config)
    }

    fn kubeconfig(&self, file: &str, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let path = self.folder.join(format!("{file}.kubeconfig"));
        if path.exists() {
            return Ok(path);
        }
        let Files { certificate, key } = self.authority.client(file, user, group)?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{PORT}"),
                "certificate-authority": self.authority.certificate(),
            }}],
            "users": [{"name": user, "user": {"client-certificate": certificate, "client-key": key}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        });
        fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        Ok(path)
    }

    fn api_server(&self) -> Command {
        let Self { authority, serving, token_key, folder, .. } = self;
        let mut command = Command::new(self.assets.program("kube-apiserver"));
        flag(&mut command, "cert-dir", folder.display());
        flag(&mut command, "etcd-servers", ETCD);
        flag(&mut command, "bind-address", "0.0.0.0");
        flag(&mut command, "advertise-address", GATEWAY);
        flag(&mut command, "secure-port", PORT);
        flag(&mut command, "service-cluster-ip-range", format!("{FIRST_SERVICE}/16"));
        flag(&mut command, "tls-cert-file", serving.certificate.display());
        flag(&mut command, "tls-private-key-file", serving.key.display());
        flag(&mut command, "client-ca-file", authority.certificate().display());
        flag(&mut command, "authorization-mode", "Node,RBAC");
        flag(&mut command, "enable-admission-plugins", "NodeRestriction");
        flag(&mut command, "service-account-issuer", "https://kubernetes.default.svc");
        flag(&mut command, "service-account-key-file", token_key.with_extension("pub").display());
        flag(&mut command, "service-account-signing-key-file", token_key.display());
        flag(&mut command, "shutdown-delay-duration", "0s");
        command
    }

    fn start_controllers(&mut self) -> Result<()> {
        let user = "system:kube-controller-manager";
        let kubeconfig = self.kubeconfig("kube-controller-manager", user, None)?;
        let mut command = Command::new(self.assets.program("kube-controller-manager"));
        flag(&mut command, "kubeconfig", kubeconfig.display());
        flag(&mut command, "bind-address", Ipv4Addr::LOCALHOST);
        flag(&mut command, "leader-elect", false);
        flag(&mut command, "use-service-account-credentials", true);
        flag(&mut command, "service-account-private-key-file", self.token_key.display());
        flag(&mut command, "root-ca-file", self.authority.certificate().display());
        flag(&mut command, "horizontal-pod-autoscaler-sync-period", "2s");
        self.controllers = Some(Server::start("kube-controller-manager", &mut command, &self.folder)?);
        Ok(())
    }

    fn start_scheduler(&mut self) -> Result<()> {
        let kubeconfig = self.kubeconfig("kube-scheduler", "system:kube-scheduler", None)?;
        let mut command = Command::new(self.assets.program("kube-scheduler"));
        flag(&mut command, "kubeconfig", kubeconfig.display());
        flag(&mut command, "bind-address", Ipv4Addr::LOCALHOST);
        flag(&mut command, "leader-elect", false);
        self.scheduler = Some(Server::start("kube-scheduler", &mut command, &self.folder)?);
        Ok(())
    }
}

fn etcd(assets: &Assets, folder: &Path) -> Command {
    let mut command = Command::new(assets.program("etcd"));
    flag(&mut command, "data-dir", folder.join("etcd").display());
    flag(&mut command, "listen-client-urls", ETCD);
    flag(&mut command, "advertise-client-urls", ETCD);
    flag(&mut command, "listen-peer-urls", ETCD_PEER);
    flag(&mut command, "initial-advertise-peer-urls", ETCD_PEER);
    flag(&mut command, "initial-cluster", format!("default={ETCD_PEER}"));
    // What is lost when the machine stops is of no use to anybody then.
    command.arg("--unsafe-no-fsync");
    command
}

fn flag(command: &mut Command, name: &str, value: impl std::fmt::Display) {
    command.arg(format!("--{name}={value}"));
}

/// A question without a body.
pub(crate) fn get(path: &str) -> Result<tonic::codegen::http::Request<Vec<u8>>> {
    Ok(tonic::codegen::http::Request::get(path).body(Vec::new())?)
}
