//! Where Redis is: a URL that was checked, and a name for it that may be logged.

use std::time::Duration;

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::RedisOptions;
use crate::registry::RegistryError;

/// A checked address.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// How to connect, password included. Its `Debug` hides that.
    pub(super) info: ConnectionInfo,
    /// What to call it in logs and errors.
    pub(super) name: String,
}

impl Address {
    pub(super) fn parse(url: &str, options: &RedisOptions) -> Result<Self, RegistryError> {
        let refuse = |reason: String| RegistryError::Address { url: without_secrets(url), reason };
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("redis" | "valkey" | "unix" | "redis+unix" | "valkey+unix") => {}
            Some("rediss" | "valkeys") => return Err(refuse("TLS is not supported yet".to_owned())),
            Some(scheme) => {
                return Err(refuse(format!("its scheme is {scheme:?}; it must be redis:// or unix://")));
            }
            None => return Err(refuse("it must begin with redis:// or unix://".to_owned())),
        }
        let info = url.into_connection_info().map_err(|error| {
            // What follows the description may quote the URL.
            let said = error.to_string();
            refuse(said.split_once(" - ").map_or(said.as_str(), |(description, _)| description).to_owned())
        })?;
        // A peer that vanished without a word is noticed about as fast as a call that
        // is not answered; the system counts in whole seconds and not without end.
        let patience = options.call_timeout.clamp(Duration::from_secs(1), Duration::from_secs(60));
        let keepalive = TcpKeepalive::new().with_time(patience).with_interval(patience);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(patience);
        let name = name(&info);
        Ok(Self { info: info.set_tcp_settings(tcp), name })
    }
}

fn name(info: &ConnectionInfo) -> String {
    let place = match info.addr() {
        ConnectionAddr::Tcp(host, port) if host.contains(':') => format!("redis://[{host}]:{port}"),
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}"),
        other => format!("unix://{other}"),
    };
    match info.redis_settings().db() {
        0 => place,
        database => format!("{place}/{database}"),
    }
}

/// The URL without what may be a name, a password or a parameter with one.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (place, parameters) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    if parameters.contains('@') {
        // Either may be part of a password.
        return format!("{scheme}…");
    }
    match place.rsplit_once('@') {
        Some((_login, place)) => format!("{scheme}…@{place}"),
        None => format!("{scheme}{place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_never_show_a_password() {
        for (url, name) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://user:hunter2@10.0.0.7:7000/3", "redis://10.0.0.7:7000/3"),
            ("redis://:hunter2@[::1]:7000", "redis://[::1]:7000"),
            ("unix:///run/redis.sock?pass=hunter2&db=2", "unix:///run/redis.sock/2"),
        ] {
            let address = Address::parse(url, &RedisOptions::default()).unwrap();
            assert_eq!(address.name, name);
            assert!(!format!("{address:?}").contains("hunter2"), "{address:?}");
        }
        let refusals = [
            "",
            "localhost:6379",
            "user:hunter2@localhost",
            "http://user:hunter2@localhost",
            "rediss://user:hunter2@localhost",
            "redis://user:hunt?er2@localhost/a",
            "unix:relative?pass=hunter2",
            "unix://relative?pass=hunt@er2",
            "redis://user:hunter2@localhost/zero",
            "redis://user:hunter2@localhost:99999",
            "redis://",
        ]
        .map(|url| Address::parse(url, &RedisOptions::default()).unwrap_err().to_string())
        .join("\n");
        assert!(!refusals.contains("hunt") && !refusals.contains("er2"), "{refusals}");
        insta::assert_snapshot!(refusals);
    }
}
