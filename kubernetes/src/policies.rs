//! Who may talk to whom, by the NetworkPolicies there are.
//!
//! Nothing here enforces them. This computes what they mean, by the rules of the API: a
//! pod that a policy selects for a direction is closed in that direction, but for what any
//! of these policies allows.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use kube::ResourceExt;

/// Somebody who calls or is called.
#[derive(Clone, Debug)]
pub struct Party {
    /// Where it is. Policies with an `ipBlock` go by this.
    pub address: IpAddr,
    /// What pod it is, if it is one of the cluster.
    pub pod: Option<Labelled>,
}

/// A pod, as policies see it.
#[derive(Clone, Debug, Default)]
pub struct Labelled {
    /// Its namespace.
    pub namespace: String,
    /// The labels of the namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Its own labels.
    pub labels: BTreeMap<String, String>,
    /// The numbers of its named ports.
    pub ports: BTreeMap<String, u16>,
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
    /// Its number.
    pub number: u16,
}

/// Whether `from` may call `to` at this port: both have to be let through, the one out and
/// the other in.
pub fn is_allowed(policies: &[NetworkPolicy], from: &Party, to: &Party, port: Port) -> bool {
    passes(policies, Direction::Out, from, to, to, port)
        && passes(policies, Direction::In, to, from, to, port)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::In => "Ingress",
            Self::Out => "Egress",
        }
    }
}

/// Whether what selects `subject` lets `peer` through.
fn passes(
    policies: &[NetworkPolicy],
    direction: Direction,
    subject: &Party,
    peer: &Party,
    called: &Party,
    port: Port,
) -> bool {
    let Some(pod) = &subject.pod else { return true };
    let mut selecting = policies.iter().filter(|policy| selects(policy, direction, pod)).peekable();
    selecting.peek().is_none()
        || selecting.any(|policy| {
            let namespace = policy.namespace().unwrap_or_default();
            rules(policy, direction).any(|(peers, ports)| {
                peers.is_none_or(|peers| peers.iter().any(|of| matches_peer(of, &namespace, peer)))
                    && ports.is_none_or(|ports| ports.iter().any(|of| matches_port(of, called, port)))
            })
        })
}

fn selects(policy: &NetworkPolicy, direction: Direction, pod: &Labelled) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let in_force = match &spec.policy_types {
        Some(types) => types.iter().any(|of| of == direction.name()),
        // Each is for what comes in; for what goes out only if it says so.
        None => direction == Direction::In || spec.egress.is_some(),
    };
    let selector = spec.pod_selector.as_ref();
    in_force
        && policy.namespace().as_deref() == Some(&pod.namespace)
        && selector.is_none_or(|selector| matches(selector, &pod.labels))
}

type Rule<'a> = (Option<&'a [NetworkPolicyPeer]>, Option<&'a [NetworkPolicyPort]>);

/// What a policy allows in one direction. An empty list is as none: everybody, all ports.
fn rules(policy: &NetworkPolicy, direction: Direction) -> impl Iterator<Item = Rule<'_>> {
    let spec = policy.spec.as_ref();
    let ingress = spec.and_then(|spec| spec.ingress.as_ref()).filter(|_| direction == Direction::In);
    let egress = spec.and_then(|spec| spec.egress.as_ref()).filter(|_| direction == Direction::Out);
    let ingress = ingress.into_iter().flatten().map(|rule| (rule.from.as_deref(), rule.ports.as_deref()));
    let egress = egress.into_iter().flatten().map(|rule| (rule.to.as_deref(), rule.ports.as_deref()));
    ingress.chain(egress).map(|(peers, ports)| {
        (peers.filter(|peers| !peers.is_empty()), ports.filter(|ports| !ports.is_empty()))
    })
}

fn matches_peer(peer: &NetworkPolicyPeer, namespace: &str, party: &Party) -> bool {
    if let Some(block) = &peer.ip_block {
        return is_within(block, party.address);
    }
    let Some(pod) = &party.pod else { return false };
    let in_namespace = match &peer.namespace_selector {
        Some(selector) => matches(selector, &pod.namespace_labels),
        None => pod.namespace == namespace,
    };
    in_namespace && peer.pod_selector.as_ref().is_none_or(|selector| matches(selector, &pod.labels))
}

fn matches_port(of: &NetworkPolicyPort, called: &Party, port: Port) -> bool {
    if of.protocol.as_deref().unwrap_or("TCP") != port.protocol {
        return false;
    }
    let first = match &of.port {
        None => return true,
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => called.pod.as_ref().and_then(|pod| pod.ports.get(name).copied()),
    };
    let Some(first) = first else { return false };
    let last = of.end_port.and_then(|last| u16::try_from(last).ok()).unwrap_or(first);
    (first..=last).contains(&port.number)
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal && selector.match_expressions.iter().flatten().all(|expression| holds(expression, labels))
}

fn holds(expression: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let LabelSelectorRequirement { key, operator, values } = expression;
    let value = labels.get(key);
    let is_one = value.is_some_and(|value| values.iter().flatten().any(|of| of == value));
    match operator.as_str() {
        "In" => is_one,
        "NotIn" => !is_one,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

fn is_within(block: &IPBlock, address: IpAddr) -> bool {
    let except = block.except.iter().flatten();
    is_in(&block.cidr, address) && !except.into_iter().any(|cidr| is_in(cidr, address))
}

fn is_in(cidr: &str, address: IpAddr) -> bool {
    let Some((network, length)) = cidr.split_once('/') else { return false };
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let same = |a: u128, b: u128, bits: u32| {
        let rest = bits.saturating_sub(length);
        a.checked_shr(rest).unwrap_or(0) == b.checked_shr(rest).unwrap_or(0)
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            same(network.to_bits().into(), address.to_bits().into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => same(network.to_bits(), address.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_in_blocks() {
        for (cidr, address, is) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("169.254.20.10/32", "169.254.20.10", true),
            ("2000::/3", "2001:db8::1", true),
            ("2000::/3", "fd00::1", false),
            ("2000::/3", "10.0.0.1", false),
        ] {
            assert_eq!(is_in(cidr, address.parse().unwrap()), is, "{cidr} {address}");
        }
    }

    #[test]
    fn a_pod_is_open_until_a_policy_selects_it() {
        let policy: NetworkPolicy = serde_json::from_value(json!({
            "metadata": {"namespace": "a"},
            "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"x": "1"}}}],
                "ports": [{"port": "named"}]}]},
        }))
        .unwrap();
        let pod = |namespace: &str, x: &str| Party {
            address: "10.0.0.1".parse().unwrap(),
            pod: Some(Labelled {
                namespace: namespace.to_owned(),
                labels: BTreeMap::from([("x".to_owned(), x.to_owned())]),
                ports: BTreeMap::from([("named".to_owned(), 80)]),
                ..Labelled::default()
            }),
        };
        let port = |number| Port { protocol: "TCP", number };
        for (from, to, number, is) in [
            (pod("a", "1"), pod("a", "2"), 80, true),
            (pod("a", "1"), pod("a", "2"), 81, false),
            (pod("a", "2"), pod("a", "2"), 80, false),
            (pod("b", "1"), pod("a", "2"), 80, false),
            (pod("a", "2"), pod("b", "2"), 81, true),
        ] {
            assert_eq!(is_allowed(std::slice::from_ref(&policy), &from, &to, port(number)), is);
        }
    }
}
