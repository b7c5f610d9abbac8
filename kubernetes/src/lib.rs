//! The manifests on a real Kubernetes control plane.
//!
//! A [`Cluster`] is etcd, the API server, the controllers and the scheduler as processes,
//! and a small [`kubelet`] that runs each pod as a process in a network namespace of its
//! own: its documentation says what it does not cover. Each test has one, in a
//! [sandbox](sandboxed) of fresh namespaces, so nothing of it outlives the test.
//!
//! The tests are in `tests/fleet`. They need the programs of Kubernetes, which
//! `KUBEBUILDER_ASSETS` names, and root: `make test-kubernetes` sees to the first.
//!
//! | file | what it is |
//! | --- | --- |
//! | `sandbox.rs` | the namespaces of a test |
//! | `control_plane.rs`, `certificates.rs`, `server.rs`, `assets.rs` | the control plane |
//! | `network.rs`, `names.rs` | pods' addresses, and Services' names |
//! | `kubelet/` | nodes, and pods as processes |
//! | `policies.rs` | who may talk to whom, by the NetworkPolicies |
//! | `kubectl.rs`, `tool.rs` | tools that are run to their end |

mod assets;
mod certificates;
mod cluster;
mod control_plane;
mod kubectl;
pub mod kubelet;
mod names;
mod network;
pub mod policies;
mod sandbox;
mod server;
mod tool;

pub use self::{
    assets::Assets,
    cluster::Cluster,
    control_plane::ControlPlane,
    kubectl::Kubectl,
    network::GATEWAY,
    sandbox::sandboxed,
    tool::{Said, run_with},
};
