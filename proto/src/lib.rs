//! The wire contract of an agent-host, as Rust types.
//!
//! [`v1`] is generated from `agent_host.proto`, which documents every field.
//! Apps depend on the crate `guildhall` instead: it turns these into domain types
//! in one module, and nothing else names them. The other contract, for policies,
//! is `placement.wit` beside the proto file.

/// Package `guildhall.v1`.
pub mod v1 {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("guildhall.v1");
}

/// The encoded `FileDescriptorSet` of `agent_host.proto`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agent_host.binpb"));

/// The `domain` of every `google.rpc.ErrorInfo` that Guildhall sends.
pub const ERROR_DOMAIN: &str = "guildhall";
