//! The component's edge: what `placement.wit` generates, turned into the kit's
//! types. Only [`export!`](crate::export) reaches in here.

#![allow(missing_docs, unsafe_code, unreachable_pub, reason = "generated from placement.wit")]

use std::cell::RefCell;

use crate::{Live, Policy};

wit_bindgen::generate!({
    path: "wit",
    world: "placement",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "guildhall_policy::wire",
});

pub use exports::guildhall::placement::policy::{
    Candidate, Change, Decision, Guest, Inputs, Label, Load, Qos, Refusal, Request, Resources,
};

/// Where a component keeps its policy between calls.
pub type Seat<P> = RefCell<Option<Live<P>>>;

pub fn configure<P: Policy>(seat: &Seat<P>, settings: &str) -> Result<Inputs, String> {
    let live = Live::configure(settings).map_err(|error| error.to_string())?;
    seat.replace(Some(live));
    let mut inputs = Inputs::empty();
    inputs.set(Inputs::TICKET, P::INPUTS.ticket);
    Ok(inputs)
}

pub fn observe<P: Policy>(seat: &Seat<P>, changes: Vec<Change>) {
    if let Some(live) = seat.borrow_mut().as_mut() {
        live.observe(changes.into_iter().map(crate::Change::from));
    }
}

pub fn place<P: Policy>(seat: &Seat<P>, request: Request) -> Result<Decision, Refusal> {
    let mut seat = seat.borrow_mut();
    let Some(live) = seat.as_mut() else {
        return Err(Refusal { reason: "the policy was not configured".to_owned() });
    };
    match live.place(&request.into()) {
        Ok(decision) => Ok(Decision { host: decision.host, reason: decision.reason }),
        Err(refusal) => Err(Refusal { reason: refusal.reason }),
    }
}

fn labels(labels: Vec<Label>) -> crate::Labels {
    labels.into_iter().map(|label| (label.key, label.value)).collect()
}

impl From<Change> for crate::Change {
    fn from(change: Change) -> Self {
        match change {
            Change::Upsert(host) => Self::Upsert(crate::Candidate {
                id: host.id,
                labels: labels(host.labels),
                capacity: host.capacity,
                running: host.running,
                load: crate::Load {
                    cpu_fraction: host.load.cpu_fraction,
                    memory_used: host.load.memory_used,
                    memory_total: host.load.memory_total,
                    starts_in_flight: host.load.starts_in_flight,
                    heartbeat_age_ms: host.load.heartbeat_age_ms,
                },
            }),
            Change::Remove(id) => Self::Remove(id),
        }
    }
}

impl From<Request> for crate::Request {
    fn from(request: Request) -> Self {
        Self {
            guild: request.guild,
            agent: request.agent,
            name: request.name,
            class_name: request.class_name,
            labels: labels(request.labels),
            resources: crate::Resources {
                cpus: request.resources.cpus,
                gpus: request.resources.gpus,
                custom: request.resources.custom.into_iter().map(|one| (one.name, one.amount)).collect(),
            },
            qos: crate::Qos {
                timeout_ms: request.qos.timeout_ms,
                retry_count: request.qos.retry_count,
                latency_ms: request.qos.latency_ms,
            },
            excluded: request.excluded,
            ticket: request.ticket,
        }
    }
}
