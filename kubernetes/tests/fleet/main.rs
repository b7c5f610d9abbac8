//! The manifests on a real control plane: what they come to, and a guild on their pods.
//!
//! Each test has a cluster of its own and needs root and the programs of Kubernetes; see
//! the crate's documentation.

mod emptiest_first;
mod encrypted;
mod manifests;
mod running;
mod setup;
