//! What other hosts ask of this one over gRPC: to adopt agents, and for promises and votes.

use std::{sync::Arc, time::Duration};

use guildhall::{
    fault::{Fault, FaultReason},
    host::LeaseId,
    ids::{Epoch, InvalidId},
    registry::{Registry, RegistryError},
    wire,
};
use guildhall_proto::v1::{self, peer_service_server::PeerService};
use tonic::{Request, Response, Status};

use crate::{
    fault,
    service::{invalid, key, refuse},
    supervisor::{Successor, Supervisor},
    tenure::{Ballot, Refusal},
};

/// What the calls need.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) supervisor: Supervisor,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) ballot: Ballot,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PeerService for Peer {
    async fn adopt_agent(&self, request: Request<v1::AdoptAgentRequest>) -> Answer<v1::AdoptAgentResponse> {
        let request = request.into_inner();
        let key = key(&request.guild_id, &request.agent_id)?;
        let epoch = Epoch(request.epoch);
        let unreadable = |error: RegistryError| refuse(fault::of_create(error.into()));
        let gone = || {
            refuse(Fault::new(
                FaultReason::AgentNotFound,
                format!("there is no agent {key} of epoch {epoch}"),
            ))
        };
        let record = self.registry.agent(&key).await.map_err(unreadable)?;
        let record = record.filter(|claimed| claimed.agent.epoch == epoch).ok_or_else(gone)?.agent;
        let mut launch = self.registry.launch(&key, epoch).await.map_err(unreadable)?.ok_or_else(gone)?;
        let placed_by = wire::noted_policy(request.placed_by).map_err(|error| invalid(error.to_string()))?;
        launch.placed_by = placed_by;
        let successor = Successor { record, overlaps: request.overlap };
        let adopted = self.supervisor.adopt(launch, request.request_id, successor).await;
        let mut agent = adopted.map_err(|error| refuse(fault::of_create(error)))?;
        if request.overlap {
            self.supervisor.started(&key, agent.epoch).await;
            agent = self.supervisor.get(&key).unwrap_or(agent);
        }
        Ok(Response::new(v1::AdoptAgentResponse { agent: Some(wire::agent_to_wire(agent)) }))
    }

    async fn promise(&self, request: Request<v1::PromiseRequest>) -> Answer<v1::PromiseResponse> {
        let v1::PromiseRequest { member_lease, holder_lease, term_ms, holder_host_id } = request.into_inner();
        let (member, holder) = (lease(member_lease)?, lease(holder_lease)?);
        let given = self.ballot.promise(&member, &holder, Duration::from_millis(term_ms)).await;
        tracing::debug!(holder = holder_host_id, ?given, "asked for a promise");
        let (granted, refusal) = told(given);
        Ok(Response::new(v1::PromiseResponse { granted, refusal }))
    }

    async fn vote(&self, request: Request<v1::VoteRequest>) -> Answer<v1::VoteResponse> {
        let v1::VoteRequest { member_lease, holder_lease, term_ms, holder_host_id } = request.into_inner();
        let (member, holder) = (lease(member_lease)?, lease(holder_lease)?);
        let given = self.ballot.vote(&member, &holder, Duration::from_millis(term_ms));
        tracing::debug!(holder = holder_host_id, ?given, "asked for a vote");
        let (granted, refusal) = told(given);
        Ok(Response::new(v1::VoteResponse { granted, refusal }))
    }
}

fn lease(id: String) -> Result<LeaseId, Status> {
    LeaseId::new(id).map_err(|error: InvalidId| invalid(error.to_string()))
}

fn told(given: Result<(), Refusal>) -> (bool, String) {
    match given {
        Ok(()) => (true, String::new()),
        Err(refusal) => (false, refusal.to_string()),
    }
}
