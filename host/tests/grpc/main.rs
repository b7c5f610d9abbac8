//! The gRPC service as a client in any language meets it.

mod agents;
mod refusals;
mod setup;
mod standard;
