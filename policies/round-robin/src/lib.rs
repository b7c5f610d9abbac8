//! Each host in its turn, over all engines of the fleet.
//!
//! The turn is a ticket from a counter that all engines share: `ticket` modulo the
//! number of hosts, in the order of their ids, names the host to begin with; full
//! and excluded hosts are walked past. There is nothing to set.

#![cfg_attr(target_arch = "wasm32", no_std)]

use guildhall_policy::{Decision, Fleet, Inputs, InvalidSettings, Policy, Refusal, Request, Settings, text};

/// The policy. It keeps nothing: the ticket says whose turn it is.
#[derive(Clone, Debug)]
pub struct RoundRobin;

impl Policy for RoundRobin {
    const INPUTS: Inputs = Inputs::TICKET;
    const SETTINGS: &'static str = r#"{"type": "object", "additionalProperties": false}"#;

    fn configure(_: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        Ok(Self)
    }

    fn place(&mut self, fleet: &Fleet, request: &Request) -> Result<Decision, Refusal> {
        let ticket = request.ticket.ok_or_else(|| Refusal::new("the request carries no ticket"))?;
        let hosts = fleet.len();
        let first = ticket.checked_rem(hosts as u64).unwrap_or(0) as usize;
        (first..hosts)
            .chain(0..first)
            .find(|at| fleet.unavailable(request, *at).is_none())
            .map(|at| Decision::new(&fleet[at], text!("ticket ", ticket, " over ", hosts, " hosts")))
            .ok_or_else(|| fleet.refuse(request, |_| None))
    }
}

guildhall_policy::no_std!();
guildhall_policy::export!(RoundRobin);
