//! Guildhall's SDK.
pub mod ids;
pub mod placement;
pub mod resources;
