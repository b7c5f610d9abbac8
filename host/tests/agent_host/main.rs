//! The program `agent-host` as operators run it: real processes on a real Redis.

mod clock;
mod endings;
mod mistakes;
mod operating;
mod output;
mod redis_away;
mod secrets;
mod setup;
