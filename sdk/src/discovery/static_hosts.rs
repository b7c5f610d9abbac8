//! A fixed list of addresses, each asked for its health again and again.

use std::time::Duration;

use futures::{StreamExt, future::ready, stream, stream::BoxStream};
use tonic::transport::Endpoint;

use super::{
    Discovery,
    ask::{self, Addresses, Facts},
};
use crate::{host::HostEvent, transport::Dialer};

/// A fleet that is a fixed list of addresses and needs no registry.
#[derive(Clone, Debug)]
pub struct StaticDiscovery {
    addresses: Vec<String>,
    dialer: Dialer,
    every: Duration,
}

/// An address that is not one.
#[derive(Debug, thiserror::Error)]
#[error("{address:?} is not the address of a host, such as http://10.0.0.7:50051: {source}")]
pub struct InvalidEndpoint {
    /// The offending address.
    pub address: String,
    /// What is wrong with it.
    #[source]
    pub source: tonic::transport::Error,
}

impl StaticDiscovery {
    /// The hosts at these addresses, such as `http://10.0.0.7:50051`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] names the address that is not one.
    pub fn new<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, InvalidEndpoint> {
        let checked = |address: A| {
            let address = address.as_ref().to_owned();
            match Endpoint::from_shared(address.clone()) {
                Ok(_) => Ok(address),
                Err(source) => Err(InvalidEndpoint { address, source }),
            }
        };
        let addresses = addresses.into_iter().map(checked).collect::<Result<_, _>>()?;
        Ok(Self { addresses, dialer: Dialer::plain(), every: ask::DEFAULT_INTERVAL })
    }

    /// How the hosts are spoken to; in plain text unless told otherwise.
    #[must_use]
    pub fn dialer(mut self, dialer: Dialer) -> Self {
        self.dialer = dialer;
        self
    }

    /// Asks each host this often instead of every 2 s.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval.max(Duration::from_millis(1));
        self
    }
}

impl Discovery for StaticDiscovery {
    fn watch(&self) -> BoxStream<'static, HostEvent> {
        let addresses: Addresses =
            self.addresses.iter().map(|address| (address.clone(), Facts::default())).collect();
        let addresses = stream::once(ready(addresses)).chain(stream::pending()).boxed();
        ask::watch(addresses, self.dialer.clone(), self.every)
    }
}
