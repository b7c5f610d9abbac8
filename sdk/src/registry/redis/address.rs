//! Where Redis is: a URL that was checked, and a name for it that may be logged.

use std::time::Duration;

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::{
    RedisOptions,
    form::{Form, Place, Sentinels},
};
use crate::registry::RegistryError;

const SCHEMES: &str = "redis://, rediss://, unix://, redis-sentinel://, rediss-sentinel://, \
                       redis-cluster:// or rediss-cluster://";

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// A checked address.
#[derive(Debug)]
pub(super) struct Address {
    /// How to connect, password included. Its `Debug` hides that.
    pub(super) info: ConnectionInfo,
    /// Which of the forms it is.
    pub(super) form: Form,
    /// What to call it in logs and errors.
    pub(super) name: String,
}

impl Address {
    pub(super) fn parse(url: &str, options: &RedisOptions) -> Result<Self, RegistryError> {
        let refuse = |reason: String| RegistryError::Address { url: without_secrets(url), reason };
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(refuse(format!("it must begin with {SCHEMES}")));
        };
        let (tls, form) = match scheme {
            "redis" | "valkey" | "unix" | "redis+unix" | "valkey+unix" => (false, Kind::Single),
            "rediss" | "valkeys" => (true, Kind::Single),
            "redis-sentinel" | "valkey-sentinel" => (false, Kind::Sentinel),
            "rediss-sentinel" | "valkeys-sentinel" => (true, Kind::Sentinel),
            "redis-cluster" | "valkey-cluster" => (false, Kind::Cluster),
            "rediss-cluster" | "valkeys-cluster" => (true, Kind::Cluster),
            _ => return Err(refuse(format!("its scheme is {scheme:?}; it must be {SCHEMES}"))),
        };
        if !tls && options.tls.is_set() {
            return Err(RegistryError::Options {
                option: "tls",
                reason: format!("{scheme}:// is not encrypted, so certificates would go unused"),
            });
        }
        if tls && rest.contains('#') {
            return Err(refuse("there must be no # in it, for nothing can be left out of TLS".to_owned()));
        }
        let prepare = |info: ConnectionInfo| {
            let info = info.set_tcp_settings(tcp(options.call_timeout));
            if tls { options.tls.apply(info) } else { Ok(info) }
        };
        let simple = if tls { "rediss" } else { "redis" };
        match form {
            Kind::Single => {
                let info = prepare(read(url).map_err(refuse)?)?;
                let name = name(&info, tls);
                Ok(Self { info, form: Form::Single, name })
            }
            Kind::Sentinel => {
                let parts = Parts::of(rest).map_err(refuse)?;
                let (master, database) = parts.path.split_once('/').unwrap_or((parts.path, ""));
                if master.is_empty() {
                    return Err(refuse(
                        "after the hosts comes the name of the master, as in /mymaster".to_owned(),
                    ));
                }
                let (infos, places) = parts.hosts(simple, SENTINEL_PORT).map_err(refuse)?;
                let info = read(&format!("{simple}://{}{}/{database}", parts.login(), parts.first()));
                let info = prepare(info.map_err(|error| refuse(error))?)?;
                let mut sentinel = redis::RedisConnectionInfo::default();
                for (name, value) in parts.parameters().map_err(refuse)? {
                    sentinel = match name {
                        "sentinel-user" => sentinel.set_username(value),
                        "sentinel-password" => sentinel.set_password(value),
                        _ => return Err(refuse(UNKNOWN_PARAMETER.to_owned())),
                    };
                }
                let at_sentinel = prepare(infos)?.set_redis_settings(sentinel);
                let database = info.redis_settings().db();
                let name = format!("{scheme}://{}/{master}", list(&places));
                let name = if database == 0 { name } else { format!("{name}/{database}") };
                let sentinels =
                    Sentinels::new(master.to_owned(), &at_sentinel, &places, options.call_timeout)
                        .map_err(|error| refuse(error.to_string()))?;
                Ok(Self { info, form: Form::Sentinel(sentinels), name })
            }
            Kind::Cluster => {
                let parts = Parts::of(rest).map_err(refuse)?;
                if !parts.path.is_empty() {
                    return Err(refuse(
                        "a cluster has no databases: nothing comes after the hosts".to_owned(),
                    ));
                }
                if !parts.parameters.is_empty() {
                    return Err(refuse("for a cluster there are no parameters after ?".to_owned()));
                }
                let (info, places) = parts.hosts(simple, PORT).map_err(refuse)?;
                let name = format!("{scheme}://{}", list(&places));
                Ok(Self { info: prepare(info)?, form: Form::Cluster(places), name })
            }
        }
    }
}

const UNKNOWN_PARAMETER: &str =
    "of parameters after ? there are sentinel-user and sentinel-password, for Sentinels that want a login";

#[derive(Clone, Copy)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

/// The parts of a URL with several hosts, behind its scheme.
struct Parts<'a> {
    /// With the `@`, or empty.
    login: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
    parameters: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Result<Self, String> {
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold what stands for something else behind it.
        let (login, rest) = rest.rfind('@').map_or(("", rest), |at| rest.split_at(at + 1));
        if login.contains('/') || login.contains('#') {
            return Err("in the login, / must be written %2F and # must be written %23".to_owned());
        }
        if parameters.contains('@') {
            return Err("? must be written %3F in the login, and @ must be written %40 behind a ?".to_owned());
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts: Vec<_> = hosts.split(',').map(str::trim).collect();
        if hosts.iter().any(|host| host.is_empty()) {
            return Err(match hosts.len() {
                1 => "it names no host".to_owned(),
                _ => "one of the hosts between the commas is empty".to_owned(),
            });
        }
        Ok(Self { login, hosts, path: path.trim_end_matches('/'), parameters })
    }

    fn login(&self) -> &str {
        self.login
    }

    fn first(&self) -> &str {
        self.hosts[0]
    }

    /// How to connect to the first of the hosts, and where all are.
    fn hosts(&self, scheme: &str, usual_port: u16) -> Result<(ConnectionInfo, Vec<Place>), String> {
        let mut first = None;
        let mut places = Vec::new();
        for host in &self.hosts {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let port = if has_port { String::new() } else { format!(":{usual_port}") };
            let info = read(&format!("{scheme}://{}{host}{port}", self.login))
                .map_err(|reason| format!("{host}: {reason}"))?;
            match info.addr() {
                ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                    places.push(Place::at(host, *port));
                }
                _ => return Err(format!("{host}: it is not a host")),
            }
            first.get_or_insert(info);
        }
        let first = first.ok_or("it names no host")?;
        Ok((first, places))
    }

    fn parameters(&self) -> Result<Vec<(&'a str, String)>, String> {
        let parts = self.parameters.split('&').filter(|part| !part.is_empty());
        let parsed = parts.map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((name, percent_decoded(value)?))
        });
        parsed.collect::<Option<_>>().ok_or_else(|| "a % behind ? is not followed by two digits".to_owned())
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn read(url: &str) -> Result<ConnectionInfo, String> {
    url.into_connection_info().map_err(|error| {
        // What follows the description may quote the URL.
        let said = error.to_string();
        let description = said.split_once(" - ").map_or(said.as_str(), |(description, _)| description);
        match description {
            "Redis URL did not parse" => "its host, its port or its login cannot be read; what means \
                                          something in a URL must be written as %XX in a login"
                .to_owned(),
            other => other.to_owned(),
        }
    })
}

/// A peer that vanished without a word is noticed about as fast as a call that is not
/// answered; the system counts in whole seconds and not without end.
fn tcp(call_timeout: Duration) -> TcpSettings {
    let patience = call_timeout.clamp(Duration::from_secs(1), Duration::from_secs(60));
    let keepalive = TcpKeepalive::new().with_time(patience).with_interval(patience);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(patience);
    tcp
}

fn name(info: &ConnectionInfo, tls: bool) -> String {
    let place = match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            format!("{}://{}", if tls { "rediss" } else { "redis" }, Place::at(host, *port))
        }
        other => format!("unix://{other}"),
    };
    match info.redis_settings().db() {
        0 => place,
        database => format!("{place}/{database}"),
    }
}

fn list(places: &[Place]) -> String {
    places.iter().map(Place::to_string).collect::<Vec<_>>().join(",")
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
            ("rediss://user:hunter2@localhost", "rediss://localhost:6379"),
            ("unix:///run/redis.sock?pass=hunter2&db=2", "unix:///run/redis.sock/2"),
            (
                "redis-sentinel://user:hunter2@a,b:7000,[::1]/main/2?sentinel-password=hunter2",
                "redis-sentinel://a:26379,b:7000,[::1]:26379/main/2",
            ),
            ("rediss-sentinel://:hunter2@a/main", "rediss-sentinel://a:26379/main"),
            ("redis-cluster://:hunt%2Fer2@a:1,[::1]:2,c", "redis-cluster://a:1,[::1]:2,c:6379"),
            ("rediss-cluster://user:hunter2@a/", "rediss-cluster://a:6379"),
        ] {
            let address = Address::parse(url, &RedisOptions::default()).unwrap();
            assert_eq!(address.name, name);
            let shown = format!("{address:?}");
            assert!(!shown.contains("hunt") && !shown.contains("er2"), "{shown}");
        }
        let refusals = [
            "",
            "localhost:6379",
            "user:hunter2@localhost",
            "http://user:hunter2@localhost",
            "rediss://user:hunter2@localhost#insecure",
            "redis://user:hunt?er2@localhost/a",
            "unix:relative?pass=hunter2",
            "unix://relative?pass=hunt@er2",
            "redis://user:hunter2@localhost/zero",
            "redis://user:hunter2@localhost:99999",
            "redis://",
            "redis-sentinel://user:hunter2@a,b",
            "redis-sentinel://user:hunter2@a,b:99999/main",
            "redis-sentinel://user:hunter2@a,,b/main",
            "redis-sentinel://user:hunter2@/main",
            "redis-sentinel://user:hunter2@a/main/zero",
            "redis-sentinel://user:hunt/er2@a/main",
            "redis-sentinel://user:hunt?er2@a/main",
            "redis-sentinel://a/main?sentinel-pass=hunter2",
            "redis-sentinel://a/main?sentinel-password=hunter2%",
            "redis-cluster://user:hunter2@a,b/3",
            "redis-cluster://user:hunter2@a,b?password=hunter2",
            "redis-cluster://user:hunter2@a b",
            "redis-cluster://user:hunt#er2@a",
            "redis-cluster://",
        ]
        .map(|url| Address::parse(url, &RedisOptions::default()).unwrap_err().to_string())
        .join("\n");
        assert!(!refusals.contains("hunt") && !refusals.contains("er2"), "{refusals}");
        insta::assert_snapshot!(refusals);
    }
}
