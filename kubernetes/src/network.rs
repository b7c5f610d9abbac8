//! The pods' network: a bridge, and a namespace for each pod that is plugged into it.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};

use crate::tool::run;

const BRIDGE: &str = "pods";

/// Where the control plane and the tests are: on the bridge itself.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// All addresses of pods, and that of the bridge.
const PREFIX: u8 = 16;

/// How many addresses there are below the first pod's.
const RESERVED: u32 = 16;

/// The bridge. It goes with the sandbox.
#[derive(Debug)]
pub(crate) struct Network {
    /// Pods there were.
    taken: AtomicU32,
}

/// A pod's place in it, which goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    namespace: String,
    pub(crate) address: Ipv4Addr,
}

impl Network {
    pub(crate) fn build() -> Result<Self> {
        run("ip", &["link", "add", BRIDGE, "type", "bridge"]).context("there is no bridge to be had")?;
        run("ip", &["addr", "add", &format!("{GATEWAY}/{PREFIX}"), "dev", BRIDGE])?;
        run("ip", &["link", "set", BRIDGE, "up"])?;
        Ok(Self { taken: AtomicU32::new(0) })
    }

    /// A namespace with an address that no pod had before.
    pub(crate) fn place(&self) -> Result<Place> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            namespace: format!("pod{number}"),
            address: Ipv4Addr::from(u32::from(GATEWAY) + RESERVED + number),
        };
        let Place { namespace, address } = &place;
        let (outside, inside) = (format!("pod{number}"), format!("eth{number}"));
        run("ip", &["netns", "add", namespace])?;
        run("ip", &["link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", namespace])?;
        run("ip", &["link", "set", &outside, "master", BRIDGE, "up"])?;
        run("ip", &["-n", namespace, "link", "set", "lo", "up"])?;
        run("ip", &["-n", namespace, "link", "set", &inside, "name", "eth0"])?;
        run("ip", &["-n", namespace, "addr", "add", &format!("{address}/{PREFIX}"), "dev", "eth0"])?;
        run("ip", &["-n", namespace, "link", "set", "eth0", "up"])?;
        Ok(place)
    }
}

impl Place {
    /// The file that stands for the namespace.
    pub(crate) fn file(&self) -> String {
        format!("/run/netns/{}", self.namespace)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Its end of the wire goes with the namespace.
        if let Err(error) = run("ip", &["netns", "delete", &self.namespace]) {
            tracing::warn!(%error, "a pod's network is left");
        }
    }
}
