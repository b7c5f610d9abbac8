//! EndpointSlices as addresses.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Which address of a pod counts that has one of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// The IPv4 one.
    #[default]
    PreferIpv4,
    /// The IPv6 one.
    PreferIpv6,
}

/// A pod that may be a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    /// Whether it is ready, and not on its way out.
    pub(super) ready: bool,
    pub(super) pod: Option<String>,
    pub(super) node: Option<String>,
    pub(super) zone: Option<String>,
}

/// The endpoints of all slices of a Service, each pod once. Slices without the named port
/// have none.
pub(super) fn endpoints<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    port: &str,
    family: Family,
) -> Vec<Endpoint> {
    // A pod with two addresses is in two slices.
    let mut by_pod: BTreeMap<String, Endpoint> = BTreeMap::new();
    for slice in slices {
        let Some(port) = named_port(slice, port) else { continue };
        for endpoint in &slice.endpoints {
            // No semantics are defined for addresses beyond the first; those of type
            // FQDN are none.
            let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
            let Some(address) = address else { continue };
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let pod = endpoint.target_ref.as_ref();
            let found = Endpoint {
                address: SocketAddr::new(address, port),
                // What is not said is so, by the rules of the API.
                ready: conditions.ready.unwrap_or(true)
                    && conditions.serving.unwrap_or(true)
                    && !conditions.terminating.unwrap_or(false),
                pod: pod.and_then(|pod| pod.name.clone()),
                node: endpoint.node_name.clone(),
                zone: endpoint.zone.clone(),
            };
            let uid = pod.and_then(|pod| pod.uid.clone()).unwrap_or_else(|| address.to_string());
            match by_pod.get(&uid) {
                Some(known) if !is_better(known.address, address, family) => {}
                _ => drop(by_pod.insert(uid, found)),
            }
        }
    }
    by_pod.into_values().collect()
}

fn is_better(known: SocketAddr, other: IpAddr, family: Family) -> bool {
    match family {
        Family::PreferIpv4 => known.is_ipv6() && other.is_ipv4(),
        Family::PreferIpv6 => known.is_ipv4() && other.is_ipv6(),
    }
}

fn named_port(slice: &EndpointSlice, name: &str) -> Option<u16> {
    let ports = slice.ports.as_ref()?;
    let port = ports.iter().find(|port| port.name.as_deref() == Some(name))?.port?;
    u16::try_from(port).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(value: serde_json::Value) -> EndpointSlice {
        serde_json::from_value(value).unwrap()
    }

    fn of(family: &str, addresses: &[(&str, &str)]) -> EndpointSlice {
        let endpoints: Vec<_> = addresses
            .iter()
            .map(|(address, uid)| {
                json!({"addresses": [address], "targetRef": {"kind": "Pod", "name": uid, "uid": uid}})
            })
            .collect();
        slice(json!({"addressType": family, "metadata": {}, "endpoints": endpoints,
            "ports": [{"name": "metrics", "port": 9464}, {"name": "grpc", "port": 50051}]}))
    }

    fn addresses(slices: &[EndpointSlice], family: Family) -> Vec<String> {
        endpoints(slices.iter(), "grpc", family).iter().map(|found| found.address.to_string()).collect()
    }

    #[test]
    fn a_pod_of_two_families_counts_once_and_a_pod_of_one_is_not_lost() {
        let slices = [of("IPv6", &[("fd00::1", "a"), ("fd00::2", "b")]), of("IPv4", &[("10.0.0.1", "a")])];
        assert_eq!(addresses(&slices, Family::PreferIpv4), ["10.0.0.1:50051", "[fd00::2]:50051"]);
        assert_eq!(addresses(&slices, Family::PreferIpv6), ["[fd00::1]:50051", "[fd00::2]:50051"]);
    }

    #[test]
    fn the_conditions_are_read_by_the_rules_of_the_api() {
        for (conditions, ready) in [
            (json!(null), true),
            (json!({}), true),
            (json!({"ready": true, "serving": true, "terminating": false}), true),
            (json!({"ready": false, "serving": false}), false),
            (json!({"ready": false, "serving": true, "terminating": true}), false),
            (json!({"ready": true, "serving": true, "terminating": true}), false),
        ] {
            let slice = slice(json!({"addressType": "IPv4", "metadata": {},
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}],
                "ports": [{"name": "grpc", "port": 1}]}));
            let found = endpoints([&slice].into_iter(), "grpc", Family::default());
            assert_eq!((found.len(), found[0].ready), (1, ready), "{conditions}");
        }
    }

    #[test]
    fn what_has_no_such_port_or_no_address_has_no_endpoints() {
        assert_eq!(endpoints([&of("IPv4", &[("10.0.0.1", "a")])].into_iter(), "http", Family::default()), []);
        assert_eq!(addresses(&[of("FQDN", &[("a.example.org", "a")])], Family::default()), [""; 0]);
    }
}
