//! Guildhall's SDK.
pub mod ids;
