//! Guildhall's SDK.
pub mod agent;
pub mod discovery;
pub mod engine;
pub mod fault;
mod fleet;
pub mod host;
pub mod ids;
pub mod launch;
pub mod placement;
pub mod registry;
pub mod resources;
pub mod spec;
pub mod wire;
