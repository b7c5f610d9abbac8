//! How other hosts are asked for promises and votes.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use guildhall::{host::LeaseId, ids::HostId, registry::Member, transport::Dialer};
use guildhall_proto::v1::{self, peer_service_client::PeerServiceClient};
use tokio::time::timeout;
use tonic::transport::Channel;

use super::{Ballots, Probe, Refusal};
use crate::clock::Clock;

/// How long a connection attempt may take. A peer that does not answer by then is of no
/// use to a lease that is about to end.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Connections that are kept at most; councils have nine members.
const MOST_CHANNELS: usize = 256;

/// What a member is asked about a lease.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who is asked.
    pub member: Member,
    /// The host that holds the lease.
    pub holder: HostId,
    /// The lease.
    pub lease: LeaseId,
    /// For how long the answer is to hold.
    pub term: Duration,
}

/// The other hosts, as this one can ask them. Calls may be lost, and are bounded in time
/// by their callers.
#[async_trait]
pub trait Peers: Send + Sync + fmt::Debug + 'static {
    /// Asks a member for a promise; the error says why it gave none.
    async fn promise(&self, asked: &Asked) -> Result<(), String>;

    /// Asks a member for a vote; the error says why it gave none.
    async fn vote(&self, asked: &Asked) -> Result<(), String>;
}

/// What this host answers when it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ballot {
    pub(crate) ballots: Arc<Mutex<Ballots>>,
    pub(crate) probe: Probe,
    pub(crate) clock: Clock,
}

impl Ballot {
    /// Promises, unless the registry can be reached from here.
    pub(crate) async fn promise(
        &self,
        member: &LeaseId,
        holder: &LeaseId,
        term: Duration,
    ) -> Result<(), Refusal> {
        if self.probe.reaches_registry().await {
            return Err(Refusal::RegistryReached);
        }
        self.ballots().promise(self.clock.now(), member, holder, term)
    }

    /// Votes, unless a promise is in the way.
    pub(crate) fn vote(&self, member: &LeaseId, holder: &LeaseId, term: Duration) -> Result<(), Refusal> {
        self.ballots().vote(self.clock.now(), member, holder, term)
    }

    fn ballots(&self) -> std::sync::MutexGuard<'_, Ballots> {
        // Nothing under the lock panics.
        self.ballots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Peers over gRPC, and this host itself without.
#[derive(Debug)]
pub(crate) struct GrpcPeers {
    own: Ballot,
    /// The host itself is asked directly.
    id: HostId,
    dialer: Dialer,
    channels: Mutex<HashMap<String, Channel>>,
}

impl GrpcPeers {
    pub(crate) fn new(id: HostId, own: Ballot, dialer: Dialer) -> Self {
        Self { own, id, dialer, channels: Mutex::default() }
    }

    fn client(&self, endpoint: &str) -> Result<PeerServiceClient<Channel>, String> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.len() >= MOST_CHANNELS && !channels.contains_key(endpoint) {
            channels.clear();
        }
        let channel = match channels.get(endpoint) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.dialer.channel(endpoint, CONNECT_WITHIN, |endpoint| endpoint);
                let channel = channel.map_err(|fault| fault.to_string())?;
                channels.insert(endpoint.to_owned(), channel.clone());
                channel
            }
        };
        Ok(PeerServiceClient::new(channel))
    }

    /// Forgets a connection that did not answer, so that the next call makes a new one: a
    /// connection through a partition may take long to be known as broken.
    fn forget(&self, endpoint: &str) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
    }

    async fn bounded<T>(
        &self,
        endpoint: &str,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, String> {
        match timeout(CONNECT_WITHIN, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => {
                self.forget(endpoint);
                Err(status.message().to_owned())
            }
            Err(_) => {
                self.forget(endpoint);
                Err("it did not answer in time".to_owned())
            }
        }
    }
}

#[async_trait]
impl Peers for GrpcPeers {
    async fn promise(&self, asked: &Asked) -> Result<(), String> {
        let request = v1::PromiseRequest {
            member_lease: asked.member.lease.as_str().to_owned(),
            holder_host_id: asked.holder.to_string(),
            holder_lease: asked.lease.as_str().to_owned(),
            term_ms: whole_ms(asked.term),
        };
        let endpoint = &asked.member.endpoint;
        let mut client = self.client(endpoint)?;
        let answer = self.bounded(endpoint, client.promise(request)).await?;
        if answer.granted { Ok(()) } else { Err(answer.refusal) }
    }

    async fn vote(&self, asked: &Asked) -> Result<(), String> {
        if asked.member.host == self.id {
            let own = self.own.vote(&asked.member.lease, &asked.lease, asked.term);
            if own != Err(Refusal::OtherMember) {
                return own.map_err(|refusal| refusal.to_string());
            }
        }
        let request = v1::VoteRequest {
            member_lease: asked.member.lease.as_str().to_owned(),
            holder_host_id: asked.holder.to_string(),
            holder_lease: asked.lease.as_str().to_owned(),
            term_ms: whole_ms(asked.term),
        };
        let endpoint = &asked.member.endpoint;
        let mut client = self.client(endpoint)?;
        let answer = self.bounded(endpoint, client.vote(request)).await?;
        if answer.granted { Ok(()) } else { Err(answer.refusal) }
    }
}

/// Rounded up: what is given must hold for as long as is counted on.
fn whole_ms(term: Duration) -> u64 {
    u64::try_from(term.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
