//! Guildhall's SDK.
pub mod agent;
pub mod host;
pub mod ids;
pub mod launch;
pub mod registry;
pub mod spec;
