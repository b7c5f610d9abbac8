//! The engine from outside, on hosts inside this process with real agents: each test
//! on the registry in memory and on Redis.

#[macro_use]
mod backends;
mod crashes;
mod guilds;
mod identity;
mod policies;
mod refusals;
mod running;
mod setup;
mod time;
mod watching;
mod wire;
