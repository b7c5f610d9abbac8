//! How the fleet is reached: its registry and its hosts.

use std::path::PathBuf;

use anyhow::bail;
use guildhall::{
    registry::{RedisOptions, RedisRegistry, RedisTls},
    transport::{Dialer, NamePattern, Tls, TlsFiles},
};

/// Which registry.
#[derive(clap::Args)]
pub(crate) struct RegistryArgs {
    /// The fleet's registry, as agent-host takes it.
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    redis_url: String,

    /// The authorities that may have signed the certificate of Redis, in PEM.
    #[arg(long, env = "REDIS_CA", value_name = "FILE")]
    redis_ca: Option<PathBuf>,

    /// The certificate to show to Redis, in PEM.
    #[arg(long, env = "REDIS_CERTIFICATE", value_name = "FILE", requires = "redis_key")]
    redis_certificate: Option<PathBuf>,

    /// The private key of that certificate, in PEM.
    #[arg(long, env = "REDIS_KEY", value_name = "FILE", requires = "redis_certificate")]
    redis_key: Option<PathBuf>,
}

impl RegistryArgs {
    /// Runs `work` with the registry.
    pub(crate) fn with<T>(
        &self,
        work: impl AsyncFnOnce(RedisRegistry) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let tls = RedisTls {
            ca: self.redis_ca.clone(),
            certificate: self.redis_certificate.clone(),
            key: self.redis_key.clone(),
        };
        let options = RedisOptions { tls, ..RedisOptions::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { work(RedisRegistry::connect(&self.redis_url, options).await?).await })
    }
}

/// How hosts are spoken to.
#[derive(clap::Args)]
pub(crate) struct TlsArgs {
    /// The certificate to show to hosts, in PEM; it needs the role of an operator. Unset: plain
    /// text.
    #[arg(long, env = "TLS_CERTIFICATE", value_name = "FILE")]
    tls_certificate: Option<PathBuf>,

    /// The private key of that certificate, in PEM.
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// The authorities that the certificates of hosts must come from, in PEM.
    #[arg(long, env = "TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// Names in certificates of hosts, with `*` for any characters.
    #[arg(
        long,
        env = "TLS_HOSTS",
        value_name = "NAME,…",
        value_delimiter = ',',
        default_value = "spiffe://guildhall/host"
    )]
    tls_hosts: Vec<String>,
}

impl TlsArgs {
    pub(crate) fn dialer(&self) -> anyhow::Result<Dialer> {
        let Self { tls_certificate, tls_key, tls_ca, tls_hosts } = self;
        match (tls_certificate.clone(), tls_key.clone(), tls_ca.clone()) {
            (None, None, None) => Ok(Dialer::plain()),
            (Some(certificate), Some(key), Some(ca)) => {
                let hosts = tls_hosts.iter().map(NamePattern::new).collect();
                Ok(Dialer::tls(Tls::load(TlsFiles { certificate, key, ca }, hosts)?))
            }
            _ => bail!("TLS needs --tls-certificate, --tls-key and --tls-ca together"),
        }
    }
}
