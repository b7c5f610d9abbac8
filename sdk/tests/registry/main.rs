//! The registry's behaviour, through its public door. Most tests are written once, for
//! any two handles on one store, and run against both backends: see [`backends`].

mod backends;
mod fixtures;
mod forms;
mod history;
mod races;
mod redis;
mod size;

mod claims;
mod leases;
mod policy;
mod tickets;
mod watches;
