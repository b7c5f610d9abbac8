//! The supervisor, with real processes and the registry in memory.

mod ahead;
mod capacity;
mod create;
mod documented;
mod environment;
mod failing;
mod fence;
mod history;
mod output;
mod registry;
mod restart;
mod setup;
mod stop;
mod watching;
