//! The placement service through its public door, with stock and hostile policies.

mod cache;
mod failing;
mod loading;
mod made;
mod stock;

use guildhall::{
    ids::{AgentId, AgentKey, GuildId, HostId},
    placement::{
        Candidate, CompiledCache, FleetChange, PlacementRequest, PlacementService, Policy, PolicySource,
    },
};

fn host(id: &str) -> HostId {
    HostId::new(id).unwrap()
}

/// An idle host with room for ten.
fn join(id: &str) -> FleetChange {
    FleetChange::Upsert(Candidate::new(host(id), 10))
}

fn request(agent: &str) -> PlacementRequest {
    PlacementRequest::new(AgentKey::new(GuildId::new("guild").unwrap(), AgentId::new(agent).unwrap()))
}

fn source(name: &str, bytes: impl Into<Vec<u8>>) -> PolicySource {
    PolicySource::Bytes { name: name.to_owned(), bytes: bytes.into().into() }
}

/// A service of a policy made of WebAssembly text, with the hosts `a`, `b` and `c`.
fn service(policy: &made::Policy) -> PlacementService {
    let policy = Policy::load(&source("made", policy.component()), &CompiledCache::off()).unwrap();
    let service = PlacementService::new(policy, &serde_json::json!({}), Default::default()).unwrap();
    service.observe(["a", "b", "c"].map(join));
    service
}
