//! A container's variables: as written, from the pod itself, or from ConfigMaps and
//! Secrets.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, Result, bail};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{Api, Client, ResourceExt};

use crate::{control_plane::PORT, network::GATEWAY};

/// Where programs are looked for, as most images say it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of a container.
pub(super) async fn resolve(
    pod: &Pod,
    container: &Container,
    address: IpAddr,
    client: &Client,
) -> Result<BTreeMap<String, String>> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut variables = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOSTNAME".to_owned(), pod.name_any()),
        // The Service `kubernetes` is told of even without enableServiceLinks.
        ("KUBERNETES_SERVICE_HOST".to_owned(), GATEWAY.to_string()),
        ("KUBERNETES_SERVICE_PORT".to_owned(), PORT.to_string()),
    ]);
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.clone().unwrap_or_default();
        let values = if let Some(of) = &from.config_map_ref {
            config_map(client, &namespace, &of.name, of.optional).await?
        } else if let Some(of) = &from.secret_ref {
            secret(client, &namespace, &of.name, of.optional).await?
        } else {
            bail!("an envFrom of {} is of a kind that is not covered", container.name)
        };
        for (key, value) in values {
            variables.insert(format!("{prefix}{key}"), text(value)?);
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (_, Some(from)) => {
                let value = of_source(from, pod, container, address, client).await;
                value.with_context(|| format!("the variable {}", variable.name))?
            }
            (value, None) => Some(expand(value.as_deref().unwrap_or_default(), &variables)),
        };
        if let Some(value) = value {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

/// `None` when it is optional and not there.
async fn of_source(
    from: &EnvVarSource,
    pod: &Pod,
    container: &Container,
    address: IpAddr,
    client: &Client,
) -> Result<Option<String>> {
    let namespace = pod.namespace().unwrap_or_default();
    let (mut values, key, optional, of) = if let Some(of) = &from.config_map_key_ref {
        let values = config_map(client, &namespace, &of.name, of.optional).await?;
        (values, &of.key, of.optional, format!("ConfigMap {}", of.name))
    } else if let Some(of) = &from.secret_key_ref {
        let values = secret(client, &namespace, &of.name, of.optional).await?;
        (values, &of.key, of.optional, format!("Secret {}", of.name))
    } else if let Some(of) = &from.field_ref {
        return Ok(Some(field(&of.field_path, pod, address)?));
    } else if let Some(of) = &from.resource_field_ref {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let resource = of.resource.strip_prefix("limits.").context("only limits are covered")?;
        let limit = limits.and_then(|limits| limits.get(resource)).context("there is no such limit")?;
        let divisor = of.divisor.as_ref().map_or(Ok(1.0), amount)?;
        // What is left over counts as a whole one.
        let whole = (amount(limit)? / if divisor == 0.0 { 1.0 } else { divisor }).ceil();
        return Ok(Some(format!("{whole}")));
    } else {
        bail!("it comes from where is not covered");
    };
    match values.remove(key) {
        Some(value) => Ok(Some(text(value)?)),
        None if optional == Some(true) => Ok(None),
        None => bail!("there is no {key} in the {of}"),
    }
}

fn field(path: &str, pod: &Pod, address: IpAddr) -> Result<String> {
    let spec = pod.spec.as_ref();
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
        }
        "status.podIP" | "status.podIPs" => address.to_string(),
        "status.hostIP" => GATEWAY.to_string(),
        _ => bail!("the field {path} is not covered"),
    })
}

/// A quantity as a number.
fn amount(quantity: &Quantity) -> Result<f64> {
    const SUFFIXES: [(&str, f64); 9] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
    ];
    let found = SUFFIXES.iter().find_map(|(suffix, times)| Some((quantity.0.strip_suffix(suffix)?, *times)));
    let (number, times) = found.unwrap_or((&quantity.0, 1.0));
    let number: f64 = number.parse().with_context(|| format!("{} is no quantity", quantity.0))?;
    Ok(number * times)
}

/// What a ConfigMap has, by key.
pub(super) async fn config_map(
    client: &Client,
    namespace: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.with_context(|| format!("the ConfigMap {name}"))?;
    let Some(found) = found else {
        return if optional == Some(true) {
            Ok(BTreeMap::new())
        } else {
            bail!("there is no ConfigMap {name}")
        };
    };
    let texts = found.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    let bytes =
        found.binary_data.unwrap_or_default().into_iter().map(|(key, ByteString(bytes))| (key, bytes));
    Ok(texts.chain(bytes).collect())
}

/// What a Secret has, by key.
pub(super) async fn secret(
    client: &Client,
    namespace: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.with_context(|| format!("the Secret {name}"))?;
    let Some(found) = found else {
        return if optional == Some(true) { Ok(BTreeMap::new()) } else { bail!("there is no Secret {name}") };
    };
    Ok(found.data.unwrap_or_default().into_iter().map(|(key, ByteString(bytes))| (key, bytes)).collect())
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).context("it is not UTF-8")
}

/// Puts variables in the place of `$(NAME)`. A name that there is none of stays, and so
/// does `$$(NAME)`, as `$(NAME)`.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let named = rest.strip_prefix("$(").and_then(|after| after.split_once(')'));
        if let Some(after) = rest.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = named
            && let Some(value) = variables.get(name)
        {
            expanded.push_str(value);
            rest = after;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_by_the_rules_of_the_api() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expanded) in
            [("cpus=$(A),m=$(A)", "cpus=1,m=1"), ("$(B)", "$(B)"), ("$$(A)", "$(A)"), ("$A $ $(", "$A $ $(")]
        {
            assert_eq!(expand(text, &variables), expanded);
        }
    }

    #[test]
    fn quantities_are_numbers() {
        for (quantity, number) in
            [("2", 2.0), ("100m", 0.1), ("4Gi", 4_294_967_296.0), ("1536Mi", 1_610_612_736.0)]
        {
            assert_eq!(amount(&Quantity(quantity.to_owned())).unwrap(), number);
        }
    }
}
