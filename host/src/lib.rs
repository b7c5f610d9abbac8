//! Guildhall's host.
pub mod launch_document;
pub mod runner;
pub mod supervisor;
