//! The names of Services, in the place of the cluster's DNS and of kube-proxy.
//!
//! A pod is told by its `/etc/hosts`: each Service's names lead to one ready pod behind it,
//! whether or not the Service has an address of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::IpAddr,
};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Given to each EndpointSlice of a Service by its controller.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// By namespace and name of a Service: a ready pod behind it.
pub(crate) type Names = BTreeMap<(String, String), IpAddr>;

/// Follows all EndpointSlices there are.
pub(crate) fn follow(
    client: Client,
    tasks: &TaskTracker,
    cancelled: CancellationToken,
) -> watch::Receiver<Names> {
    let (told, names) = watch::channel(Names::new());
    let slices: Api<EndpointSlice> = Api::all(client);
    tasks.spawn(async move {
        let _ = cancelled.run_until_cancelled(tell(slices, told)).await;
    });
    names
}

async fn tell(slices: Api<EndpointSlice>, told: watch::Sender<Names>) -> Result<()> {
    let mut known: BTreeMap<(String, String), EndpointSlice> = BTreeMap::new();
    let mut events = watcher(slices, watcher::Config::default()).default_backoff().boxed();
    loop {
        // A watch that failed is begun again.
        let Ok(Some(event)) = events.try_next().await else { continue };
        match event {
            watcher::Event::Init => known.clear(),
            watcher::Event::InitDone => {}
            watcher::Event::InitApply(slice) | watcher::Event::Apply(slice) => {
                known.insert((slice.namespace().unwrap_or_default(), slice.name_any()), slice);
            }
            watcher::Event::Delete(slice) => {
                known.remove(&(slice.namespace().unwrap_or_default(), slice.name_any()));
            }
        }
        let now = names(known.values());
        told.send_if_modified(|names| {
            let changed = *names != now;
            *names = now;
            changed
        });
    }
}

fn names<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> Names {
    let mut addresses: BTreeMap<(String, String), BTreeSet<IpAddr>> = BTreeMap::new();
    for slice in slices {
        let Some(service) = slice.labels().get(SERVICE_LABEL) else { continue };
        let service = (slice.namespace().unwrap_or_default(), service.clone());
        let ready = slice.endpoints.iter().filter(|endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        });
        let ready = ready
            .flat_map(|endpoint| &endpoint.addresses)
            .filter_map(|address| address.parse::<IpAddr>().ok());
        addresses.entry(service).or_default().extend(ready);
    }
    addresses.into_iter().filter_map(|(service, ready)| Some((service, *ready.first()?))).collect()
}

/// The `/etc/hosts` of a pod of this name, namespace and address.
pub(crate) fn hosts(names: &Names, pod: &str, namespace: &str, address: IpAddr) -> String {
    let mut hosts = format!("127.0.0.1 localhost\n{address} {pod}\n");
    for ((of, service), address) in names {
        // Writing to a string does not fail.
        let _ = write!(hosts, "{address} {service}.{of}.svc.cluster.local {service}.{of}.svc {service}.{of}");
        hosts.push_str(&if of == namespace { format!(" {service}\n") } else { "\n".to_owned() });
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_short_name_in_its_own_namespace_alone() {
        let names = Names::from([
            (("a".to_owned(), "redis".to_owned()), "10.0.0.1".parse().unwrap()),
            (("b".to_owned(), "other".to_owned()), "10.0.0.2".parse().unwrap()),
        ]);
        assert_eq!(
            hosts(&names, "pod", "a", "10.0.0.9".parse().unwrap()),
            "127.0.0.1 localhost\n\
             10.0.0.9 pod\n\
             10.0.0.1 redis.a.svc.cluster.local redis.a.svc redis.a redis\n\
             10.0.0.2 other.b.svc.cluster.local other.b.svc other.b\n"
        );
    }
}
