//! What survives what: real hosts, real agents, a real Redis, and one thing after another
//! taken away from them. How fast it all is, is the affair of `make survival`.

mod crowd;
mod cut_off;
mod failing;
mod gone;
mod lives;
mod operating;
mod outage;
mod overlap;
mod proxy;
mod setup;
mod watching;
