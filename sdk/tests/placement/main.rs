//! The placement service through its public door, with stock and hostile policies.

mod cache;
mod chains;
mod failing;
mod fallback;
mod fuzz;
mod guilds;
mod loading;
mod made;
mod moves;
mod recorded;
mod released;
mod replacing;
mod sources;
mod stock;
mod stubbed;
mod trust;

use guildhall::{
    ids::{AgentId, AgentKey, GuildId, HostId},
    placement::{
        BuiltIn, Candidate, CompiledCache, FleetChange, PlacementRequest, PlacementService, Policy,
        PolicyArtifact,
    },
};

fn host(id: &str) -> HostId {
    HostId::new(id).unwrap()
}

/// An idle host with room for ten.
fn join(id: &str) -> FleetChange {
    FleetChange::Upsert(Candidate::new(host(id), 10))
}

fn built_in(policy: BuiltIn, settings: &serde_json::Value) -> PlacementService {
    let policy = Policy::load(&policy.into(), &CompiledCache::off()).unwrap();
    PlacementService::new(policy, settings, Default::default()).unwrap()
}

fn request(agent: &str) -> PlacementRequest {
    PlacementRequest::new(AgentKey::new(GuildId::new("guild").unwrap(), AgentId::new(agent).unwrap()))
}

fn artifact(name: &str, bytes: impl Into<Vec<u8>>) -> PolicyArtifact {
    PolicyArtifact::new(name, bytes.into())
}

fn load(name: &str, policy: &made::Policy) -> Policy {
    Policy::load(&artifact(name, policy.component()), &CompiledCache::off()).unwrap()
}

/// A service of a policy made of WebAssembly text, with the hosts `a`, `b` and `c`.
fn service(policy: &made::Policy) -> PlacementService {
    let policy = load("made", policy);
    let service = PlacementService::new(policy, &serde_json::json!({}), Default::default()).unwrap();
    service.observe(["a", "b", "c"].map(join));
    service
}
