//! TLS between engines, hosts and tools: who may do what, what is told to those that may
//! not, and certificates that change while all goes on.

mod matrix;
mod refused;
mod renewal;
mod setup;
mod together;
